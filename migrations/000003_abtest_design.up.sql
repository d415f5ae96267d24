-- How a test handed out its buckets decides what may be concluded from it, so it is
-- kept with the test. Tests that were there keep their assignment, as design 1.
ALTER TABLE abtest
    ADD COLUMN design smallint  NOT NULL DEFAULT 1 CHECK (design BETWEEN 1 AND 2),
    ADD COLUMN aside  integer[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN abtest.design IS 'How buckets were assigned: 1 to the group farthest below its share, by weight; 2 by a draw.';
COMMENT ON COLUMN abtest.aside IS 'Of design 2: buckets too heavy to be drawn, ascending. They are in groups for balance and take no part in inference.';

ALTER TABLE abtest_group ADD COLUMN chance double precision CHECK (chance BETWEEN 0 AND 1);
COMMENT ON COLUMN abtest_group.chance IS 'Of design 2: the probability with which each drawn bucket came into this group; null without buckets, and of design 1.';

CREATE TABLE abtest_baseline (
    abtest   identifier PRIMARY KEY REFERENCES abtest ON DELETE CASCADE,
    revision bigint     NOT NULL,
    weights  bigint[]   NOT NULL,
    subjects bigint[]   NOT NULL,
    CHECK (cardinality(weights) = cardinality(subjects))
);
COMMENT ON TABLE  abtest_baseline IS 'What a test began with. Edges do not read it.';
COMMENT ON COLUMN abtest_baseline.revision IS 'The revision that created the test: subjects born later were not assigned by its draw.';
COMMENT ON COLUMN abtest_baseline.weights IS 'The weight of each bucket then, in id order from 1.';
COMMENT ON COLUMN abtest_baseline.subjects IS 'The number of subjects in each bucket then, in id order from 1.';
