//! What clients of the segments API send, and what they are told. Times are Unix milliseconds, or RFC 3339.

use jiff::Timestamp;
use reeltime::catalogue::{FileFigures, RecordingState, Segment, SegmentsStatus};
use reeltime::recorder::RecordingView;
use reeltime::segments::receive::{Announcement, Named, StoredFile};
use reeltime_core::media::Container;
use reeltime_core::time::UtcMicros;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::failure::Failure;
use super::fields::from_value;

/// The largest file that is taken, in bytes: 50 MB.
pub(crate) const MOST_BYTES: u64 = 50 << 20;

/// A moment: Unix milliseconds, or RFC 3339.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) struct Time(UtcMicros);

impl TryFrom<Value> for Time {
    type Error = &'static str;

    /// Out of range values are clamped.
    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let time = match &value {
            Value::Number(millis) => millis.as_f64().map(|millis| (millis * 1_000.0).round() as i64),
            Value::String(text) => text.parse().ok().map(Timestamp::as_microsecond),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        time.map(|micros| Self(UtcMicros(micros))).ok_or("a time is Unix milliseconds, or RFC 3339")
    }
}

impl From<Time> for UtcMicros {
    fn from(time: Time) -> Self {
        time.0
    }
}

/// A recording to begin; whatever else is said of it is kept with it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Begin {
    pub(crate) session_id: String,
    #[serde(default)]
    pub(crate) guild_id: String,
    #[serde(default)]
    pub(crate) channel_id: String,
    /// When the recording began, in Unix milliseconds or RFC 3339: zero of its clock; by default now
    #[schema(value_type = Option<f64>)]
    pub(crate) recorded_at: Option<Time>,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub(crate) more: Map<String, Value>,
}

/// A segment, or a whole track.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct File {
    #[serde(default)]
    pub(crate) user_id: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    segment_index: u32,
    #[serde(default)]
    pub(crate) file_name: String,
    file_path: Option<String>,
    blob_url: Option<String>,
    /// Bytes
    pub(crate) file_size: Option<u64>,
    /// By default the recording's begin
    #[schema(value_type = Option<f64>)]
    absolute_start_time: Option<Time>,
    /// By default `duration` later than its start
    #[schema(value_type = Option<f64>)]
    absolute_end_time: Option<Time>,
    /// Milliseconds
    duration: Option<f64>,
    /// `wav`, `flac`, `ogg` or `opus`; by default what the file's name says, else wav
    format: Option<String>,
    /// Of a batch: which of the files that were announced
    pub(crate) file_index: Option<u32>,
}

impl File {
    /// What it is, in a recording that began at `begun`. Who has no id is known by the name.
    pub(crate) fn announcement(&self, begun: UtcMicros) -> Result<Announcement, Failure> {
        let starts_at = self.absolute_start_time.map_or(begun, UtcMicros::from);
        let length = (self.duration.unwrap_or(0.0).max(0.0) * 1_000.0) as i64;
        let ends_at =
            self.absolute_end_time.map_or(UtcMicros(starts_at.0.saturating_add(length)), UtcMicros::from);
        let user_id = if self.user_id.is_empty() { &self.username } else { &self.user_id };
        if self.file_size.is_some_and(|size| size > MOST_BYTES) {
            let limit = MOST_BYTES;
            return Err(reeltime::segments::receive::ReceiveError::TooLarge { limit }.into());
        }
        Ok(Announcement {
            user_id: user_id.clone(),
            username: self.username.clone(),
            segment_index: self.segment_index,
            file_name: self.file_name.clone(),
            format: self.container()?,
            size: self.file_size,
            starts_at,
            ends_at,
        })
    }

    pub(crate) fn named(&self, begun: UtcMicros) -> Result<Named, Failure> {
        let places = [&self.blob_url, &self.file_path].into_iter().flatten().cloned().collect();
        Ok(Named { segment: self.announcement(begun)?, places })
    }

    /// Where its client says that it lies.
    pub(crate) fn place(&self) -> Option<&str> {
        self.blob_url.as_deref().or(self.file_path.as_deref())
    }

    fn container(&self) -> Result<Container, Failure> {
        let ending = self.file_name.rsplit_once('.').map(|(_, ending)| ending);
        let ending = ending.filter(|ending| container(ending).is_some());
        let name = self.format.as_deref().or(ending).unwrap_or("wav");
        container(name).ok_or_else(|| Failure::invalid("format is wav, flac, ogg or opus"))
    }
}

fn container(name: &str) -> Option<Container> {
    let taken = |format: &Container| matches!(format, Container::Wav | Container::Flac | Container::Ogg);
    name.parse().ok().filter(taken)
}

/// The end of a recording. Durations and counts are the client's own; what is answered is what there is.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct Finalize {
    #[serde(default)]
    pub(crate) segments: Vec<File>,
}

/// A batch to begin.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct BeginBatch {
    #[serde(flatten)]
    pub(crate) begin: Begin,
    #[serde(default)]
    pub(crate) files: Vec<File>,
}

/// The end of a batch.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct Complete {
    #[serde(default)]
    pub(crate) files: Vec<File>,
}

