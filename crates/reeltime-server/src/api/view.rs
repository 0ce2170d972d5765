//! Recordings as JSON: the shape that clients hold on to, apart from how the library keeps them.

use reeltime::catalogue::RecordingState;
use reeltime::recorder::{BytesView, RecordingView, TrackView};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A recording. Times are RFC 3339 in UTC.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Recording {
    #[schema(example = "01890a5d-ac96-774b-bcce-b302099a8057")]
    id: String,
    /// The call it belongs to: the source's name for it, or the recording's own id
    call_id: String,
    /// When it was entered
    #[schema(example = "2025-01-02T03:04:05.000006Z")]
    created_at: String,
    /// Of one that is being recorded: so far
    duration_seconds: f64,
    /// `starting`, `active`, `ending`, `complete`, `failed`, `aborted` or `limit_reached`
    #[schema(example = "complete")]
    state: &'static str,
    /// The state in a word of calls: `in_progress`, `completed` or `failed`
    #[schema(example = "completed")]
    status: &'static str,
    /// Why it is in that state, where there is something to say
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// When its first packet arrived
    started_at: Option<String>,
    ended_at: Option<String>,
    /// Size of its main file, once it is published
    size_bytes: Option<u64>,
    /// Media type of its main file
    #[schema(example = "audio/wav")]
    mime_type: Option<String>,
    /// The call's recording before this one
    previous_id: Option<String>,
    /// Names of its participants, as far as they are known
    #[serde(skip_serializing_if = "Option::is_none")]
    participants: Option<Vec<String>>,
    /// Absent in lists
    #[serde(skip_serializing_if = "Option::is_none")]
    tracks: Option<Vec<Track>>,
    /// What is missing on any track; absent in lists
    #[serde(skip_serializing_if = "Option::is_none")]
    gaps: Option<Vec<Stretch>>,
    /// What was deliberately not recorded of any track; absent in lists
    #[serde(skip_serializing_if = "Option::is_none")]
    pauses: Option<Vec<Stretch>>,
    /// Named moments of any track; absent in lists
    #[serde(skip_serializing_if = "Option::is_none")]
    marks: Option<Vec<Moment>>,
    /// Where its bytes are; in lists, only of those that are not published yet
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<Bytes>,
}

/// Where the bytes of a recording are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Bytes {
    /// Of its logs, on the local disk
    spool: u64,
    /// Of these, shipped: in the store as well, for the case that this machine is lost
    shipped: u64,
    /// Of its files, in the store
    published: u64,
}

impl From<BytesView> for Bytes {
    fn from(view: BytesView) -> Self {
        Self { spool: view.spool, shipped: view.shipped, published: view.published }
    }
}

/// A stretch of a track on the recording's clock.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Stretch {
    track_id: String,
    start_seconds: f64,
    duration_seconds: f64,
    /// Why
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A named moment of a track on the recording's clock.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Moment {
    track_id: String,
    at_seconds: f64,
    name: String,
}

/// The state as those say it who know calls rather than recordings.
const fn status(state: RecordingState) -> &'static str {
    match state {
        RecordingState::Starting | RecordingState::Active | RecordingState::Ending => "in_progress",
        RecordingState::Complete | RecordingState::LimitReached => "completed",
        RecordingState::Failed | RecordingState::Aborted => "failed",
    }
}

fn gaps(track: &TrackView) -> impl Iterator<Item = Stretch> {
    track.gaps.iter().map(|gap| {
        let reason = serde_json::to_value(gap.reason).ok().and_then(|name| name.as_str().map(str::to_owned));
        stretch(track, gap.at, gap.samples, reason)
    })
}

fn pauses(track: &TrackView) -> impl Iterator<Item = Stretch> {
    track.pauses.iter().map(|pause| stretch(track, pause.at, pause.samples, pause.reason.clone()))
}

fn marks(track: &TrackView) -> impl Iterator<Item = Moment> {
    track.marks.iter().map(|mark| Moment {
        track_id: track.id.to_string(),
        at_seconds: seconds(track, mark.at),
        name: mark.name.clone(),
    })
}

fn stretch(track: &TrackView, at: u64, samples: u64, reason: Option<String>) -> Stretch {
    let duration_seconds = samples as f64 / f64::from(track.rate.max(1));
    Stretch { track_id: track.id.to_string(), start_seconds: seconds(track, at), duration_seconds, reason }
}

/// A position of a track on the recording's clock.
fn seconds(track: &TrackView, at: u64) -> f64 {
    track.start_seconds + at as f64 / f64::from(track.rate.max(1))
}

/// A participant's media stream. Positions and lengths are in samples per channel at `rate`, from the track's start.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Track {
    id: String,
    participant: String,
    /// The session that brought it
    session_id: String,
    /// `s16le`, `mulaw`, `alaw` or `opus`
    #[schema(example = "s16le")]
    codec: String,
    /// Samples per second and channel
    #[schema(example = 16000)]
    rate: u32,
    channels: u8,
    /// Where it begins on the recording's clock
    start_seconds: f64,
    /// Its length
    samples: u64,
    /// What is missing, with position, length and reason
    #[schema(value_type = Vec<Object>)]
    gaps: Value,
    /// What was deliberately not recorded
    #[schema(value_type = Vec<Object>)]
    pauses: Value,
    /// Named moments
    #[schema(value_type = Vec<Object>)]
    marks: Value,
}

impl From<RecordingView> for Recording {
    fn from(view: RecordingView) -> Self {
        Self {
            id: view.id.to_string(),
            call_id: view.call_id,
            created_at: view.created_at,
            duration_seconds: view.duration_seconds,
            state: view.state.name(),
            status: status(view.state),
            reason: view.reason,
            started_at: view.started_at,
            ended_at: view.ended_at,
            size_bytes: view.size_bytes,
            mime_type: view.mime_type,
            previous_id: view.previous_id.map(|id| id.to_string()),
            participants: view.participants,
            bytes: view.bytes.map(Bytes::from),
            gaps: view.tracks.as_ref().map(|tracks| tracks.iter().flat_map(gaps).collect()),
            pauses: view.tracks.as_ref().map(|tracks| tracks.iter().flat_map(pauses).collect()),
            marks: view.tracks.as_ref().map(|tracks| tracks.iter().flat_map(marks).collect()),
            tracks: view.tracks.map(|tracks| tracks.into_iter().map(Track::from).collect()),
        }
    }
}

impl From<TrackView> for Track {
    fn from(view: TrackView) -> Self {
        Self {
            id: view.id.to_string(),
            participant: view.participant,
            session_id: view.session_id.to_string(),
            codec: view.codec,
            rate: view.rate,
            channels: view.channels,
            start_seconds: view.start_seconds,
            samples: view.samples,
            gaps: list(&view.gaps),
            pauses: list(&view.pauses),
            marks: list(&view.marks),
        }
    }
}

fn list<T: Serialize>(items: &[T]) -> Value {
    items.iter().filter_map(|item| serde_json::to_value(item).ok()).collect()
}
