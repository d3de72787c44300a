-- What users' volumes hold, how far their creation or deletion is, what they are called on disk while they are renamed;
-- and their snapshots.

ALTER TABLE volumes ADD COLUMN content TEXT NOT NULL DEFAULT 'filesystem';
ALTER TABLE volumes ADD COLUMN phase TEXT NOT NULL DEFAULT 'ready';
ALTER TABLE volumes ADD COLUMN renamed_from TEXT;

CREATE TABLE volume_snapshots (
    id          INTEGER NOT NULL PRIMARY KEY,
    volume_id   INTEGER NOT NULL REFERENCES volumes (id) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    config      TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    expires_at  TEXT,
    phase       TEXT NOT NULL,
    renamed_from      TEXT,
    UNIQUE (volume_id, name)
) STRICT;
