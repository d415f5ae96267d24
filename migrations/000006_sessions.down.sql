ALTER FUNCTION keep_buckets() RESET search_path;
ALTER FUNCTION refuse_move() RESET search_path;
ALTER FUNCTION check_bucket() RESET search_path;
ALTER FUNCTION refuse_audit_change() RESET search_path;
ALTER FUNCTION check_assignment() RESET search_path;

ALTER TABLE audit DROP COLUMN token;

ALTER TABLE token DROP COLUMN subject, DROP COLUMN parent, DROP COLUMN session;
