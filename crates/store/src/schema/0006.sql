-- The files are in the state directory, by the names of instance and backup.
CREATE TABLE instance_backups (
    id            INTEGER NOT NULL PRIMARY KEY,
    instance_id   INTEGER NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    name          TEXT NOT NULL,
    created_at    TEXT NOT NULL,
    expires_at    TEXT,
    instance_only INTEGER NOT NULL,
    size          INTEGER NOT NULL,
    UNIQUE (instance_id, name)
) STRICT;
