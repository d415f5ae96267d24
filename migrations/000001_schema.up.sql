-- The write model of Flaggery. Text keys sort bytewise (COLLATE "C"), so that
-- lists come in the same order whatever the database's locale is.

CREATE TABLE state (
    single   boolean PRIMARY KEY DEFAULT true CHECK (single),
    revision bigint  NOT NULL DEFAULT 0 CHECK (revision >= 0),
    epoch    uuid    NOT NULL DEFAULT gen_random_uuid()
);
COMMENT ON TABLE  state IS 'One row. Write transactions queue for its lock, so revisions are gapless and become visible in order.';
COMMENT ON COLUMN state.revision IS 'The number of the last committed change.';
COMMENT ON COLUMN state.epoch IS 'Identity of this history. Whoever restores a backup draws a new one, and edges reload.';
INSERT INTO state DEFAULT VALUES;

CREATE SEQUENCE change_label AS bigint;
COMMENT ON SEQUENCE change_label IS 'Labels that tie the rows a transaction stamped to its revision, which a long import learns only at its end.';

CREATE TABLE change (
    revision bigint      PRIMARY KEY,
    label    bigint      UNIQUE,
    config   boolean     NOT NULL,
    at       timestamptz NOT NULL,
    CHECK (config OR label IS NOT NULL)
);
CREATE INDEX change_at ON change (at);
COMMENT ON TABLE  change IS 'What each revision touched; edges ask it what happened since theirs. Pruned by age.';
COMMENT ON COLUMN change.label IS 'The stamp on the subjects and tombstones of this change; null where it touched no subject.';
COMMENT ON COLUMN change.config IS 'Whether buckets, features, variants, rollouts, tests, groups or overrides changed.';
COMMENT ON COLUMN change.at IS 'The time of the transaction that made the change.';

CREATE TABLE bucket (
    id       integer PRIMARY KEY CHECK (id >= 1),
    weight   bigint  NOT NULL DEFAULT 0 CHECK (weight >= 0),
    subjects bigint  NOT NULL DEFAULT 0 CHECK (subjects >= 0)
) WITH (fillfactor = 50);
COMMENT ON TABLE  bucket IS 'Containers of subjects, of nearly equal weight. Ids are gapless from 1; buckets are never removed.';
COMMENT ON COLUMN bucket.weight IS 'The sum over the bucket''s subjects.';
COMMENT ON COLUMN bucket.subjects IS 'How many subjects are in the bucket.';

CREATE TABLE subject (
    id        text    COLLATE "C" PRIMARY KEY CHECK (octet_length(id) BETWEEN 1 AND 256),
    weight    bigint  NOT NULL CHECK (weight BETWEEN 0 AND 9007199254740991),
    bucket_id integer NOT NULL REFERENCES bucket,
    born      bigint  NOT NULL,
    label     bigint  NOT NULL
);
CREATE INDEX subject_label ON subject (label);
COMMENT ON TABLE  subject IS 'Whom flags are resolved for. A subject never changes its bucket.';
COMMENT ON COLUMN subject.weight IS 'The traffic that the subject stands for.';
COMMENT ON COLUMN subject.born IS 'The label of the change that created this row: tells an edge whether it has seen the subject.';
COMMENT ON COLUMN subject.label IS 'The label of the last change to the subject or its memberships.';

CREATE TABLE tombstone (
    subject_id text   COLLATE "C" NOT NULL,
    born       bigint NOT NULL,
    label      bigint NOT NULL,
    PRIMARY KEY (label, subject_id)
);
COMMENT ON TABLE  tombstone IS 'Deleted subjects, so that edges can follow. Pruned together with the change rows.';
COMMENT ON COLUMN tombstone.born IS 'The label of the change that had created the subject.';
COMMENT ON COLUMN tombstone.label IS 'The label of the change that deleted it.';

