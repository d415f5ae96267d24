-- Programs of earlier versions do not read these columns and would serve on, so
-- edges say which version of the read model they know.
ALTER TABLE feature
    ADD COLUMN off      boolean NOT NULL DEFAULT false,
    ADD COLUMN archived boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN feature.off IS 'Whether every subject gets __DISABLE__, whatever else holds.';
COMMENT ON COLUMN feature.archived IS 'Whether the feature is kept but not served: absent from every answer, even if it is off.';

DROP TRIGGER keep_version ON feature;
CREATE TRIGGER keep_version AFTER INSERT OR DELETE OR UPDATE OF description, tags, default_variant, off, archived ON feature
    FOR EACH ROW EXECUTE FUNCTION keep_version('name');
