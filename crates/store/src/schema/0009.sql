-- Backups of users' volumes, beside those of instances and in the same columns.
ALTER TABLE instance_backups RENAME COLUMN instance_id TO owner_id;
ALTER TABLE instance_backups RENAME COLUMN instance_only TO without_snapshots;
ALTER TABLE instance_backups ADD COLUMN optimized INTEGER NOT NULL DEFAULT 0;
CREATE TABLE volume_backups (
    id                INTEGER NOT NULL PRIMARY KEY,
    owner_id          INTEGER NOT NULL REFERENCES volumes (id) ON DELETE CASCADE,
    name              TEXT NOT NULL,
    created_at        TEXT NOT NULL,
    expires_at        TEXT,
    without_snapshots INTEGER NOT NULL,
    optimized         INTEGER NOT NULL,
    size              INTEGER NOT NULL,
    UNIQUE (owner_id, name)
) STRICT;
