-- Imports can delete subjects and end memberships. They learn their revision at their end,
-- so what they end is recorded with their label.

-- Writes hold the state row, and history is pruned in the order of these tables.
LOCK TABLE state IN EXCLUSIVE MODE;
ALTER TABLE past_member ADD COLUMN label bigint;
ALTER TABLE past_subject ADD COLUMN label bigint;
COMMENT ON COLUMN past_member.label IS 'The label of the import that ended the membership, in whose revision it did; until is before that. Null if until says it.';
COMMENT ON COLUMN past_subject.label IS 'The label of the import that deleted the subject, in whose revision it did; until is before that. Null if until says it.';

CREATE OR REPLACE FUNCTION keep_subject() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO past_subject (subject_id, bucket_id, since, until, label)
    SELECT g.id, g.bucket_id, coalesce(r.revision, 0), s.revision, nullif(current_setting('flaggery.label', true), '')::bigint
    FROM gone g CROSS JOIN state s LEFT JOIN revision r ON r.label = g.born;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION keep_member() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO past_member (subject_id, group_id, since, until, label)
    SELECT g.subject_id, g.group_id, coalesce(r.revision, 0), s.revision, nullif(current_setting('flaggery.label', true), '')::bigint
    FROM gone g CROSS JOIN state s LEFT JOIN revision r ON r.label = g.since;
    RETURN NULL;
END $$;

-- As in 000004: a temporary table comes before all others of its name.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['keep_subject', 'keep_member'] LOOP
        EXECUTE format('ALTER FUNCTION %I() SET search_path = %I, pg_temp', name, current_schema());
    END LOOP;
END $$;
