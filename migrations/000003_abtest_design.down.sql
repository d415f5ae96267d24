DROP TABLE abtest_baseline;
ALTER TABLE abtest_group DROP COLUMN chance;
ALTER TABLE abtest DROP COLUMN aside, DROP COLUMN design;
