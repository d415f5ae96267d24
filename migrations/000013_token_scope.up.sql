-- Admins of the previous release do not read it: to them such a token may write
-- everything.
ALTER TABLE token
    ADD COLUMN scope text[] NOT NULL DEFAULT '{}',
    ADD CONSTRAINT token_scope_check CHECK (role = 'editor' OR scope = '{}');
COMMENT ON COLUMN token.scope IS 'Globs of the names of features, tests and groups that its bearer may write; empty for all. A session has that of its parent.';
