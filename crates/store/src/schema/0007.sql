-- What was done by operations. Moments are nanoseconds since 1970, so that they compare.
CREATE TABLE operation_log (
    id          INTEGER NOT NULL PRIMARY KEY,
    uuid        TEXT NOT NULL UNIQUE,
    class       TEXT NOT NULL,
    description TEXT NOT NULL,
    project     TEXT NOT NULL,
    status      TEXT NOT NULL,
    error       TEXT NOT NULL,
    username    TEXT,
    protocol    TEXT NOT NULL,
    address     TEXT NOT NULL,
    resources   TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    ended_at    INTEGER
) STRICT;
CREATE INDEX operation_log_running ON operation_log (id) WHERE ended_at IS NULL;
CREATE INDEX operation_log_age ON operation_log (created_at);
