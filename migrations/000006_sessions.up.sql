-- A session is a token that signing in made. It ends with what it came from, and the
-- audit names its bearer in a way that nobody can choose.
ALTER TABLE token
    ADD COLUMN session boolean NOT NULL DEFAULT false,
    ADD COLUMN parent  bigint  REFERENCES token ON DELETE CASCADE,
    ADD COLUMN subject text    NOT NULL DEFAULT '',
    ADD CHECK (session OR parent IS NULL AND subject = '');
CREATE INDEX token_parent ON token (parent);
COMMENT ON COLUMN token.session IS 'Whether signing in made it.';
COMMENT ON COLUMN token.parent IS 'The token that was shown to sign in, whose end is the session''s; null for FLAGGERY_ADMIN_TOKEN and for people.';
COMMENT ON COLUMN token.subject IS 'Who a person is at the identity provider (sub); empty for others.';

ALTER TABLE audit ADD COLUMN token bigint;
COMMENT ON COLUMN audit.token IS 'The id of the token that was shown, also where it was revoked since; null for none that is stored.';

-- A temporary table comes before all others of its name, unless the path says otherwise.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['check_assignment', 'refuse_audit_change', 'check_bucket', 'refuse_move', 'keep_buckets'] LOOP
        EXECUTE format('ALTER FUNCTION %I() SET search_path = %I, pg_temp', name, current_schema());
    END LOOP;
END $$;
