-- Of tests about features that were deleted since, it is forgotten which those were.
DROP TRIGGER keep_version ON abtest;
ALTER TABLE abtest DROP COLUMN description;
CREATE TRIGGER keep_version AFTER INSERT OR DELETE OR UPDATE OF starts, ends ON abtest
    FOR EACH ROW EXECUTE FUNCTION keep_version('name');
ALTER TABLE abtest_group DROP COLUMN record;
