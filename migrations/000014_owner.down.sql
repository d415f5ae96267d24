ALTER TABLE feature DROP COLUMN owner;
ALTER TABLE subject_group DROP COLUMN owner;
ALTER TABLE abtest DROP COLUMN owner;
