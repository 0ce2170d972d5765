//! Nodes: leases, and what is taken over from those that lost theirs.

use reeltime_core::id::{NodeId, RecordingId};
use reeltime_core::time::UtcMicros;
use sqlx::{Row, SqliteConnection};

use super::failure::Failure;
use super::read::{blob, uuid};
use crate::catalogue::{CatalogueError, Claim, Tenure};

pub(super) async fn start(
    db: &mut SqliteConnection,
    node: NodeId,
    until: UtcMicros,
) -> Result<Tenure, Failure> {
    let row = sqlx::query(
        "INSERT INTO nodes (id, epoch, lease_until) VALUES (?1, 1, ?2)
         ON CONFLICT (id) DO UPDATE SET epoch = epoch + 1, lease_until = ?2
         RETURNING epoch, coalesce((SELECT max(epoch) FROM claims WHERE node_id = ?1), 0) AS after",
    )
    .bind(blob(node.0))
    .bind(until.0)
    .fetch_one(db)
    .await?;
    Ok(Tenure { epoch: number(&row, "epoch")?, after: number(&row, "after")? })
}

pub(super) async fn renew(
    db: &mut SqliteConnection,
    node: NodeId,
    epoch: u64,
    until: UtcMicros,
) -> Result<bool, Failure> {
    let renewed = sqlx::query("UPDATE nodes SET lease_until = ?3 WHERE id = ?1 AND epoch = ?2")
        .bind(blob(node.0))
        .bind(epoch.cast_signed())
        .bind(until.0)
        .execute(db)
        .await?;
    Ok(renewed.rows_affected() == 1)
}

/// Whether there is anything to claim, or claimed already: asked often, so without writing.
pub(super) async fn any(db: &mut SqliteConnection, by: NodeId, now: UtcMicros) -> Result<bool, Failure> {
    let row = sqlx::query(
        "SELECT EXISTS (SELECT 1 FROM nodes WHERE id <> ?1 AND lease_until < ?2)
             OR EXISTS (SELECT 1 FROM claims WHERE taken_by = ?1) AS found",
    )
    .bind(blob(by.0))
    .bind(now.0)
    .fetch_one(db)
    .await?;
    Ok(row.try_get("found")?)
}

/// Takes every node whose lease has run out, with what it had taken over itself; all that `by` has taken by now.
pub(super) async fn claim(
    db: &mut SqliteConnection,
    by: NodeId,
    now: UtcMicros,
) -> Result<Vec<Claim>, Failure> {
    let statements = [
        "UPDATE claims SET taken_by = ?1
         WHERE taken_by IN (SELECT id FROM nodes WHERE id <> ?1 AND lease_until < ?2)",
        "INSERT INTO claims (node_id, epoch, taken_by)
         SELECT id, epoch, ?1 FROM nodes WHERE id <> ?1 AND lease_until < ?2",
        "UPDATE nodes SET epoch = epoch + 1, lease_until = NULL WHERE id <> ?1 AND lease_until < ?2",
    ];
    for statement in statements {
        sqlx::query(statement).bind(blob(by.0)).bind(now.0).execute(&mut *db).await?;
    }
    let rows = sqlx::query(
        "SELECT node_id, epoch, coalesce((SELECT max(epoch) FROM claims AS earlier
             WHERE earlier.node_id = claims.node_id AND earlier.epoch < claims.epoch), 0) AS after
         FROM claims WHERE taken_by = ?1 ORDER BY node_id, epoch",
    )
    .bind(blob(by.0))
    .fetch_all(db)
    .await?;
    let claim = |row| -> Result<Claim, Failure> {
        let node = uuid(row, "node_id")?.ok_or(CatalogueError::Unreadable { what: "node_id" })?;
        let tenure = Tenure { epoch: number(row, "epoch")?, after: number(row, "after")? };
        Ok(Claim { node: NodeId(node), tenure })
    };
    rows.iter().map(claim).collect()
}

pub(super) async fn has_claims(db: &mut SqliteConnection, by: NodeId) -> Result<bool, Failure> {
    let claims = "SELECT EXISTS (SELECT 1 FROM claims WHERE taken_by = ?1) AS found";
    Ok(sqlx::query(claims).bind(blob(by.0)).fetch_one(db).await?.try_get("found")?)
}

pub(super) async fn settle(db: &mut SqliteConnection, claim: Claim, at: UtcMicros) -> Result<(), Failure> {
    // What it had begun and never shipped is nowhere but on its disk, if that is still there.
    sqlx::query(
        "UPDATE recordings SET state = 'failed', ended_at = ?2,
            reason = 'the machine that recorded it was lost before any of it was in the store'
         WHERE node_id = ?1 AND deleted = 0 AND state IN ('starting', 'active', 'ending')
           AND EXISTS (SELECT 1 FROM nodes WHERE id = ?1 AND lease_until IS NULL)",
    )
    .bind(blob(claim.node.0))
    .bind(at.0)
    .execute(&mut *db)
    .await?;
    release(db, claim).await
}

