//! The rows of segments.

use std::collections::HashMap;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use reeltime_core::id::{NodeId, RecordingId};
use reeltime_core::keys::ObjectKey;
use reeltime_core::media::Container;
use reeltime_core::time::UtcMicros;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::SqliteCatalogue;
use super::failure::Failure;
use super::figures;
use super::nodes::fence;
use super::read::{blob, key, parsed, unsigned, uuid};
use super::write::{self, integer};
use crate::catalogue::{
    Catalogue, CatalogueError, FileFigures, KeptSegment, NewRecording, NewSegment, Segment, SegmentRecording,
    SegmentRows, SegmentsStatus,
};

/// How many numbered forms of a key are tried.
const MOST_KEYS: u32 = 1_000;

#[async_trait]
impl SegmentRows for SqliteCatalogue {
    async fn begin_segments(
        &self,
        recording: &NewRecording,
        segments: &SegmentRecording,
    ) -> Result<RecordingId, CatalogueError> {
        let (recording, segments, node) = (recording.clone(), segments.clone(), Catalogue::node(self));
        self.writer
            .write(move |db| Box::pin(async move { begin(db, &recording, &segments, node).await }))
            .await
    }

    async fn segment_recording(
        &self,
        tenant: &str,
        id: RecordingId,
    ) -> Result<Option<SegmentRecording>, CatalogueError> {
        let found = async {
            let row =
                sqlx::query("SELECT * FROM segment_recordings WHERE tenant_id = ?1 AND recording_id = ?2")
                    .bind(tenant)
                    .bind(blob(id.0))
                    .fetch_optional(&mut *self.readers.acquire().await?)
                    .await?;
            row.as_ref().map(to_recording).transpose()
        };
        self.explain(found.await)
    }

    async fn open_segment_recordings(&self, tenant: &str) -> Result<Vec<SegmentRecording>, CatalogueError> {
        let found = async {
            let rows = sqlx::query(
                "SELECT s.* FROM segment_recordings AS s JOIN recordings AS r ON r.id = s.recording_id
                 WHERE s.tenant_id = ?1 AND s.status <> 'finalized' AND r.deleted = 0
                   AND (r.node_id IS NULL OR ?2 IS NULL OR r.node_id = ?2) ORDER BY s.created_at",
            )
            .bind(tenant)
            .bind(Catalogue::node(self).map(|node| blob(node.0)))
            .fetch_all(&mut *self.readers.acquire().await?)
            .await?;
            rows.iter().map(to_recording).collect()
        };
        self.explain(found.await)
    }

    async fn advance_segments(
        &self,
        tenant: &str,
        id: RecordingId,
        status: SegmentsStatus,
        at: UtcMicros,
    ) -> Result<(), CatalogueError> {
        let (tenant, node) = (tenant.to_owned(), Catalogue::node(self));
        self.writer
            .write(move |db| {
                Box::pin(async move {
                    fence(db, &tenant, id, node).await?;
                    advance(db, &tenant, id, status, at).await
                })
            })
            .await
    }

    async fn announce_segment(&self, tenant: &str, new: &NewSegment) -> Result<Segment, CatalogueError> {
        let (tenant, new) = (tenant.to_owned(), new.clone());
        self.writer.write(move |db| Box::pin(async move { announce(db, &tenant, &new).await })).await
    }

    async fn segment(
        &self,
        tenant: &str,
        recording: RecordingId,
        id: Uuid,
    ) -> Result<Option<Segment>, CatalogueError> {
        let mut db = self.reader().await?;
        self.explain(one(&mut db, tenant, recording, id).await)
    }

    async fn segment_key(&self, tenant: &str, key: &str) -> Result<Option<RecordingId>, CatalogueError> {
        let found = async {
            let row = sqlx::query("SELECT recording_id FROM segments WHERE tenant_id = ?1 AND key = ?2")
                .bind(tenant)
                .bind(key)
                .fetch_optional(&mut *self.readers.acquire().await?)
                .await?;
            row.as_ref().map(recording_id).transpose()
        };
        self.explain(found.await)
    }

    async fn segments(&self, tenant: &str, recording: RecordingId) -> Result<Vec<Segment>, CatalogueError> {
        let found = async {
            let mut db = self.readers.acquire().await?;
            // A row as the driver holds it is ten times what it says: there are never more than a few.
            let rows = sqlx::query(
                "SELECT * FROM segments WHERE tenant_id = ?1 AND recording_id = ?2 ORDER BY number",
            )
            .bind(tenant)
            .bind(blob(recording.0))
            .fetch(&mut *db);
            rows.map(|row| to_segment(&row?)).try_collect::<Vec<_>>().await
        };
        self.explain(found.await)
    }

