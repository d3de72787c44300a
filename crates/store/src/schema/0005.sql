-- Where an image came from. One that was here before this table has no row.
CREATE TABLE image_origins (
    image_id    INTEGER NOT NULL PRIMARY KEY REFERENCES images (id) ON DELETE CASCADE,
    url         TEXT,
    protocol    TEXT NOT NULL,
    alias       TEXT NOT NULL,
    certificate TEXT NOT NULL,
    asked_by    TEXT NOT NULL,
    fetched_at  TEXT NOT NULL
) STRICT;
CREATE INDEX image_origins_source ON image_origins (url, protocol, alias);
