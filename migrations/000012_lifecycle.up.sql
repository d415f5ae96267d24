-- As in 000004: other writes hold the state and give up soon.
LOCK TABLE state IN EXCLUSIVE MODE;

ALTER TABLE feature
    ADD COLUMN contact   text    NOT NULL DEFAULT '',
    ADD COLUMN expires   date,
    ADD COLUMN permanent boolean NOT NULL DEFAULT false,
    ADD COLUMN created   bigint  NOT NULL DEFAULT 0,
    ADD COLUMN decided   bigint  NOT NULL DEFAULT 0;
COMMENT ON COLUMN feature.contact IS 'Who answers for the feature. Edges read none of these columns.';
COMMENT ON COLUMN feature.expires IS 'The first day, in UTC, on which the feature should be gone; null for none.';
COMMENT ON COLUMN feature.permanent IS 'Whether the feature stays for good.';
COMMENT ON COLUMN feature.created IS 'The revision that created the feature; 0 if that was before this column.';
COMMENT ON COLUMN feature.decided IS 'The last revision that changed what the feature gives: it, its default, its rollout, its overrides, or by deleting a test. Ends of tests are no revisions.';

DROP TRIGGER keep_version ON feature;
CREATE TRIGGER keep_version
    AFTER INSERT OR DELETE OR UPDATE OF description, tags, contact, expires, permanent, default_variant, off, archived ON feature
    FOR EACH ROW EXECUTE FUNCTION keep_version('name');

-- Which earlier change of a feature was to what it gives is in the history alone, so
-- the last one of any kind has to do.
UPDATE feature SET decided = revision;
UPDATE feature f SET decided = greatest(decided, o.revision)
FROM (SELECT key[2] AS feature, max(greatest(since, until)) AS revision FROM version WHERE kind = 'override' GROUP BY 1) o
WHERE o.feature = f.name;

-- Triggers, so that programs of the previous release count as well.
CREATE FUNCTION decide_feature() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.decided := (SELECT revision FROM state);
    IF TG_OP = 'INSERT' THEN
        NEW.created := NEW.decided;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER decide_new BEFORE INSERT ON feature FOR EACH ROW EXECUTE FUNCTION decide_feature();
CREATE TRIGGER decide BEFORE UPDATE OF default_variant, off, archived ON feature FOR EACH ROW
    WHEN ((OLD.default_variant, OLD.off, OLD.archived) IS DISTINCT FROM (NEW.default_variant, NEW.off, NEW.archived))
    EXECUTE FUNCTION decide_feature();

CREATE FUNCTION decide_part() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE feature SET decided = (SELECT revision FROM state) WHERE name = (coalesce(NEW, OLD)).feature;
    RETURN NULL;
END $$;
CREATE TRIGGER decide_part AFTER INSERT OR DELETE OR UPDATE OF variant ON override FOR EACH ROW EXECUTE FUNCTION decide_part();
CREATE TRIGGER decide_part AFTER DELETE ON abtest_variant FOR EACH ROW EXECUTE FUNCTION decide_part();
CREATE TRIGGER decide_part AFTER INSERT OR DELETE ON rollout FOR EACH ROW EXECUTE FUNCTION decide_part();
CREATE TRIGGER decide_changed AFTER UPDATE OF variant, proportion ON rollout FOR EACH ROW
    WHEN ((OLD.variant, OLD.proportion) IS DISTINCT FROM (NEW.variant, NEW.proportion))
    EXECUTE FUNCTION decide_part();

-- A temporary table comes before all others of its name, unless the path says otherwise.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION decide_feature() SET search_path = %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION decide_part() SET search_path = %I, pg_temp', current_schema());
END $$;