    async fn file_figures(
        &self,
        tenant: &str,
        recordings: &[RecordingId],
    ) -> Result<HashMap<RecordingId, FileFigures>, CatalogueError> {
        let mut db = self.reader().await?;
        self.explain(figures::of(&mut db, tenant, recordings).await)
    }

    async fn keep_segment(&self, tenant: &str, kept: &KeptSegment) -> Result<(), CatalogueError> {
        let (tenant, kept, node) = (tenant.to_owned(), kept.clone(), Catalogue::node(self));
        self.writer.write(move |db| Box::pin(async move { keep(db, &tenant, &kept, node).await })).await
    }

    async fn miss_segments(
        &self,
        tenant: &str,
        recording: RecordingId,
        missing: &[(Uuid, String)],
    ) -> Result<(), CatalogueError> {
        let (tenant, missing) = (tenant.to_owned(), missing.to_vec());
        self.writer
            .write(move |db| Box::pin(async move { miss(db, &tenant, recording, &missing).await }))
            .await
    }
}

async fn begin(
    db: &mut SqliteConnection,
    recording: &NewRecording,
    segments: &SegmentRecording,
    node: Option<NodeId>,
) -> Result<RecordingId, Failure> {
    let tenant = &recording.tenant;
    // A session whose recording was deleted, or failed with its machine, is free.
    sqlx::query(
        "UPDATE segment_recordings SET status = 'finalized' WHERE tenant_id = ?1 AND session_id = ?2
            AND status <> 'finalized'
            AND recording_id IN (SELECT id FROM recordings WHERE deleted = 1 OR state = 'failed')",
    )
    .bind(tenant)
    .bind(&segments.session_id)
    .execute(&mut *db)
    .await?;
    let row = sqlx::query(
        "SELECT recording_id FROM segment_recordings WHERE tenant_id = ?1 AND session_id = ?2 AND status <> 'finalized'",
    )
    .bind(tenant)
    .bind(&segments.session_id)
    .fetch_optional(&mut *db)
    .await?;
    if let Some(row) = row {
        return recording_id(&row);
    }
    write::begin(db, recording, node).await?;
    sqlx::query(
        "INSERT INTO segment_recordings (recording_id, tenant_id, session_id, guild_id, channel_id, details, status,
            begun_at, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )
    .bind(blob(recording.id.0))
    .bind(tenant)
    .bind(&segments.session_id)
    .bind(&segments.guild_id)
    .bind(&segments.channel_id)
    .bind(&segments.details)
    .bind(segments.status.as_str())
    .bind(segments.begun_at.0)
    .bind(segments.created_at.0)
    .execute(db)
    .await?;
    Ok(recording.id)
}

async fn advance(
    db: &mut SqliteConnection,
    tenant: &str,
    id: RecordingId,
    status: SegmentsStatus,
    at: UtcMicros,
) -> Result<(), Failure> {
    let finalized = status == SegmentsStatus::Finalized;
    sqlx::query(
        "UPDATE segment_recordings SET status = ?3, finalized_at = CASE WHEN ?4 THEN ?5 ELSE finalized_at END
         WHERE tenant_id = ?1 AND recording_id = ?2 AND status <> 'finalized'",
    )
    .bind(tenant)
    .bind(blob(id.0))
    .bind(status.as_str())
    .bind(finalized)
    .bind(at.0)
    .execute(db)
    .await?;
    Ok(())
}

