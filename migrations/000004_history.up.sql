-- What held at each revision, so that a moment of the past is explained by what
-- held then. Triggers write it, so it is complete after any write, by programs of
-- the previous release as well. They run as the owner of the schema, so nobody else
-- has to be allowed to write history.

-- Imports hold subjects and members and take the state row last; other writes hold it
-- and give up soon. In this order nobody waits in a circle.
LOCK TABLE subject, member IN ACCESS EXCLUSIVE MODE;
LOCK TABLE state IN EXCLUSIVE MODE;

CREATE TABLE revision (
    revision     bigint      PRIMARY KEY,
    at           timestamptz NOT NULL,
    label        bigint      UNIQUE,
    buckets      integer     NOT NULL,
    stepped_back boolean     NOT NULL DEFAULT false
);
CREATE INDEX revision_at ON revision (at, revision);
CREATE INDEX revision_stepped_back ON revision (revision, at) WHERE stepped_back;
COMMENT ON TABLE  revision IS 'When each revision was made. Change rows say so too, but not for long.';
COMMENT ON COLUMN revision.label IS 'As in change.';
COMMENT ON COLUMN revision.buckets IS 'How many buckets there were.';
COMMENT ON COLUMN revision.stepped_back IS 'Whether the time is before that of the revision before, as clocks are set back.';
-- Nothing changed since the last change.
INSERT INTO revision (revision, at, buckets)
SELECT s.revision, coalesce(c.at, clock_timestamp()), (SELECT coalesce(max(id), 0) FROM bucket)
FROM state s LEFT JOIN change c ON c.revision = s.revision;

CREATE FUNCTION keep_revision() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO revision (revision, at, label, buckets, stepped_back)
    SELECT NEW.revision, NEW.at, NEW.label, (SELECT coalesce(max(id), 0) FROM bucket),
           coalesce(NEW.at < (SELECT at FROM revision WHERE revision = NEW.revision - 1), false);
    RETURN NULL;
END $$;
CREATE TRIGGER keep_revision AFTER INSERT ON change FOR EACH ROW EXECUTE FUNCTION keep_revision();

CREATE TABLE version (
    kind    text   COLLATE "C" NOT NULL,
    key     text[] COLLATE "C" NOT NULL,
    since   bigint NOT NULL,
    until   bigint,
    content json   NOT NULL,
    PRIMARY KEY (kind, key, since)
);
CREATE INDEX version_held ON version USING gist (int8range(since, until));
COMMENT ON TABLE  version IS 'Every version of every row of the configuration.';
COMMENT ON COLUMN version.kind IS 'The table of the row.';
COMMENT ON COLUMN version.key IS 'The primary key of the row.';
COMMENT ON COLUMN version.since IS 'The first revision in which the version held.';
COMMENT ON COLUMN version.until IS 'The first revision in which it held no longer; null while it holds.';
COMMENT ON COLUMN version.content IS 'The row by column. A payload is text, so that it stays as it was sent, whatever it holds.';

-- The arguments of the trigger are the columns of the primary key.
CREATE FUNCTION keep_version() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    made    bigint := (SELECT revision FROM state);
    changes text   := TG_TABLE_NAME; -- a name, by which the index would give no order
    held    json;
    changed text[];
BEGIN
    IF TG_TABLE_NAME = 'variant' THEN
        held := (SELECT to_json(v) FROM (SELECT (coalesce(NEW, OLD)).feature, (coalesce(NEW, OLD)).name, (coalesce(NEW, OLD)).payload::text) v);
    ELSE
        held := to_json(coalesce(NEW, OLD));
    END IF;
    changed := ARRAY(SELECT held ->> k FROM unnest(TG_ARGV) k);
    -- By the last one, which the index finds at once, however many there are.
    UPDATE version SET until = made
    WHERE kind = changes AND key = changed AND until IS NULL
      AND since = (SELECT since FROM version WHERE kind = changes AND key = changed ORDER BY since DESC LIMIT 1);
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO version (kind, key, since, content) VALUES (changes, changed, made, held)
        ON CONFLICT (kind, key, since) DO UPDATE SET until = NULL, content = excluded.content; -- changed twice at once
    END IF;
    RETURN NULL;
END $$;

-- Columns that only count (revision, members) make no version.
CREATE TRIGGER keep_version AFTER INSERT OR DELETE OR UPDATE OF description, tags, default_variant ON feature
    FOR EACH ROW EXECUTE FUNCTION keep_version('name');
CREATE TRIGGER keep_version AFTER INSERT OR DELETE OR UPDATE OF payload ON variant
    FOR EACH ROW EXECUTE FUNCTION keep_version('feature', 'name');
CREATE TRIGGER keep_version AFTER INSERT OR DELETE OR UPDATE OF variant, proportion, buckets ON rollout
    FOR EACH ROW EXECUTE FUNCTION keep_version('feature');
