//! Recordings that came in segments: their rows, and an object for each segment, so that deleting one deletes them.

use reeltime_core::id::TrackId;
use reeltime_core::keys::ObjectKey;
use reeltime_core::manifest::{Segment, Segments};
use reeltime_core::media::Container;
use reeltime_core::time::UtcMicros;
use uuid::Uuid;

use super::{Failed, time};
use crate::catalogue::{
    Catalogue, CatalogueError, KeptSegment, NewObject, NewRecording, NewSegment, ObjectKind,
    SegmentRecording, SegmentsStatus,
};

/// Enters the recording.
pub(super) async fn begin(
    catalogue: &dyn Catalogue,
    new: &NewRecording,
    told: &Segments,
    begun_at: UtcMicros,
) -> Result<(), CatalogueError> {
    let row = SegmentRecording {
        recording: new.id,
        session_id: told.session_id.clone(),
        guild_id: told.guild_id.clone(),
        channel_id: told.channel_id.clone(),
        details: told.details.clone(),
        status: SegmentsStatus::Live,
        begun_at,
        created_at: new.created_at,
        finalized_at: None,
    };
    let id = catalogue.begin_segments(new, &row).await?;
    // Another one of its session is being recorded.
    if id == new.id { Ok(()) } else { Err(CatalogueError::Conflict { id }) }
}

/// Enters its segments, but for those that are there already; no more come.
pub(super) async fn enter(
    catalogue: &dyn Catalogue,
    new: &NewRecording,
    told: &Segments,
    ended_at: UtcMicros,
) -> Result<(), Failed> {
    let mut missing = Vec::new();
    for segment in &told.segments {
        let row = catalogue.announce_segment(&new.tenant, &announced(new, segment)?).await?;
        match &segment.missing {
            Some(why) => missing.push((row.id, why.clone())),
            None if row.state.is_kept() => {}
            None => keep(catalogue, new, segment, row.id).await?,
        }
    }
    catalogue.miss_segments(&new.tenant, new.id, &missing).await?;
    Ok(catalogue.advance_segments(&new.tenant, new.id, SegmentsStatus::Finalized, ended_at).await?)
}

fn announced(new: &NewRecording, segment: &Segment) -> Result<NewSegment, Failed> {
    Ok(NewSegment {
        id: segment.id,
        recording: new.id,
        user_id: segment.user_id.clone(),
        username: segment.username.clone(),
        segment_index: segment.segment_index,
        file_name: segment.file_name.clone(),
        format: format(segment)?,
        size: segment.size,
        starts_at: time(&segment.starts_at)?,
        ends_at: time(&segment.ends_at)?,
        key: ObjectKey::new(segment.key.clone())?,
        upload: Uuid::new_v4(),
    })
}

fn format(segment: &Segment) -> Result<Container, Failed> {
    segment.format.parse().map_err(|_| Failed::Unusable(format!("{:?} in it is no format", segment.format)))
}

async fn keep(
    catalogue: &dyn Catalogue,
    new: &NewRecording,
    segment: &Segment,
    id: Uuid,
) -> Result<(), Failed> {
    let key = ObjectKey::new(segment.key.clone())?;
    let object = NewObject {
        tenant: new.tenant.clone(),
        recording: new.id,
        track: Some(TrackId(id)),
        kind: ObjectKind::Master,
        key: key.clone(),
        mime_type: format(segment)?.mime().to_owned(),
        created_at: new.created_at,
    };
    catalogue.stage(&object).await?;
    let size = segment.size.unwrap_or_default();
    let kept = KeptSegment { id, key, size, crc32c: None, logged: true };
    Ok(catalogue.keep_segment(&new.tenant, &kept).await?)
}
