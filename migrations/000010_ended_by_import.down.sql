LOCK TABLE state IN EXCLUSIVE MODE;
UPDATE past_member p SET until = r.revision FROM revision r WHERE r.label = p.label;
UPDATE past_subject p SET until = r.revision FROM revision r WHERE r.label = p.label;
ALTER TABLE past_member DROP COLUMN label;
ALTER TABLE past_subject DROP COLUMN label;

CREATE OR REPLACE FUNCTION keep_subject() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO past_subject (subject_id, bucket_id, since, until)
    SELECT g.id, g.bucket_id, coalesce(r.revision, 0), s.revision
    FROM gone g CROSS JOIN state s LEFT JOIN revision r ON r.label = g.born;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION keep_member() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO past_member (subject_id, group_id, since, until)
    SELECT g.subject_id, g.group_id, coalesce(r.revision, 0), s.revision
    FROM gone g CROSS JOIN state s LEFT JOIN revision r ON r.label = g.since;
    RETURN NULL;
END $$;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['keep_subject', 'keep_member'] LOOP
        EXECUTE format('ALTER FUNCTION %I() SET search_path = %I, pg_temp', name, current_schema());
    END LOOP;
END $$;
