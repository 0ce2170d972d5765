//! The changes. Each runs inside a transaction of the writer's; an error undoes all of it.

use reeltime_core::id::{NodeId, RecordingId};
use reeltime_core::keys::ObjectKey;
use sqlx::{Row, SqliteConnection};

use super::failure::Failure;
use super::nodes::fence;
use super::read::{blob, parsed};
use crate::catalogue::{
    CatalogueError, NewObject, NewRecording, Publication, RecordingState, StateChange, StoredObject,
};

pub(super) async fn begin(
    db: &mut SqliteConnection,
    new: &NewRecording,
    node: Option<NodeId>,
) -> Result<(), Failure> {
    sqlx::query("INSERT INTO calls (tenant_id, id, created_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")
        .bind(&new.tenant)
        .bind(&new.call)
        .bind(new.created_at.0)
        .execute(&mut *db)
        .await?;
    let inserted = sqlx::query(
        "INSERT INTO recordings (id, tenant_id, call_id, state, created_at, node_id, previous_id) VALUES (?1, ?2, ?3, 'starting', ?4, ?5,
            (SELECT id FROM recordings WHERE tenant_id = ?2 AND call_id = ?3 AND deleted = 0 AND created_at <= ?4
             ORDER BY created_at DESC, id DESC LIMIT 1))
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(blob(new.id.0))
    .bind(&new.tenant)
    .bind(&new.call)
    .bind(new.created_at.0)
    .bind(node.map(|node| blob(node.0)))
    .execute(&mut *db)
    .await?;
    if inserted.rows_affected() == 1 { Ok(()) } else { check_same(db, new).await }
}

/// The id is there already: that is fine for the same recording, entered again.
async fn check_same(db: &mut SqliteConnection, new: &NewRecording) -> Result<(), Failure> {
    let row = sqlx::query("SELECT deleted FROM recordings WHERE id = ?1 AND tenant_id = ?2 AND call_id = ?3")
        .bind(blob(new.id.0))
        .bind(&new.tenant)
        .bind(&new.call)
        .fetch_optional(db)
        .await?;
    match row {
        None => Err(CatalogueError::Conflict { id: new.id }.into()),
        Some(row) if row.try_get("deleted")? => Err(CatalogueError::Deleted { id: new.id }.into()),
        Some(_) => Ok(()),
    }
}

/// The state of a recording that exists and is not deleted.
async fn state(db: &mut SqliteConnection, tenant: &str, id: RecordingId) -> Result<RecordingState, Failure> {
    let row = sqlx::query("SELECT state, deleted FROM recordings WHERE id = ?1 AND tenant_id = ?2")
        .bind(blob(id.0))
        .bind(tenant)
        .fetch_optional(db)
        .await?
        .ok_or(CatalogueError::UnknownRecording { id })?;
    if row.try_get("deleted")? {
        return Err(CatalogueError::Deleted { id }.into());
    }
    parsed(&row, "state")
}

