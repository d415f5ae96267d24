-- Features that are off or archived are served again.
ALTER TABLE feature DROP COLUMN off, DROP COLUMN archived;
