//! The queries, and how rows become values.

use std::str::FromStr;

use reeltime_core::id::{NodeId, RecordingId, TrackId};
use reeltime_core::keys::ObjectKey;
use reeltime_core::time::{Micros, UtcMicros};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, QueryBuilder, Row, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::failure::Failure;
use crate::catalogue::{Call, CatalogueError, Filter, Listing, Object, ObjectState, Page, Recording};

/// The participants' names, as a JSON array.
const NAMES: &str =
    "(SELECT json_group_array(DISTINCT value ->> 'participant' ORDER BY value ->> 'participant')
    FROM json_each(manifest, '$.tracks')) AS names";

pub(super) async fn recording(
    db: &mut SqliteConnection,
    tenant: &str,
    id: RecordingId,
) -> Result<Option<Recording>, Failure> {
    let mut query = QueryBuilder::new("SELECT *, ");
    query.push(NAMES).push(" FROM recordings WHERE deleted = 0 AND id = ").push_bind(blob(id.0));
    query.push(" AND tenant_id = ").push_bind(tenant.to_owned());
    let row = query.build().fetch_optional(db).await?;
    row.as_ref().map(to_recording).transpose()
}

/// Page and total come from one transaction, so that they fit each other.
pub(super) async fn list(
    db: &mut SqliteConnection,
    tenant: &str,
    filter: &Filter,
    page: Page,
) -> Result<Listing, Failure> {
    let mut db = db.begin().await?;
    let mut count = QueryBuilder::new("SELECT count(*) AS total FROM recordings");
    push_filter(&mut count, tenant, filter);
    let total: i64 = count.build().fetch_one(&mut *db).await?.try_get("total")?;

    let mut items = QueryBuilder::new(
        "SELECT id, tenant_id, call_id, previous_id, state, reason, created_at, started_at, ended_at, duration_us,
            size, participants, object_key, mime_type, NULL AS manifest, ",
    );
    items.push(NAMES).push(" FROM recordings");
    push_filter(&mut items, tenant, filter);
    let skipped = i64::from(page.number.saturating_sub(1)).saturating_mul(i64::from(page.size));
    items
        .push(" ORDER BY created_at DESC, id DESC LIMIT ")
        .push_bind(page.size)
        .push(" OFFSET ")
        .push_bind(skipped);
    let rows = items.build().fetch_all(&mut *db).await?;
    let items = rows.iter().map(to_recording).collect::<Result<_, _>>()?;
    Ok(Listing { items, total: total.unsigned_abs() })
}

fn push_filter(query: &mut QueryBuilder<Sqlite>, tenant: &str, filter: &Filter) {
    query.push(" WHERE deleted = 0 AND tenant_id = ").push_bind(tenant.to_owned());
    if let Some(call) = &filter.call {
        query.push(" AND call_id = ").push_bind(call.clone());
    }
    if !filter.states.is_empty() {
        let mut states = query.push(" AND state IN (").separated(", ");
        for state in &filter.states {
            states.push_bind(state.name());
        }
        query.push(")");
    }
    if let Some(text) = &filter.text {
        push_text(query, text, &filter.also);
    }
}