pub(super) async fn change_state(
    db: &mut SqliteConnection,
    tenant: &str,
    id: RecordingId,
    change: &StateChange,
) -> Result<(), Failure> {
    let now = state(db, tenant, id).await?;
    if now == change.state {
        return Ok(());
    }
    if now.is_final() {
        return Err(CatalogueError::Final { id, state: now }.into());
    }
    if matches!(change.state, RecordingState::Complete | RecordingState::LimitReached) {
        return Err(CatalogueError::Incomplete { id, what: "only publishing completes a recording" }.into());
    }
    sqlx::query(
        "UPDATE recordings SET state = ?3, reason = ?4,
            started_at = CASE WHEN ?5 THEN coalesce(started_at, ?7) ELSE started_at END,
            ended_at = CASE WHEN ?6 THEN ?7 ELSE ended_at END
         WHERE id = ?1 AND tenant_id = ?2",
    )
    .bind(blob(id.0))
    .bind(tenant)
    .bind(change.state.name())
    .bind(&change.reason)
    .bind(change.state == RecordingState::Active)
    .bind(change.state.is_final())
    .bind(change.at.0)
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn stage(
    db: &mut SqliteConnection,
    new: &NewObject,
    node: Option<NodeId>,
) -> Result<(), Failure> {
    // One statement where all is well: the same object again touches its row and changes nothing.
    let staged = sqlx::query(
        "INSERT INTO objects (key, tenant_id, recording_id, track_id, kind, mime_type, state, created_at)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, 'staged', ?7 FROM recordings WHERE id = ?3 AND tenant_id = ?2 AND deleted = 0
            AND (node_id IS NULL OR ?8 IS NULL OR node_id = ?8)
         ON CONFLICT (key) DO UPDATE SET state = 'staged'
            WHERE objects.tenant_id = ?2 AND objects.recording_id = ?3 AND objects.track_id IS ?4
              AND objects.kind = ?5 AND objects.mime_type = ?6 AND objects.state = 'staged'",
    )
    .bind(new.key.as_str())
    .bind(&new.tenant)
    .bind(blob(new.recording.0))
    .bind(new.track.map(|track| blob(track.0)))
    .bind(new.kind.as_str())
    .bind(&new.mime_type)
    .bind(new.created_at.0)
    .bind(node.map(|node| blob(node.0)))
    .execute(&mut *db)
    .await?;
    if staged.rows_affected() == 1 {
        return Ok(());
    }
    state(db, &new.tenant, new.recording).await?;
    fence(db, &new.tenant, new.recording, node).await?;
    Err(CatalogueError::KeyTaken { key: new.key.clone() }.into())
}

pub(super) async fn publish(
    db: &mut SqliteConnection,
    new: &Publication,
    node: Option<NodeId>,
) -> Result<(), Failure> {
    check(new)?;
    if !complete(db, new, node).await? {
        // Which of the two it is.
        state(db, &new.tenant, new.recording).await?;
        fence(db, &new.tenant, new.recording, node).await?;
        return Err(CatalogueError::UnknownRecording { id: new.recording }.into());
    }
    for object in &new.objects {
        publish_object(db, new, object).await?;
    }
    link_call(db, new).await
}

/// A publication that would release a log without its media in the store is refused.
fn check(new: &Publication) -> Result<(), Failure> {
    let nobody =
        matches!(new.state, RecordingState::Failed | RecordingState::Aborted) || new.participants == 0;
    let nothing_recorded = nobody && new.objects.is_empty() && new.duration.0 == 0;
    let what = match &new.main {
        _ if !new.state.is_final() => "its state is not a final one",
        None if nothing_recorded => return Ok(()),
        None => "it has no main object, and something was recorded",
        Some(main) if !new.objects.iter().any(|object| object.key == *main) => {
            "its main object is not among its objects"
        }
        Some(_) => return Ok(()),
    };
    Err(CatalogueError::Incomplete { id: new.recording, what }.into())
}

async fn publish_object(
    db: &mut SqliteConnection,
    new: &Publication,
    object: &StoredObject,
) -> Result<(), Failure> {
    let published = sqlx::query(
        "UPDATE objects SET state = 'published', size = ?4, crc32c = ?5
         WHERE key = ?1 AND tenant_id = ?2 AND recording_id = ?3 AND state IN ('staged', 'published')",
    )
    .bind(object.key.as_str())
    .bind(&new.tenant)
    .bind(blob(new.recording.0))
    .bind(integer(object.size, "bytes")?)
    .bind(object.crc32c.map(i64::from))
    .execute(&mut *db)
    .await?;
    if published.rows_affected() == 0 {
        return Err(CatalogueError::NotStaged { key: object.key.clone() }.into());
    }
    super::uploads::end(db, &new.tenant, &object.key).await
}

/// False where there is no such recording, or it is deleted or another node's.
async fn complete(
    db: &mut SqliteConnection,
    new: &Publication,
    node: Option<NodeId>,
) -> Result<bool, Failure> {
    let main = new.main.as_ref().and_then(|main| new.objects.iter().find(|object| object.key == *main));
    let size = main.map(|main| integer(main.size, "bytes")).transpose()?;
    let completed = sqlx::query(
        "UPDATE recordings SET state = ?3, reason = ?4, started_at = coalesce(?5, started_at), ended_at = ?6,
            duration_us = ?7, participants = ?8, manifest = ?9, object_key = ?10,
            size = ?11, mime_type = (SELECT mime_type FROM objects WHERE key = ?10 AND tenant_id = ?2)
         WHERE id = ?1 AND tenant_id = ?2 AND deleted = 0 AND (node_id IS NULL OR ?12 IS NULL OR node_id = ?12)",
    )
    .bind(blob(new.recording.0))
    .bind(&new.tenant)
    .bind(new.state.name())
    .bind(&new.reason)
    .bind(new.started_at.map(|at| at.0))
    .bind(new.ended_at.0)
    .bind(integer(new.duration.0, "microseconds")?)
    .bind(new.participants)
    .bind(&new.manifest)
    .bind(new.main.as_ref().map(ObjectKey::as_str))
    .bind(size)
    .bind(node.map(|node| blob(node.0)))
    .execute(db)
    .await?;
    Ok(completed.rows_affected() == 1)
}

/// Sets the call's URL, unless it leads to a newer recording already.
async fn link_call(db: &mut SqliteConnection, new: &Publication) -> Result<(), Failure> {
    let Some(url) = &new.url else { return Ok(()) };
    sqlx::query(
        "UPDATE calls SET recording_id = ?1, recording_url = ?3
         FROM recordings AS this
         WHERE this.id = ?1 AND this.tenant_id = ?2 AND calls.tenant_id = ?2 AND calls.id = this.call_id
           AND NOT EXISTS (SELECT 1 FROM recordings AS linked
               WHERE linked.id = calls.recording_id AND linked.tenant_id = ?2
                 AND (linked.created_at, linked.id) > (this.created_at, this.id))",
    )
    .bind(blob(new.recording.0))
    .bind(&new.tenant)
    .bind(url)
    .execute(db)
    .await?;
    Ok(())
}

/// The keys still to be removed; `None` where the tenant has no such recording.
pub(super) async fn delete(
    db: &mut SqliteConnection,
    tenant: &str,
    id: RecordingId,
) -> Result<Option<Vec<ObjectKey>>, Failure> {
    let buried = sqlx::query(
        "UPDATE recordings SET deleted = 1, manifest = NULL, reason = NULL, object_key = NULL
         WHERE id = ?1 AND tenant_id = ?2",
    )
    .bind(blob(id.0))
    .bind(tenant)
    .execute(&mut *db)
    .await?;
    if buried.rows_affected() == 0 {
        return Ok(None);
    }
    unlink(db, tenant, id).await?;
    let rows = sqlx::query(
        "UPDATE objects SET state = 'marked_for_deletion' WHERE tenant_id = ?1 AND recording_id = ?2 RETURNING key",
    )
    .bind(tenant)
    .bind(blob(id.0))
    .fetch_all(db)
    .await?;
    let mut keys = rows.iter().map(super::read::key).collect::<Result<Vec<_>, _>>()?;
    keys.sort();
    Ok(Some(keys))
}

/// Takes a recording out of its call: nothing leads to it any more.
async fn unlink(db: &mut SqliteConnection, tenant: &str, id: RecordingId) -> Result<(), Failure> {
    let statements = [
        "UPDATE calls SET recording_id = NULL, recording_url = NULL WHERE tenant_id = ?1 AND recording_id = ?2",
        "UPDATE recordings SET previous_id = (SELECT previous_id FROM recordings WHERE id = ?2 AND tenant_id = ?1)
         WHERE tenant_id = ?1 AND previous_id = ?2",
    ];
    for statement in statements {
        sqlx::query(statement).bind(tenant).bind(blob(id.0)).execute(&mut *db).await?;
    }
    Ok(())
}

pub(super) async fn mark(db: &mut SqliteConnection, tenant: &str, key: &ObjectKey) -> Result<bool, Failure> {
    let marked = sqlx::query(
        "UPDATE objects SET state = 'marked_for_deletion' WHERE key = ?1 AND tenant_id = ?2 AND state = 'staged'",
    )
    .bind(key.as_str())
    .bind(tenant)
    .execute(db)
    .await?;
    Ok(marked.rows_affected() == 1)
}

pub(super) async fn forget(db: &mut SqliteConnection, tenant: &str, key: &ObjectKey) -> Result<(), Failure> {
    sqlx::query("DELETE FROM objects WHERE key = ?1 AND tenant_id = ?2 AND state = 'marked_for_deletion'")
        .bind(key.as_str())
        .bind(tenant)
        .execute(db)
        .await?;
    Ok(())
}

pub(super) fn integer(number: u64, what: &'static str) -> Result<i64, CatalogueError> {
    i64::try_from(number).map_err(|_| CatalogueError::TooLarge { what })
}
