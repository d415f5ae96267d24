-- Programs of earlier versions do not read these columns and would serve on, so
-- edges say which version of the read model they know.
ALTER TABLE feature
    ADD COLUMN off      boolean NOT NULL DEFAULT false,
    ADD COLUMN archived boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN feature.off IS 'Whether every subject gets __DISABLE__, whatever else holds.';
COMMENT ON COLUMN feature.archived IS 'Whether the feature is kept but not served: absent from every answer, even if it is off.';
