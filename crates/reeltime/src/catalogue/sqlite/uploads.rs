//! Uploads in parts: what is known of them until their objects are published.

use reeltime_core::id::NodeId;
use reeltime_core::keys::ObjectKey;
use reeltime_core::time::UtcMicros;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection};

use super::failure::Failure;
use super::read::{blob, key as key_of, recording_id};
use crate::catalogue::{CatalogueError, Upload, UploadedPart};
use crate::store::{PartTag, UploadId};

pub(super) async fn begin(db: &mut SqliteConnection, new: &Upload) -> Result<(), Failure> {
    let begun = sqlx::query(
        "INSERT INTO uploads (key, tenant_id, recording_id, upload_id, begun_at)
         SELECT key, tenant_id, recording_id, ?4, ?5 FROM objects
         WHERE key = ?1 AND tenant_id = ?2 AND recording_id = ?3 AND state = 'staged'
         ON CONFLICT (key) DO NOTHING",
    )
    .bind(new.key.as_str())
    .bind(&new.tenant)
    .bind(blob(new.recording.0))
    .bind(&new.id.0)
    .bind(new.begun_at.0)
    .execute(&mut *db)
    .await?;
    if begun.rows_affected() == 1 {
        return Ok(());
    }
    Err(match find(db, &new.tenant, &new.key).await? {
        Some(_) => CatalogueError::KeyTaken { key: new.key.clone() },
        None => CatalogueError::NotStaged { key: new.key.clone() },
    }
    .into())
}

pub(super) async fn note_part(
    db: &mut SqliteConnection,
    upload: &Upload,
    number: u32,
    part: &UploadedPart,
) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO upload_parts (key, number, tenant_id, tag, crc32c, size)
         SELECT key, ?4, tenant_id, ?5, ?6, ?7 FROM uploads WHERE key = ?1 AND tenant_id = ?2 AND upload_id = ?3
         ON CONFLICT (key, number) DO UPDATE SET tag = ?5, crc32c = ?6, size = ?7",
    )
    .bind(upload.key.as_str())
    .bind(&upload.tenant)
    .bind(&upload.id.0)
    .bind(number)
    .bind(&part.tag.0)
    .bind(part.crc32c)
    .bind(part.size)
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn find(
    db: &mut SqliteConnection,
    tenant: &str,
    key: &ObjectKey,
) -> Result<Option<Upload>, Failure> {
    let found = sqlx::query("SELECT * FROM uploads WHERE key = ?1 AND tenant_id = ?2");
    let row = found.bind(key.as_str()).bind(tenant).fetch_optional(db).await?;
    row.as_ref().map(to_upload).transpose()
}

/// An upload with its parts, both of one moment.
pub(super) async fn with_parts(
    db: &mut SqliteConnection,
    tenant: &str,
    key: &ObjectKey,
) -> Result<Option<(Upload, Vec<(u32, UploadedPart)>)>, Failure> {
    let mut db = db.begin().await?;
    let Some(upload) = find(&mut db, tenant, key).await? else { return Ok(None) };
    let parts = sqlx::query(
        "SELECT number, tag, crc32c, size FROM upload_parts WHERE key = ?1 AND tenant_id = ?2 ORDER BY number",
    );
    let rows = parts.bind(key.as_str()).bind(tenant).fetch_all(&mut *db).await?;
    let parts = rows.iter().map(to_part).collect::<Result<_, _>>()?;
    Ok(Some((upload, parts)))
}

/// All but those of recordings that another than `node` works on.
pub(super) async fn all(
    db: &mut SqliteConnection,
    tenant: &str,
    node: Option<NodeId>,
) -> Result<Vec<Upload>, Failure> {
    let all = sqlx::query(
        "SELECT * FROM uploads WHERE tenant_id = ?1
           AND NOT EXISTS (SELECT 1 FROM recordings WHERE id = recording_id AND node_id <> ?2)
         ORDER BY begun_at, key",
    );
    let all = all.bind(tenant).bind(node.map(|node| blob(node.0)));
    all.fetch_all(db).await?.iter().map(to_upload).collect()
}

pub(super) async fn end(db: &mut SqliteConnection, tenant: &str, key: &ObjectKey) -> Result<(), Failure> {
    let end = sqlx::query("DELETE FROM uploads WHERE key = ?1 AND tenant_id = ?2");
    end.bind(key.as_str()).bind(tenant).execute(db).await?;
    Ok(())
}

fn to_upload(row: &SqliteRow) -> Result<Upload, Failure> {
    Ok(Upload {
        tenant: row.try_get("tenant_id")?,
        recording: recording_id(row)?,
        key: key_of(row)?,
        id: UploadId(row.try_get("upload_id")?),
        begun_at: UtcMicros(row.try_get("begun_at")?),
    })
}

fn to_part(row: &SqliteRow) -> Result<(u32, UploadedPart), Failure> {
    let tag = PartTag(row.try_get("tag")?);
    let part = UploadedPart { tag, crc32c: row.try_get("crc32c")?, size: row.try_get("size")? };
    Ok((row.try_get("number")?, part))
}
