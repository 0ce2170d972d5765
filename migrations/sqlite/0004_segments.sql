-- Recordings that come in as segments through `/api/recordings`, and the segments of each.

-- What such a recording's client said of it, and how far it is.
CREATE TABLE segment_recordings (
    recording_id BLOB    NOT NULL PRIMARY KEY REFERENCES recordings (id),
    tenant_id    TEXT    NOT NULL,
    session_id   TEXT    NOT NULL,  -- as its client names it
    guild_id     TEXT    NOT NULL,
    channel_id   TEXT    NOT NULL,
    details      TEXT    NOT NULL,  -- whatever else was said, as JSON
    status       TEXT    NOT NULL CHECK (status IN ('live', 'finalizing', 'finalized')),
    begun_at     INTEGER NOT NULL,  -- zero of the recording's clock
    created_at   INTEGER NOT NULL,
    finalized_at INTEGER
) STRICT, WITHOUT ROWID;

-- One session is recorded once at a time.
CREATE UNIQUE INDEX segment_recordings_live ON segment_recordings (tenant_id, session_id) WHERE status <> 'finalized';
CREATE INDEX segment_recordings_open ON segment_recordings (tenant_id, status, created_at) WHERE status <> 'finalized';

-- A segment: announced, perhaps uploaded, perhaps never seen. Its object lies under `key`.
CREATE TABLE segments (
    id            BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    tenant_id     TEXT    NOT NULL,
    recording_id  BLOB    NOT NULL REFERENCES recordings (id),
    number        INTEGER NOT NULL,  -- of the recording's segments, from 0, in the order they were announced
    user_id       TEXT    NOT NULL,
    username      TEXT    NOT NULL,
    participant   TEXT    NOT NULL,  -- the name of its track: the user's, with the id where two users share one
    segment_index INTEGER NOT NULL,
    file_name     TEXT    NOT NULL,
    format        TEXT    NOT NULL CHECK (format IN ('wav', 'flac', 'ogg')),
    size          INTEGER,           -- as announced; absent where nobody said
    starts_at     INTEGER NOT NULL,
    ends_at       INTEGER NOT NULL,
    key           TEXT    NOT NULL UNIQUE,
    state         TEXT    NOT NULL CHECK (state IN ('announced', 'stored', 'logged', 'missing')),
    crc32c        INTEGER,
    upload        BLOB    NOT NULL UNIQUE,  -- the id of the one address that takes it
    used          INTEGER NOT NULL DEFAULT 0 CHECK (used IN (0, 1)),
    UNIQUE (recording_id, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX segments_of_user ON segments (recording_id, user_id, segment_index);
