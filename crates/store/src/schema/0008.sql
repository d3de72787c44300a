-- What an administrator should look at. The entity is a URL without project; it may be gone. Moments are nanoseconds since 1970.
CREATE TABLE warnings (
    id            INTEGER NOT NULL PRIMARY KEY,
    uuid          TEXT NOT NULL UNIQUE,
    kind          TEXT NOT NULL,
    entity        TEXT NOT NULL,
    project       TEXT NOT NULL,
    status        TEXT NOT NULL,
    count         INTEGER NOT NULL,
    first_seen_at INTEGER NOT NULL,
    last_seen_at  INTEGER NOT NULL,
    message       TEXT NOT NULL,
    UNIQUE (kind, entity, project)
) STRICT;
-- What a certificate's holder may do: everything (client), or read the metrics.
ALTER TABLE certificates ADD COLUMN kind TEXT NOT NULL DEFAULT 'client';