async fn announce(db: &mut SqliteConnection, tenant: &str, new: &NewSegment) -> Result<Segment, Failure> {
    if let Some(id) = known(db, tenant, new).await? {
        sqlx::query("UPDATE segments SET upload = ?3, used = 0 WHERE id = ?1 AND tenant_id = ?2")
            .bind(blob(id))
            .bind(tenant)
            .bind(blob(new.upload))
            .execute(&mut *db)
            .await?;
        return found(db, tenant, new.recording, id).await;
    }
    let participant = participant(db, tenant, new).await?;
    let key = free_key(db, &new.key).await?;
    let inserted = sqlx::query(
        "INSERT INTO segments (id, tenant_id, recording_id, number, user_id, username, participant, segment_index,
            file_name, format, size, starts_at, ends_at, key, state, upload)
         SELECT ?1, ?2, ?3, (SELECT coalesce(max(number) + 1, 0) FROM segments WHERE recording_id = ?3), ?4, ?5, ?6,
            ?7, ?8, ?9, ?10, ?11, ?12, ?13, 'announced', ?14
         FROM segment_recordings WHERE recording_id = ?3 AND tenant_id = ?2",
    )
    .bind(blob(new.id))
    .bind(tenant)
    .bind(blob(new.recording.0))
    .bind(&new.user_id)
    .bind(&new.username)
    .bind(participant)
    .bind(new.segment_index)
    .bind(&new.file_name)
    .bind(new.format.name())
    .bind(new.size.map(|size| integer(size, "bytes")).transpose()?)
    .bind(new.starts_at.0)
    .bind(new.ends_at.0)
    .bind(key.as_str())
    .bind(blob(new.upload))
    .execute(&mut *db)
    .await?;
    match inserted.rows_affected() {
        0 => Err(CatalogueError::UnknownRecording { id: new.recording }.into()),
        _ => found(db, tenant, new.recording, new.id).await,
    }
}

/// The same segment, announced before. Of one whose size nobody said, the row has a size once it is kept: then its file's
/// name tells.
async fn known(db: &mut SqliteConnection, tenant: &str, new: &NewSegment) -> Result<Option<Uuid>, Failure> {
    let row = sqlx::query(
        "SELECT id FROM segments WHERE tenant_id = ?1 AND recording_id = ?2 AND user_id = ?3 AND segment_index = ?4
            AND starts_at = ?5 AND format = ?7 AND (size IS ?6 OR (?6 IS NULL AND file_name = ?8))",
    )
    .bind(tenant)
    .bind(blob(new.recording.0))
    .bind(&new.user_id)
    .bind(new.segment_index)
    .bind(new.starts_at.0)
    .bind(new.size.map(|size| integer(size, "bytes")).transpose()?)
    .bind(new.format.name())
    .bind(&new.file_name)
    .fetch_optional(db)
    .await?;
    Ok(row.as_ref().map(|row| uuid(row, "id")).transpose()?.flatten())
}

/// The name of a user's track: what an earlier segment has, else the user's name, with the id behind it where another
/// user has that name.
async fn participant(db: &mut SqliteConnection, tenant: &str, new: &NewSegment) -> Result<String, Failure> {
    let row = sqlx::query(
        "SELECT participant FROM segments WHERE tenant_id = ?1 AND recording_id = ?2 AND user_id = ?3 LIMIT 1",
    )
    .bind(tenant)
    .bind(blob(new.recording.0))
    .bind(&new.user_id)
    .fetch_optional(&mut *db)
    .await?;
    if let Some(row) = row {
        return Ok(row.try_get("participant")?);
    }
    let name = if new.username.is_empty() { &new.user_id } else { &new.username };
    let taken = sqlx::query(
        "SELECT 1 FROM segments WHERE tenant_id = ?1 AND recording_id = ?2 AND participant = ?3 LIMIT 1",
    )
    .bind(tenant)
    .bind(blob(new.recording.0))
    .bind(name)
    .fetch_optional(db)
    .await?;
    Ok(if taken.is_some() { format!("{name} ({})", new.user_id) } else { name.clone() })
}

/// The first form of a key that no segment and no object has, of any tenant: they share one store.
async fn free_key(db: &mut SqliteConnection, wanted: &ObjectKey) -> Result<ObjectKey, Failure> {
    for n in 1..=MOST_KEYS {
        let key = wanted.unique(n).map_err(|_| CatalogueError::KeyTaken { key: wanted.clone() })?;
        let taken =
            sqlx::query("SELECT 1 FROM segments WHERE key = ?1 UNION SELECT 1 FROM objects WHERE key = ?1")
                .bind(key.as_str())
                .fetch_optional(&mut *db)
                .await?;
        if taken.is_none() {
            return Ok(key);
        }
    }
    Err(CatalogueError::KeyTaken { key: wanted.clone() }.into())
}

async fn one(
    db: &mut SqliteConnection,
    tenant: &str,
    recording: RecordingId,
    id: Uuid,
) -> Result<Option<Segment>, Failure> {
    let row = sqlx::query(
        "SELECT * FROM segments WHERE tenant_id = ?1 AND recording_id = ?2 AND (id = ?3 OR upload = ?3)",
    )
    .bind(tenant)
    .bind(blob(recording.0))
    .bind(blob(id))
    .fetch_optional(db)
    .await?;
    row.as_ref().map(to_segment).transpose()
}