/// Names are compared as text, not as patterns. A manifest is taken apart only where the text is somewhere in it: that is most
/// of the work, and most hold it nowhere.
fn push_text(query: &mut QueryBuilder<Sqlite>, text: &str, also: &[RecordingId]) {
    let containing =
        |text: &str| format!("%{}%", text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"));
    let (pattern, quoted) = (containing(text), serde_json::Value::from(text).to_string());
    query
        .push(" AND (call_id LIKE ")
        .push_bind(pattern.clone())
        .push(" ESCAPE '\\' OR (manifest LIKE ")
        .push_bind(containing(&quoted[1..quoted.len() - 1]))
        .push(
            " ESCAPE '\\' AND EXISTS (SELECT 1 FROM json_each(manifest, '$.tracks')
                WHERE value ->> 'participant' LIKE ",
        )
        .push_bind(pattern)
        .push(" ESCAPE '\\')) OR id IN (");
    let mut ids = query.separated(", ");
    for id in also {
        ids.push_bind(blob(id.0));
    }
    query.push("))");
}

pub(super) async fn call(db: &mut SqliteConnection, tenant: &str, id: &str) -> Result<Option<Call>, Failure> {
    let row = sqlx::query("SELECT * FROM calls WHERE tenant_id = ?1 AND id = ?2")
        .bind(tenant)
        .bind(id)
        .fetch_optional(db)
        .await?;
    let to_call = |row: SqliteRow| -> Result<Call, Failure> {
        Ok(Call {
            id: row.try_get("id")?,
            created_at: UtcMicros(row.try_get("created_at")?),
            recording: uuid(&row, "recording_id")?.map(RecordingId),
            recording_url: row.try_get("recording_url")?,
        })
    };
    row.map(to_call).transpose()
}

pub(super) async fn objects(
    db: &mut SqliteConnection,
    tenant: &str,
    id: RecordingId,
) -> Result<Vec<Object>, Failure> {
    let rows = sqlx::query("SELECT * FROM objects WHERE tenant_id = ?1 AND recording_id = ?2 ORDER BY key")
        .bind(tenant)
        .bind(blob(id.0))
        .fetch_all(db)
        .await?;
    rows.iter().map(to_object).collect()
}

pub(super) async fn objects_in(
    db: &mut SqliteConnection,
    tenant: &str,
    state: ObjectState,
    before: UtcMicros,
    limit: u32,
    node: Option<NodeId>,
) -> Result<Vec<Object>, Failure> {
    let rows = sqlx::query(
        "SELECT * FROM objects WHERE tenant_id = ?1 AND state = ?2 AND created_at < ?3
           AND NOT EXISTS (SELECT 1 FROM recordings WHERE id = recording_id AND node_id <> ?5)
         ORDER BY created_at, key LIMIT ?4",
    )
    .bind(tenant)
    .bind(state.as_str())
    .bind(before.0)
    .bind(limit)
    .bind(node.map(|node| blob(node.0)))
    .fetch_all(db)
    .await?;
    rows.iter().map(to_object).collect()
}

/// The only query that looks beyond a tenant: all share one store, and this tells no more than yes or no.
pub(super) async fn key_taken(db: &mut SqliteConnection, key: &ObjectKey) -> Result<bool, Failure> {
    let row =
        sqlx::query("SELECT 1 FROM objects WHERE key = ?1").bind(key.as_str()).fetch_optional(db).await?;
    Ok(row.is_some())
}

fn to_recording(row: &SqliteRow) -> Result<Recording, Failure> {
    let time = |column| -> Result<_, Failure> { Ok(row.try_get::<Option<i64>, _>(column)?.map(UtcMicros)) };
    Ok(Recording {
        id: RecordingId(uuid(row, "id")?.ok_or(CatalogueError::Unreadable { what: "id" })?),
        tenant: row.try_get("tenant_id")?,
        call: row.try_get("call_id")?,
        previous: uuid(row, "previous_id")?.map(RecordingId),
        state: parsed(row, "state")?,
        reason: row.try_get("reason")?,
        created_at: UtcMicros(row.try_get("created_at")?),
        started_at: time("started_at")?,
        ended_at: time("ended_at")?,
        duration: unsigned(row, "duration_us")?.map(Micros),
        size: unsigned(row, "size")?,
        participants: row.try_get("participants")?,
        names: serde_json::from_str(row.try_get("names")?)
            .map_err(|_| CatalogueError::Unreadable { what: "names" })?,
        key: row.try_get::<Option<String>, _>("object_key")?.map(to_key).transpose()?,
        mime_type: row.try_get("mime_type")?,
        manifest: row.try_get("manifest")?,
    })
}

fn to_object(row: &SqliteRow) -> Result<Object, Failure> {
    Ok(Object {
        key: key(row)?,
        recording: recording_id(row)?,
        track: uuid(row, "track_id")?.map(TrackId),
        kind: parsed(row, "kind")?,
        mime_type: row.try_get("mime_type")?,
        size: unsigned(row, "size")?,
        crc32c: row.try_get("crc32c")?,
        state: parsed(row, "state")?,
        created_at: UtcMicros(row.try_get("created_at")?),
    })
}

/// The column `recording_id` of a row.
pub(super) fn recording_id(row: &SqliteRow) -> Result<RecordingId, Failure> {
    let unreadable = CatalogueError::Unreadable { what: "recording_id" };
    Ok(RecordingId(uuid(row, "recording_id")?.ok_or(unreadable)?))
}

/// The column `key` of a row.
pub(super) fn key(row: &SqliteRow) -> Result<ObjectKey, Failure> {
    to_key(row.try_get("key")?)
}

fn to_key(text: String) -> Result<ObjectKey, Failure> {
    ObjectKey::new(text).map_err(|_| CatalogueError::Unreadable { what: "key" }.into())
}

/// A column that holds one of a set of names.
pub(super) fn parsed<T: FromStr>(row: &SqliteRow, column: &'static str) -> Result<T, Failure> {
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|_| CatalogueError::Unreadable { what: column }.into())
}

pub(super) fn unsigned(row: &SqliteRow, column: &'static str) -> Result<Option<u64>, Failure> {
    let number: Option<i64> = row.try_get(column)?;
    let convert =
        |number| u64::try_from(number).map_err(|_| CatalogueError::Unreadable { what: column }.into());
    number.map(convert).transpose()
}

pub(super) fn uuid(row: &SqliteRow, column: &'static str) -> Result<Option<Uuid>, Failure> {
    let bytes: Option<&[u8]> = row.try_get(column)?;
    let convert =
        |bytes| Uuid::from_slice(bytes).map_err(|_| CatalogueError::Unreadable { what: column }.into());
    bytes.map(convert).transpose()
}

/// An id as the database holds it.
pub(super) fn blob(id: Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}
