DROP TRIGGER decide_changed ON rollout;
DROP TRIGGER decide_part ON rollout;
DROP TRIGGER decide_part ON abtest_variant;
DROP TRIGGER decide_part ON override;
DROP FUNCTION decide_part();
DROP TRIGGER decide ON feature;
DROP TRIGGER decide_new ON feature;
DROP FUNCTION decide_feature();

DROP TRIGGER keep_version ON feature;
ALTER TABLE feature DROP COLUMN contact, DROP COLUMN expires, DROP COLUMN permanent, DROP COLUMN created, DROP COLUMN decided;
CREATE TRIGGER keep_version AFTER INSERT OR DELETE OR UPDATE OF description, tags, default_variant, off, archived ON feature
    FOR EACH ROW EXECUTE FUNCTION keep_version('name');
