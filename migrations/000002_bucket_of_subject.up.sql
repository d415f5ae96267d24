-- That every subject is in a bucket that exists was a foreign key, whose check of
-- each row took as long as all else that an insert does, and locked the bucket's
-- row. As ids of buckets are gapless and buckets are never removed, one look at
-- the largest id a statement says the same.
ALTER TABLE subject DROP CONSTRAINT subject_bucket_id_fkey;
ALTER TABLE subject ADD CHECK (bucket_id >= 1);
COMMENT ON COLUMN subject.bucket_id IS 'An id of bucket. Triggers hold to it: check_bucket here, keep_buckets there.';

CREATE FUNCTION check_bucket() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM placed WHERE bucket_id > coalesce((SELECT max(id) FROM bucket), 0)) THEN
        RAISE EXCEPTION 'subjects must be placed in existing buckets' USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER check_bucket AFTER INSERT ON subject
    REFERENCING NEW TABLE AS placed FOR EACH STATEMENT EXECUTE FUNCTION check_bucket();

CREATE FUNCTION refuse_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a subject never changes its bucket' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER refuse_move BEFORE UPDATE OF bucket_id ON subject
    FOR EACH ROW WHEN (OLD.bucket_id <> NEW.bucket_id) EXECUTE FUNCTION refuse_move();

CREATE FUNCTION keep_buckets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'buckets are never removed' USING ERRCODE = 'foreign_key_violation';
END $$;
CREATE TRIGGER keep_buckets BEFORE DELETE OR TRUNCATE OR UPDATE OF id ON bucket
    FOR EACH STATEMENT EXECUTE FUNCTION keep_buckets();