CREATE DOMAIN identifier AS text COLLATE "C" CHECK (VALUE ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$');
CREATE DOMAIN share AS double precision CHECK (VALUE >= 0 AND VALUE <= 1);

CREATE TABLE feature (
    name            identifier  PRIMARY KEY,
    description     text    NOT NULL DEFAULT '',
    tags            text[]  NOT NULL DEFAULT '{}',
    default_variant text    COLLATE "C",
    revision        bigint  NOT NULL
);
COMMENT ON TABLE  feature IS 'What is switched.';
COMMENT ON COLUMN feature.default_variant IS 'What everyone gets whom nothing else applies to; null for nothing.';
COMMENT ON COLUMN feature.revision IS 'The revision that last changed the feature, its variants, its default or its rollout.';

CREATE TABLE variant (
    feature identifier  NOT NULL REFERENCES feature,
    name    text        COLLATE "C" NOT NULL
        CHECK (name = '__DISABLE__' OR name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$'),
    payload json CHECK (octet_length(payload::text) <= 65536),
    PRIMARY KEY (feature, name)
);
COMMENT ON TABLE  variant IS 'What a feature can resolve to. __DISABLE__ is reserved and switches the feature off.';
COMMENT ON COLUMN variant.payload IS 'Any JSON value, kept as it was sent; null for none.';
ALTER TABLE feature ADD FOREIGN KEY (name, default_variant) REFERENCES variant (feature, name);

CREATE TABLE rollout (
    feature    identifier        PRIMARY KEY REFERENCES feature,
    variant    text              COLLATE "C" NOT NULL,
    proportion share             NOT NULL DEFAULT 0,
    salt       bytea             NOT NULL CHECK (octet_length(salt) = 16),
    buckets    integer[]         NOT NULL DEFAULT '{}',
    FOREIGN KEY (feature, variant) REFERENCES variant (feature, name)
);
COMMENT ON TABLE  rollout IS 'One variant of a feature for a share of the buckets.';
COMMENT ON COLUMN rollout.proportion IS 'The share as asked for.';
COMMENT ON COLUMN rollout.salt IS 'Keys the order in which buckets join this rollout.';
COMMENT ON COLUMN rollout.buckets IS 'The buckets assigned, ascending. An array, so that an edge rereads one row a rollout.';

CREATE TABLE abtest (
    name     identifier  PRIMARY KEY,
    starts   timestamptz NOT NULL,
    ends     timestamptz NOT NULL CHECK (ends >= starts),
    salt     bytea       NOT NULL CHECK (octet_length(salt) = 16),
    revision bigint      NOT NULL
);
COMMENT ON TABLE  abtest IS 'A comparison of variants over a period. Two tests of one feature never share a moment.';
COMMENT ON COLUMN abtest.starts IS 'The first moment at which the test is live.';
COMMENT ON COLUMN abtest.ends IS 'The first moment at which the test is live no longer.';

CREATE TABLE abtest_group (
    abtest     identifier        NOT NULL REFERENCES abtest ON DELETE CASCADE,
    position   integer           NOT NULL,
    name       identifier        NOT NULL,
    proportion share             NOT NULL,
    buckets    integer[]         NOT NULL,
    PRIMARY KEY (abtest, name),
    UNIQUE (abtest, position)
);
COMMENT ON TABLE  abtest_group IS 'The arms of a test. Every bucket is in exactly one of them.';
COMMENT ON COLUMN abtest_group.position IS 'The place at which the group was given.';
COMMENT ON COLUMN abtest_group.buckets IS 'The buckets assigned, ascending.';

CREATE TABLE abtest_variant (
    abtest       identifier  NOT NULL,
    abtest_group identifier  NOT NULL,
    feature      identifier  NOT NULL,
    variant      text        COLLATE "C" NOT NULL,
    PRIMARY KEY (abtest, abtest_group, feature),
    FOREIGN KEY (abtest, abtest_group) REFERENCES abtest_group (abtest, name) ON DELETE CASCADE,
    FOREIGN KEY (feature, variant) REFERENCES variant (feature, name)
);
CREATE INDEX abtest_variant_used ON abtest_variant (feature, variant);
COMMENT ON TABLE abtest_variant IS 'What each arm of a test serves for each feature under test.';

CREATE TABLE subject_group (
    id       integer     PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name     identifier  NOT NULL UNIQUE,
    priority integer     NOT NULL DEFAULT 0,
    members  bigint      NOT NULL DEFAULT 0 CHECK (members >= 0),
    revision bigint      NOT NULL
);
COMMENT ON TABLE  subject_group IS 'Sets of subjects for which variants are overridden.';
COMMENT ON COLUMN subject_group.id IS 'Never used again, so that edges need not hear of the members of a deleted group.';
COMMENT ON COLUMN subject_group.members IS 'How many subjects are in the group.';
COMMENT ON COLUMN subject_group.revision IS 'The revision that last changed the group or its overrides; members do not count.';

CREATE TABLE member (
    group_id   integer NOT NULL REFERENCES subject_group ON DELETE CASCADE,
    subject_id text    COLLATE "C" NOT NULL REFERENCES subject ON DELETE CASCADE,
    PRIMARY KEY (group_id, subject_id)
);
CREATE UNIQUE INDEX member_subject ON member (subject_id, group_id);
COMMENT ON TABLE member IS 'Which subjects are in which groups.';

CREATE TABLE override (
    group_id integer     NOT NULL REFERENCES subject_group ON DELETE CASCADE,
    feature  identifier  NOT NULL,
    variant  text        COLLATE "C" NOT NULL,
    PRIMARY KEY (group_id, feature),
    FOREIGN KEY (feature, variant) REFERENCES variant (feature, name)
);
CREATE INDEX override_used ON override (feature, variant);
COMMENT ON TABLE override IS 'The variant that the members of a group get, whatever else applies.';

-- Assignments are arrays, which foreign keys cannot hold to; as bucket ids are
-- gapless and never removed, the count of buckets is all that there is to check.
CREATE FUNCTION check_assignment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM unnest(NEW.buckets) WITH ORDINALITY AS b(id, i)
               WHERE b.id IS NULL OR b.id < 1 OR (i > 1 AND b.id <= NEW.buckets[i - 1]))
       OR NEW.buckets[cardinality(NEW.buckets)] > (SELECT max(id) FROM bucket) THEN
        RAISE EXCEPTION 'buckets must be ascending ids of existing buckets' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER check_assignment BEFORE INSERT OR UPDATE OF buckets ON rollout
    FOR EACH ROW EXECUTE FUNCTION check_assignment();
CREATE TRIGGER check_assignment BEFORE INSERT OR UPDATE OF buckets ON abtest_group
    FOR EACH ROW EXECUTE FUNCTION check_assignment();

CREATE TABLE audit (
    revision   bigint      NOT NULL,
    position   integer     NOT NULL DEFAULT 0,
    at         timestamptz NOT NULL,
    actor      text        NOT NULL,
    action     text        NOT NULL,
    resource   text        COLLATE "C" NOT NULL,
    before     json,
    after      json,
    comment    text        NOT NULL DEFAULT '',
    request_id text        NOT NULL DEFAULT '',
    PRIMARY KEY (revision, position)
);
CREATE INDEX audit_resource ON audit (resource, revision);
CREATE INDEX audit_actor ON audit (actor, revision);
CREATE INDEX audit_at ON audit (at);
COMMENT ON TABLE  audit IS 'Who changed what, written in the transaction that changed it. Append only.';
COMMENT ON COLUMN audit.position IS 'The place among the rows of one revision.';
COMMENT ON COLUMN audit.action IS 'create, update, delete, …';
COMMENT ON COLUMN audit.resource IS 'The path of what was changed, as in the HTTP contract: features/foobar/rollout.';
COMMENT ON COLUMN audit.before IS 'The resource as it was; null for what was created.';
COMMENT ON COLUMN audit.after IS 'The resource as it became; null for what was deleted.';
COMMENT ON COLUMN audit.request_id IS 'The id of the HTTP request, which the access log shows too.';

CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit rows are never changed' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

CREATE TABLE token (
    id         bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name       text        NOT NULL,
    role       text        NOT NULL CHECK (role IN ('viewer', 'editor', 'admin', 'client')),
    prefix     text        NOT NULL,
    hash       bytea       NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    used_at    timestamptz
);
COMMENT ON TABLE  token IS 'Bearer tokens. The secret itself is shown once and never stored.';
COMMENT ON COLUMN token.prefix IS 'The readable beginning of the secret, to tell tokens apart.';
COMMENT ON COLUMN token.hash IS 'SHA-256 of the secret.';
COMMENT ON COLUMN token.used_at IS 'The last use, to the minute; null for never.';