async fn found(
    db: &mut SqliteConnection,
    tenant: &str,
    recording: RecordingId,
    id: Uuid,
) -> Result<Segment, Failure> {
    let segment = one(db, tenant, recording, id).await?;
    segment.ok_or_else(|| CatalogueError::Unreadable { what: "segment" }.into())
}

async fn keep(
    db: &mut SqliteConnection,
    tenant: &str,
    kept: &KeptSegment,
    node: Option<NodeId>,
) -> Result<(), Failure> {
    let of = sqlx::query("SELECT recording_id FROM segments WHERE id = ?1 AND tenant_id = ?2")
        .bind(blob(kept.id))
        .bind(tenant)
        .fetch_optional(&mut *db)
        .await?;
    if let Some(of) = of {
        fence(db, tenant, recording_id(&of)?, node).await?;
    }
    let size = integer(kept.size, "bytes")?;
    let object = sqlx::query(
        "UPDATE objects SET state = 'published', size = ?3, crc32c = ?4
         WHERE key = ?1 AND tenant_id = ?2 AND track_id = ?5 AND state IN ('staged', 'published')",
    )
    .bind(kept.key.as_str())
    .bind(tenant)
    .bind(size)
    .bind(kept.crc32c.map(i64::from))
    .bind(blob(kept.id))
    .execute(&mut *db)
    .await?;
    if object.rows_affected() == 0 {
        return Err(CatalogueError::NotStaged { key: kept.key.clone() }.into());
    }
    sqlx::query(
        "UPDATE segments SET key = ?3, size = ?4, crc32c = coalesce(?5, crc32c), used = 1,
            state = CASE WHEN ?6 OR state = 'logged' THEN 'logged' ELSE 'stored' END
         WHERE id = ?1 AND tenant_id = ?2",
    )
    .bind(blob(kept.id))
    .bind(tenant)
    .bind(kept.key.as_str())
    .bind(size)
    .bind(kept.crc32c.map(i64::from))
    .bind(kept.logged)
    .execute(db)
    .await?;
    Ok(())
}

async fn miss(
    db: &mut SqliteConnection,
    tenant: &str,
    recording: RecordingId,
    missing: &[(Uuid, String)],
) -> Result<(), Failure> {
    for (id, reason) in missing {
        sqlx::query(
            "UPDATE segments SET state = 'missing', reason = ?4
             WHERE id = ?1 AND tenant_id = ?2 AND recording_id = ?3 AND state = 'announced'",
        )
        .bind(blob(*id))
        .bind(tenant)
        .bind(blob(recording.0))
        .bind(reason)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

fn recording_id(row: &SqliteRow) -> Result<RecordingId, Failure> {
    let id = uuid(row, "recording_id")?.ok_or(CatalogueError::Unreadable { what: "recording_id" })?;
    Ok(RecordingId(id))
}

fn to_recording(row: &SqliteRow) -> Result<SegmentRecording, Failure> {
    Ok(SegmentRecording {
        recording: recording_id(row)?,
        session_id: row.try_get("session_id")?,
        guild_id: row.try_get("guild_id")?,
        channel_id: row.try_get("channel_id")?,
        details: row.try_get("details")?,
        status: parsed(row, "status")?,
        begun_at: UtcMicros(row.try_get("begun_at")?),
        created_at: UtcMicros(row.try_get("created_at")?),
        finalized_at: row.try_get::<Option<i64>, _>("finalized_at")?.map(UtcMicros),
    })
}

pub(super) fn to_segment(row: &SqliteRow) -> Result<Segment, Failure> {
    let id = |column| -> Result<Uuid, Failure> {
        Ok(uuid(row, column)?.ok_or(CatalogueError::Unreadable { what: column })?)
    };
    Ok(Segment {
        id: id("id")?,
        recording: recording_id(row)?,
        number: row.try_get("number")?,
        user_id: row.try_get("user_id")?,
        username: row.try_get("username")?,
        participant: row.try_get("participant")?,
        segment_index: row.try_get("segment_index")?,
        file_name: row.try_get("file_name")?,
        format: parsed::<Container>(row, "format")?,
        size: unsigned(row, "size")?,
        starts_at: UtcMicros(row.try_get("starts_at")?),
        ends_at: UtcMicros(row.try_get("ends_at")?),
        key: key(row)?,
        state: parsed(row, "state")?,
        crc32c: row.try_get("crc32c")?,
        upload: id("upload")?,
        used: row.try_get("used")?,
        reason: row.try_get("reason")?,
    })
}