CREATE TRIGGER keep_version AFTER INSERT OR DELETE OR UPDATE OF starts, ends ON abtest
    FOR EACH ROW EXECUTE FUNCTION keep_version('name');
CREATE TRIGGER keep_version AFTER INSERT OR DELETE OR UPDATE OF proportion, buckets ON abtest_group
    FOR EACH ROW EXECUTE FUNCTION keep_version('abtest', 'name');
CREATE TRIGGER keep_version AFTER INSERT OR DELETE OR UPDATE OF variant ON abtest_variant
    FOR EACH ROW EXECUTE FUNCTION keep_version('abtest', 'abtest_group', 'feature');
CREATE TRIGGER keep_version AFTER INSERT OR DELETE OR UPDATE OF name, priority ON subject_group
    FOR EACH ROW EXECUTE FUNCTION keep_version('id');
CREATE TRIGGER keep_version AFTER INSERT OR DELETE OR UPDATE OF variant ON override
    FOR EACH ROW EXECUTE FUNCTION keep_version('group_id', 'feature');

-- History begins with what there is.
UPDATE feature SET tags = tags;
UPDATE variant SET payload = payload;
UPDATE rollout SET variant = variant;
UPDATE abtest SET starts = starts;
UPDATE abtest_group SET proportion = proportion;
UPDATE abtest_variant SET variant = variant;
UPDATE subject_group SET name = name;
UPDATE override SET variant = variant;

CREATE TABLE past_subject (
    subject_id text    COLLATE "C" NOT NULL,
    bucket_id  integer NOT NULL,
    since      bigint  NOT NULL,
    until      bigint  NOT NULL
);
CREATE INDEX past_subject_id ON past_subject (subject_id);
COMMENT ON TABLE  past_subject IS 'Deleted subjects. A subject can be deleted and made again, into another bucket.';
COMMENT ON COLUMN past_subject.since IS 'The revision that made the subject; 0 if that was before history began.';
COMMENT ON COLUMN past_subject.until IS 'The revision that deleted it.';

CREATE FUNCTION keep_subject() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO past_subject (subject_id, bucket_id, since, until)
    SELECT g.id, g.bucket_id, coalesce(r.revision, 0), s.revision
    FROM gone g CROSS JOIN state s LEFT JOIN revision r ON r.label = g.born;
    RETURN NULL;
END $$;
CREATE TRIGGER keep_subject AFTER DELETE ON subject
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION keep_subject();

CREATE TABLE past_member (
    subject_id text    COLLATE "C" NOT NULL,
    group_id   integer NOT NULL,
    since      bigint  NOT NULL,
    until      bigint  NOT NULL
);
CREATE INDEX past_member_subject ON past_member (subject_id);
COMMENT ON TABLE  past_member IS 'Memberships that ended, but for those that ended with their group.';
COMMENT ON COLUMN past_member.since IS 'The revision in which the subject joined; 0 if that was before history began.';
COMMENT ON COLUMN past_member.until IS 'The revision in which it left, or was deleted.';

-- Members of a deleted group stay: there may be millions, and the deletion holds all
-- writes up. What reads memberships looks whether the group is there.
ALTER TABLE member
    DROP CONSTRAINT member_group_id_fkey,
    ADD COLUMN since bigint NOT NULL DEFAULT 0;
-- Each write transaction begins by drawing its label.
ALTER TABLE member ALTER COLUMN since SET DEFAULT currval('change_label');
COMMENT ON TABLE  member IS 'Which subjects are in which groups. Rows of deleted groups are history.';
COMMENT ON COLUMN member.since IS 'The label of the change in which the subject joined; 0 if that was before history began.';

CREATE FUNCTION check_group() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM joined WHERE group_id NOT IN (SELECT id FROM subject_group)) THEN
        RAISE EXCEPTION 'members must join existing groups' USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER check_group AFTER INSERT ON member
    REFERENCING NEW TABLE AS joined FOR EACH STATEMENT EXECUTE FUNCTION check_group();

CREATE FUNCTION keep_member() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO past_member (subject_id, group_id, since, until)
    SELECT g.subject_id, g.group_id, coalesce(r.revision, 0), s.revision
    FROM gone g CROSS JOIN state s LEFT JOIN revision r ON r.label = g.since;
    RETURN NULL;
END $$;
CREATE TRIGGER keep_member AFTER DELETE ON member
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION keep_member();

-- A temporary table comes before all others of its name, unless the path says otherwise.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['keep_revision', 'keep_version', 'keep_subject', 'keep_member', 'check_group'] LOOP
        EXECUTE format('ALTER FUNCTION %I() SET search_path = %I, pg_temp', name, current_schema());
    END LOOP;
END $$;
