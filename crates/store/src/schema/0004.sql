CREATE TABLE certificates (
    id          INTEGER NOT NULL PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,
    name        TEXT NOT NULL,
    certificate TEXT NOT NULL,
    added_at    TEXT NOT NULL
) STRICT;
