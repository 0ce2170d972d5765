-- The catalogue. Times are microseconds since the Unix epoch in UTC, ids are UUIDs of 16 bytes, sizes are bytes.
-- Every table carries its tenant, and so does every query.

-- A call, as its user names it; entered at its first mention.
CREATE TABLE calls (
    tenant_id     TEXT    NOT NULL,
    id            TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    recording_id  BLOB,             -- the newest published recording
    recording_url TEXT,             -- where that one can be fetched
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

-- A recording. A deleted one stays as a tombstone, so that a log found later does not bring it back.
CREATE TABLE recordings (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    tenant_id    TEXT    NOT NULL,
    call_id      TEXT    NOT NULL,
    previous_id  BLOB,              -- the call's recording before this one
    state        TEXT    NOT NULL CHECK (state IN
        ('starting', 'active', 'ending', 'complete', 'failed', 'aborted', 'limit_reached')),
    reason       TEXT,
    created_at   INTEGER NOT NULL,
    started_at   INTEGER,
    ended_at     INTEGER,
    duration_us  INTEGER,
    size         INTEGER,
    participants INTEGER NOT NULL DEFAULT 0,
    object_key   TEXT,              -- the main object
    mime_type    TEXT,
    manifest     TEXT,
    deleted      INTEGER NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1)),
    FOREIGN KEY (tenant_id, call_id) REFERENCES calls (tenant_id, id)
) STRICT;

CREATE INDEX recordings_newest ON recordings (tenant_id, created_at DESC, id DESC) WHERE deleted = 0;
CREATE INDEX recordings_of_call ON recordings (tenant_id, call_id, created_at DESC, id DESC) WHERE deleted = 0;
CREATE INDEX recordings_after ON recordings (previous_id) WHERE previous_id IS NOT NULL;

-- An object in the store. All tenants share one store, so a key is taken for all of them.
CREATE TABLE objects (
    key          TEXT    NOT NULL PRIMARY KEY,
    tenant_id    TEXT    NOT NULL,
    recording_id BLOB    NOT NULL REFERENCES recordings (id),
    track_id     BLOB,
    kind         TEXT    NOT NULL CHECK (kind IN ('master', 'mix', 'manifest', 'rendition')),
    mime_type    TEXT    NOT NULL,
    size         INTEGER,
    crc32c       INTEGER,
    state        TEXT    NOT NULL CHECK (state IN ('staged', 'published', 'marked_for_deletion')),
    created_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX objects_of_recording ON objects (tenant_id, recording_id, key);
CREATE INDEX objects_to_sweep ON objects (tenant_id, state, created_at) WHERE state <> 'published';
