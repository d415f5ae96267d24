-- As in 000004: other writes hold the state and give up soon.
LOCK TABLE state IN EXCLUSIVE MODE;

ALTER TABLE feature ADD COLUMN owner text NOT NULL DEFAULT '';
ALTER TABLE subject_group ADD COLUMN owner text NOT NULL DEFAULT '';
ALTER TABLE abtest ADD COLUMN owner text NOT NULL DEFAULT '';
COMMENT ON COLUMN feature.owner IS 'The state document that manages the feature; empty for none. Edges read no owners.';
COMMENT ON COLUMN subject_group.owner IS 'The state document that manages the group; empty for none.';
COMMENT ON COLUMN abtest.owner IS 'The state document that manages the test; empty for none.';
