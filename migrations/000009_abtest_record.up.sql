ALTER TABLE abtest ADD COLUMN description text NOT NULL DEFAULT '';
COMMENT ON COLUMN abtest.description IS 'What the test is about, for people. Edges do not read it.';

DROP TRIGGER keep_version ON abtest;
CREATE TRIGGER keep_version AFTER INSERT OR DELETE OR UPDATE OF starts, ends, description ON abtest
    FOR EACH ROW EXECUTE FUNCTION keep_version('name');

-- A test that has ended outlives the features that it was about.
ALTER TABLE abtest_group ADD COLUMN record jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(record) = 'object');
COMMENT ON COLUMN abtest_group.record IS 'The variants that the group had of features deleted since, by feature. Edges do not read it.';
