-- Only edges that authenticate their callers follow tokens. The others had to reread
-- the whole configuration whenever somebody signed in.
ALTER TABLE change
    ADD COLUMN tokens boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT change_tokens_check CHECK (config OR NOT tokens);
COMMENT ON COLUMN change.config IS 'Whether buckets, features, variants, rollouts, tests, groups, overrides or tokens changed.';
COMMENT ON COLUMN change.tokens IS 'Whether that was tokens alone. Edges of earlier releases look at config only.';
