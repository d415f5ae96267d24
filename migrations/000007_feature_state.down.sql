-- Features that are off or archived are served again.
DROP TRIGGER keep_version ON feature;
ALTER TABLE feature DROP COLUMN off, DROP COLUMN archived;
CREATE TRIGGER keep_version AFTER INSERT OR DELETE OR UPDATE OF description, tags, default_variant ON feature
    FOR EACH ROW EXECUTE FUNCTION keep_version('name');
