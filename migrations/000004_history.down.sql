LOCK TABLE subject, member IN ACCESS EXCLUSIVE MODE;
LOCK TABLE state IN EXCLUSIVE MODE;
DROP FUNCTION keep_member, check_group, keep_subject, keep_version, keep_revision CASCADE;
DELETE FROM member WHERE group_id NOT IN (SELECT id FROM subject_group);
ALTER TABLE member
    DROP COLUMN since,
    ADD FOREIGN KEY (group_id) REFERENCES subject_group ON DELETE CASCADE;
COMMENT ON TABLE member IS 'Which subjects are in which groups.';
DROP TABLE past_member, past_subject, version, revision;
