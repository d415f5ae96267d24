DROP TRIGGER keep_buckets ON bucket;
DROP FUNCTION keep_buckets();
DROP TRIGGER refuse_move ON subject;
DROP FUNCTION refuse_move();
DROP TRIGGER check_bucket ON subject;
DROP FUNCTION check_bucket();
COMMENT ON COLUMN subject.bucket_id IS NULL;
ALTER TABLE subject DROP CONSTRAINT subject_bucket_id_check;
ALTER TABLE subject ADD FOREIGN KEY (bucket_id) REFERENCES bucket;
