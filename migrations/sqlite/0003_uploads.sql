-- Uploads in parts that were begun and whose object is not published yet. An upload may outlive the process that began
-- it, so everything that it takes to go on with it, or to give it up, stands here.

CREATE TABLE uploads (
    key          TEXT    NOT NULL PRIMARY KEY,  -- of the object, as staged
    tenant_id    TEXT    NOT NULL,
    recording_id BLOB    NOT NULL REFERENCES recordings (id),
    upload_id    TEXT    NOT NULL,              -- as the store calls it
    begun_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX uploads_of_tenant ON uploads (tenant_id, begun_at);

-- What the store has taken of them.
CREATE TABLE upload_parts (
    key       TEXT    NOT NULL REFERENCES uploads (key) ON DELETE CASCADE,
    number    INTEGER NOT NULL CHECK (number BETWEEN 1 AND 10000),
    tenant_id TEXT    NOT NULL,
    tag       TEXT    NOT NULL,                 -- as the store calls it
    crc32c    INTEGER NOT NULL,
    size      INTEGER NOT NULL,
    PRIMARY KEY (key, number)
) STRICT, WITHOUT ROWID;