pub(super) async fn release(db: &mut SqliteConnection, claim: Claim) -> Result<(), Failure> {
    sqlx::query("DELETE FROM claims WHERE node_id = ?1 AND epoch = ?2")
        .bind(blob(claim.node.0))
        .bind(claim.tenure.epoch.cast_signed())
        .execute(db)
        .await?;
    Ok(())
}

/// True where it is to be finished by `by`: it is its own from here on, or nobody knows of it.
pub(super) async fn take_recording(
    db: &mut SqliteConnection,
    tenant: &str,
    id: RecordingId,
    by: NodeId,
    now: UtcMicros,
) -> Result<bool, Failure> {
    let known = sqlx::query("SELECT node_id IS ?3 AS ours FROM recordings WHERE id = ?1 AND tenant_id = ?2")
        .bind(blob(id.0))
        .bind(tenant)
        .bind(blob(by.0))
        .fetch_optional(&mut *db)
        .await?;
    let Some(known) = known else { return Ok(true) };
    let taken = sqlx::query(
        "UPDATE recordings SET node_id = ?3
         WHERE id = ?1 AND tenant_id = ?2 AND deleted = 0 AND state IN ('starting', 'active', 'ending')
           AND NOT EXISTS (SELECT 1 FROM nodes
               WHERE nodes.id = recordings.node_id AND nodes.id <> ?3 AND nodes.lease_until >= ?4)",
    )
    .bind(blob(id.0))
    .bind(tenant)
    .bind(blob(by.0))
    .bind(now.0)
    .execute(&mut *db)
    .await?;
    if taken.rows_affected() == 1 && !known.try_get::<bool, _>("ours")? {
        let statements = [
            // The lost one may still be writing under these keys: they are not used again.
            "UPDATE objects SET state = 'marked_for_deletion'
             WHERE tenant_id = ?1 AND recording_id = ?2 AND state = 'staged'",
            // What it had logged and not shipped is in no log any more. All of it is in the store.
            "UPDATE segments SET state = 'stored' WHERE tenant_id = ?1 AND recording_id = ?2 AND state = 'logged'",
        ];
        for statement in statements {
            sqlx::query(statement).bind(tenant).bind(blob(id.0)).execute(&mut *db).await?;
        }
    }
    Ok(taken.rows_affected() == 1)
}

pub(super) async fn owner(
    db: &mut SqliteConnection,
    tenant: &str,
    id: RecordingId,
) -> Result<Option<NodeId>, Failure> {
    let row = sqlx::query("SELECT node_id FROM recordings WHERE id = ?1 AND tenant_id = ?2 AND deleted = 0")
        .bind(blob(id.0))
        .bind(tenant)
        .fetch_optional(db)
        .await?;
    Ok(row.map(|row| uuid(&row, "node_id")).transpose()?.flatten().map(NodeId))
}

/// Refuses what is another node's to finish.
pub(super) async fn fence(
    db: &mut SqliteConnection,
    tenant: &str,
    id: RecordingId,
    node: Option<NodeId>,
) -> Result<(), Failure> {
    match (owner(db, tenant, id).await?, node) {
        (Some(owner), Some(node)) if owner != node => Err(CatalogueError::TakenOver { id, by: owner }.into()),
        _ => Ok(()),
    }
}

pub(super) async fn knows(db: &mut SqliteConnection, node: NodeId) -> Result<bool, Failure> {
    let row = sqlx::query("SELECT 1 FROM nodes WHERE id = ?1").bind(blob(node.0)).fetch_optional(db).await?;
    Ok(row.is_some())
}

/// Enters a node of which only its bundles are known: it is there to be taken over.
pub(super) async fn enter(db: &mut SqliteConnection, node: NodeId, epoch: u64) -> Result<bool, Failure> {
    let entered =
        sqlx::query("INSERT INTO nodes (id, epoch, lease_until) VALUES (?1, ?2, 0) ON CONFLICT DO NOTHING")
            .bind(blob(node.0))
            .bind(epoch.cast_signed())
            .execute(db)
            .await?;
    Ok(entered.rows_affected() == 1)
}

fn number(row: &sqlx::sqlite::SqliteRow, column: &'static str) -> Result<u64, Failure> {
    let number: i64 = row.try_get(column)?;
    u64::try_from(number).map_err(|_| CatalogueError::Unreadable { what: column }.into())
}
