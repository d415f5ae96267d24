-- Without their scope they could write everything.
UPDATE token SET role = 'viewer', scope = '{}' WHERE scope <> '{}';
ALTER TABLE token DROP COLUMN scope;
