-- Configuration and devices are JSON: whole entities are what is read and written, and a list needs one query.
-- Times are RFC 3339 with all their digits. References go by id, so that a rename touches one row.

PRAGMA application_id = 0x436f6672;

CREATE TABLE server_config (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE projects (
    id          INTEGER NOT NULL PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    config      TEXT NOT NULL
) STRICT;

CREATE TABLE profiles (
    id          INTEGER NOT NULL PRIMARY KEY,
    project_id  INTEGER NOT NULL REFERENCES projects (id) ON DELETE RESTRICT,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    config      TEXT NOT NULL,
    devices     TEXT NOT NULL,
    UNIQUE (project_id, name)
) STRICT;

CREATE TABLE pools (
    id          INTEGER NOT NULL PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    driver      TEXT NOT NULL,
    config      TEXT NOT NULL,
    made        INTEGER NOT NULL
) STRICT;

CREATE TABLE volumes (
    id          INTEGER NOT NULL PRIMARY KEY,
    pool_id     INTEGER NOT NULL REFERENCES pools (id) ON DELETE RESTRICT,
    project_id  INTEGER NOT NULL REFERENCES projects (id) ON DELETE RESTRICT,
    kind        TEXT NOT NULL,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    config      TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    UNIQUE (pool_id, project_id, kind, name)
) STRICT;
CREATE INDEX volumes_project ON volumes (project_id);

CREATE TABLE networks (
    id          INTEGER NOT NULL PRIMARY KEY,
    project_id  INTEGER NOT NULL REFERENCES projects (id) ON DELETE RESTRICT,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    config      TEXT NOT NULL,
    made        INTEGER NOT NULL,
    UNIQUE (project_id, name)
) STRICT;

CREATE TABLE instances (
    id           INTEGER NOT NULL PRIMARY KEY,
    project_id   INTEGER NOT NULL REFERENCES projects (id) ON DELETE RESTRICT,
    name         TEXT NOT NULL,
    architecture TEXT NOT NULL,
    description  TEXT NOT NULL,
    ephemeral    INTEGER NOT NULL,
    config       TEXT NOT NULL,
    devices      TEXT NOT NULL,
    pool_id      INTEGER NOT NULL REFERENCES pools (id) ON DELETE RESTRICT,
    created_at   TEXT NOT NULL,
    last_used_at TEXT,
    phase        TEXT NOT NULL,
    UNIQUE (project_id, name)
) STRICT;
CREATE INDEX instances_pool ON instances (pool_id);

CREATE TABLE instance_profiles (
    instance_id INTEGER NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,
    profile_id  INTEGER NOT NULL REFERENCES profiles (id) ON DELETE RESTRICT,
    PRIMARY KEY (instance_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX instance_profiles_profile ON instance_profiles (profile_id);

CREATE TABLE images (
    id           INTEGER NOT NULL PRIMARY KEY,
    project_id   INTEGER NOT NULL REFERENCES projects (id) ON DELETE RESTRICT,
    fingerprint  TEXT NOT NULL,
    filename     TEXT NOT NULL,
    size         INTEGER NOT NULL,
    public       INTEGER NOT NULL,
    auto_update  INTEGER NOT NULL,
    cached       INTEGER NOT NULL,
    architecture TEXT NOT NULL,
    properties   TEXT NOT NULL,
    created_at   TEXT,
    expires_at   TEXT,
    last_used_at TEXT,
    uploaded_at  TEXT NOT NULL,
    split        INTEGER NOT NULL,
    UNIQUE (project_id, fingerprint)
) STRICT;

-- A profile may go although an image names it: the image then names one less.
CREATE TABLE image_profiles (
    image_id   INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    position   INTEGER NOT NULL,
    profile_id INTEGER NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    PRIMARY KEY (image_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_profiles_profile ON image_profiles (profile_id);

CREATE TABLE image_aliases (
    id          INTEGER NOT NULL PRIMARY KEY,
    project_id  INTEGER NOT NULL REFERENCES projects (id) ON DELETE RESTRICT,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    image_id    INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    UNIQUE (project_id, name)
) STRICT;
CREATE INDEX image_aliases_image ON image_aliases (image_id);

INSERT INTO projects (id, name, description, config) VALUES (1, 'default', 'Default Coffer project',
    '{"features.images":"true","features.networks":"true","features.profiles":"true","features.storage.volumes":"true"}');
INSERT INTO profiles (id, project_id, name, description, config, devices)
    VALUES (1, 1, 'default', 'Default Coffer profile', '{}', '{}');
