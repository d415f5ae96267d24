DROP INDEX subject_heaviest;
