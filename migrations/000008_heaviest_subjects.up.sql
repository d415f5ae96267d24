-- The heaviest subjects of a bucket, and with a look at each bucket those of all, are
-- found without reading the others.
CREATE INDEX subject_heaviest ON subject (bucket_id, weight DESC, id);
