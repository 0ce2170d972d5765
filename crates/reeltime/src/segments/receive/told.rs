//! What a manifest tells of the segments that a recording came in, so that a catalogue can be rebuilt from the store.

use reeltime_core::manifest;

use crate::catalogue::{Segment, SegmentState};
use crate::error::Error;
use crate::recorder::{LiveRecording, Recorder};

impl Recorder {
    /// Nothing where it did not come in segments.
    pub(crate) async fn told_segments(
        &self,
        recording: &LiveRecording,
    ) -> Result<Option<manifest::Segments>, Error> {
        let (catalogue, tenant, id) = (&self.inner().catalogue, &recording.tenant, recording.id);
        let Some(row) = catalogue.segment_recording(tenant, id).await? else { return Ok(None) };
        Ok(Some(manifest::Segments {
            session_id: row.session_id,
            guild_id: row.guild_id,
            channel_id: row.channel_id,
            details: row.details,
            begun_at: row.begun_at.to_string(),
            segments: catalogue.segments(tenant, id).await?.into_iter().map(told).collect(),
        }))
    }
}

fn told(segment: Segment) -> manifest::Segment {
    let missing = segment.reason.unwrap_or_else(|| SegmentState::Missing.to_string());
    manifest::Segment {
        id: segment.id,
        user_id: segment.user_id,
        username: segment.username,
        segment_index: segment.segment_index,
        file_name: segment.file_name,
        format: segment.format.name().to_owned(),
        size: segment.size,
        starts_at: segment.starts_at.to_string(),
        ends_at: segment.ends_at.to_string(),
        key: segment.key.as_str().to_owned(),
        missing: (!segment.state.is_kept()).then_some(missing),
    }
}