impl BeginBatch {
    /// Each half by itself: of what is flattened, nobody knows any more which field did not fit.
    pub(crate) fn read(mut said: Value) -> Result<Self, Failure> {
        let files = said.as_object_mut().and_then(|fields| fields.remove("files"));
        let files = files.map(|files| from_value(serde_json::json!({ "files": files }))).transpose()?;
        let files = files.map_or(Vec::new(), |Complete { files }| files);
        Ok(Self { begin: from_value(said)?, files })
    }
}

/// A recording that has begun.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Begun {
    pub(crate) success: bool,
    pub(crate) recording_id: String,
    #[schema(example = "live")]
    pub(crate) status: &'static str,
}

/// Where a segment is to be sent, once, by PUT.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Address {
    pub(crate) success: bool,
    pub(crate) upload_url: String,
    /// Where it will lie in the store
    #[schema(example = "recordings/session-1/alice/segment_000.wav")]
    pub(crate) blob_path: String,
    /// Seconds that the address is good for
    pub(crate) expires_in: i64,
}

/// Where a file of a batch is to be sent.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchAddress {
    pub(crate) file_index: u32,
    pub(crate) upload_url: String,
    pub(crate) blob_path: String,
}

/// A batch that has begun.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchBegun {
    pub(crate) success: bool,
    pub(crate) recording_id: String,
    pub(crate) upload_urls: Vec<BatchAddress>,
}

/// A segment that is kept.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Uploaded {
    pub(crate) success: bool,
    pub(crate) url: String,
    pub(crate) blob_url: String,
    /// Where it lies in the store
    pub(crate) blob_path: String,
    /// Bytes
    pub(crate) size: u64,
}

/// A recording as one that came in as segments.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SegmentsRecording)]
pub(crate) struct Summary {
    pub(crate) id: String,
    pub(crate) session_id: String,
    /// `live`, `completed` or `failed`
    #[schema(example = "completed")]
    pub(crate) status: &'static str,
    /// RFC 3339
    pub(crate) recorded_at: String,
    /// Milliseconds
    pub(crate) duration: u64,
    pub(crate) participant_count: usize,
    /// Segments that are there; of other recordings, their tracks
    pub(crate) segment_count: usize,
    /// Bytes
    pub(crate) total_size: u64,
    pub(crate) download_urls: Downloads,
    pub(crate) view_url: String,
    /// Seconds until every format of it can be sought in at once, about
    pub(crate) estimated_processing_time: u64,
    /// Segments that were named or announced and never came
    pub(crate) missing_segments: Vec<Missing>,
}

/// Where its files can be fetched.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct Downloads {
    pub(crate) audio: Vec<String>,
}

/// A segment that never came.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Missing {
    user_id: String,
    username: String,
    segment_index: u32,
    /// Unix milliseconds
    absolute_start_time: i64,
    absolute_end_time: i64,
    #[schema(example = "it never came")]
    reason: String,
}

/// A recording in an answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct Answer {
    pub(crate) success: bool,
    pub(crate) recording: Summary,
}

impl Summary {
    /// Of a recording, however it came in. `base`: what links begin with.
    pub(crate) fn of(view: &RecordingView, figures: &FileFigures, files: &[StoredFile], base: &str) -> Self {
        // What never came is marked in the tracks when they are published, and is told of from the end on.
        let missing_until = figures.missing_until.0 as f64 / 1e6;
        let duration = (view.duration_seconds.max(missing_until) * 1_000.0).round() as u64;
        let speakers = view.participants.as_ref().map_or(0, Vec::len);
        let audio =
            files.iter().map(|file| format!("{base}/api/recordings/{}/download/{}", view.id, file.number));
        Self {
            id: view.id.to_string(),
            session_id: view.call_id.clone(),
            status: figures.status.map_or_else(|| status(view.state), status_of_segments),
            recorded_at: view.started_at.clone().unwrap_or_else(|| view.created_at.clone()),
            duration,
            participant_count: if figures.status.is_some() { figures.users } else { speakers },
            segment_count: figures.files,
            total_size: figures.bytes,
            download_urls: Downloads { audio: audio.collect() },
            view_url: format!("{base}/r/{}", view.id),
            estimated_processing_time: figures.status.map_or(0, |_| duration.div_ceil(500_000)),
            missing_segments: figures.missing.iter().map(Missing::of).collect(),
        }
    }
}

/// A recording of segments is over for its client once that has finalized it.
const fn status_of_segments(status: SegmentsStatus) -> &'static str {
    match status {
        SegmentsStatus::Live => "live",
        SegmentsStatus::Finalizing | SegmentsStatus::Finalized => "completed",
    }
}

const fn status(state: RecordingState) -> &'static str {
    match state {
        RecordingState::Starting | RecordingState::Active | RecordingState::Ending => "live",
        RecordingState::Complete | RecordingState::LimitReached => "completed",
        RecordingState::Failed | RecordingState::Aborted => "failed",
    }
}

impl Missing {
    fn of(segment: &Segment) -> Self {
        Self {
            user_id: segment.user_id.clone(),
            username: segment.username.clone(),
            segment_index: segment.segment_index,
            absolute_start_time: segment.starts_at.0 / 1_000,
            absolute_end_time: segment.ends_at.0 / 1_000,
            reason: segment.reason.clone().unwrap_or_else(|| "it never came".to_owned()),
        }
    }
}
