-- What config says holds without the column.
ALTER TABLE change DROP COLUMN tokens;
COMMENT ON COLUMN change.config IS 'Whether buckets, features, variants, rollouts, tests, groups or overrides changed.';
