//! What there is of the files of many recordings: two queries for all of them, since lists ask for a page at a time.

use std::collections::HashMap;

use reeltime_core::id::RecordingId;
use reeltime_core::time::Micros;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, QueryBuilder, Row, Sqlite, SqliteConnection};

use super::failure::Failure;
use super::read::{blob, recording_id, unsigned};
use super::segments::to_segment;
use crate::catalogue::{CatalogueError, FileFigures};

/// Of recordings that come as segments, the tracks that are made of them do not count.
const FIGURES: &str = "
    WITH asked AS (SELECT id AS recording_id FROM recordings WHERE ";
const OF_SEGMENTS: &str = ")
    SELECT r.recording_id, r.status, count(s.id) AS files, coalesce(sum(s.size), 0) AS bytes,
        count(DISTINCT s.user_id) AS users,
        max(0, (SELECT max(ends_at) FROM segments WHERE recording_id = r.recording_id AND state = 'missing')
            - r.begun_at) AS missing_until
    FROM asked JOIN segment_recordings AS r USING (recording_id)
        LEFT JOIN segments AS s ON s.recording_id = r.recording_id AND s.state IN ('stored', 'logged')
    GROUP BY r.recording_id
    UNION ALL
    SELECT o.recording_id, NULL, count(*), coalesce(sum(o.size), 0), 0, NULL
    FROM asked JOIN objects AS o USING (recording_id)
    WHERE o.kind = 'master' AND o.state = 'published'
        AND o.recording_id NOT IN (SELECT recording_id FROM segment_recordings)
    GROUP BY o.recording_id";

/// All of one moment.
pub(super) async fn of(
    db: &mut SqliteConnection,
    tenant: &str,
    recordings: &[RecordingId],
) -> Result<HashMap<RecordingId, FileFigures>, Failure> {
    let mut db = db.begin().await?;
    let mut query = QueryBuilder::new(FIGURES);
    push_asked(&mut query, "id", tenant, recordings);
    let rows = query.push(OF_SEGMENTS).build().fetch_all(&mut *db).await?;
    let mut found = rows.iter().map(to_figures).collect::<Result<HashMap<_, _>, _>>()?;

    let mut query = QueryBuilder::new("SELECT * FROM segments WHERE state = 'missing' AND ");
    push_asked(&mut query, "recording_id", tenant, recordings);
    let rows = query.push(" ORDER BY recording_id, number").build().fetch_all(&mut *db).await?;
    for row in &rows {
        found.entry(recording_id(row)?).or_default().missing.push(to_segment(row)?);
    }
    Ok(found)
}

fn push_asked(
    query: &mut QueryBuilder<Sqlite>,
    column: &'static str,
    tenant: &str,
    recordings: &[RecordingId],
) {
    query.push("tenant_id = ").push_bind(tenant.to_owned()).push(" AND ").push(column).push(" IN (");
    let mut ids = query.separated(", ");
    for recording in recordings {
        ids.push_bind(blob(recording.0));
    }
    query.push(")");
}

fn to_figures(row: &SqliteRow) -> Result<(RecordingId, FileFigures), Failure> {
    let unreadable = |what| CatalogueError::Unreadable { what };
    let status = row.try_get::<Option<&str>, _>("status")?.map(str::parse);
    let figures = FileFigures {
        status: status.transpose().map_err(|_| unreadable("status"))?,
        files: row.try_get::<u32, _>("files")? as usize,
        bytes: unsigned(row, "bytes")?.unwrap_or(0),
        users: row.try_get::<u32, _>("users")? as usize,
        missing: Vec::new(),
        missing_until: Micros(unsigned(row, "missing_until")?.unwrap_or(0)),
    };
    Ok((recording_id(row)?, figures))
}
