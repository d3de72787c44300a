CREATE TABLE instance_snapshots (
    id           INTEGER NOT NULL PRIMARY KEY,
    instance_id  INTEGER NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    architecture TEXT NOT NULL,
    ephemeral    INTEGER NOT NULL,
    config       TEXT NOT NULL,
    devices      TEXT NOT NULL,
    created_at   TEXT NOT NULL,
    expires_at   TEXT,
    last_used_at TEXT,
    phase        TEXT NOT NULL,
    renamed_from TEXT,
    UNIQUE (instance_id, name)
) STRICT;
CREATE INDEX instance_snapshots_expiry ON instance_snapshots (expires_at) WHERE expires_at IS NOT NULL;

-- A profile may go although a snapshot names it: the snapshot then names one less.
CREATE TABLE instance_snapshot_profiles (
    snapshot_id INTEGER NOT NULL REFERENCES instance_snapshots (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,
    profile_id  INTEGER NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    PRIMARY KEY (snapshot_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX instance_snapshot_profiles_profile ON instance_snapshot_profiles (profile_id);
