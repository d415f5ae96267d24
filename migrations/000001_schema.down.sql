DROP TABLE token, audit, override, member, subject_group, abtest_variant, abtest_group, abtest, rollout CASCADE;
ALTER TABLE feature DROP CONSTRAINT feature_name_default_variant_fkey;
DROP TABLE variant, feature, tombstone, subject, bucket, change, state;
DROP FUNCTION check_assignment, refuse_audit_change;
DROP DOMAIN identifier, share;
DROP SEQUENCE change_label;
