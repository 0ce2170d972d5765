//! The versioned description of a recording: what a recording's catalogue row can be rebuilt from, and what people
//! read. Unknown fields are ignored and absent ones take their default, so that manifests of other versions read.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::{RecordingId, SessionId, TrackId};
use crate::media::Format;
use crate::time::UtcMicros;
use crate::timeline::Layout;

/// The version this code writes.
pub const VERSION: u32 = 1;

/// Where a recording is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Announced; no media yet.
    Starting,
    /// Media is being recorded.
    Active,
    /// No more media comes; its files are being made.
    Ending,
    /// Its files are published.
    Complete,
    /// It could not be finished.
    Failed,
    /// It was given up by who started it.
    Aborted,
    /// A limit ended it; its files are published.
    LimitReached,
}

impl State {
    /// Every state, in the order of a recording's life.
    pub const ALL: [Self; 7] = [
        Self::Starting,
        Self::Active,
        Self::Ending,
        Self::Complete,
        Self::Failed,
        Self::Aborted,
        Self::LimitReached,
    ];

    /// The name used in the API, the catalogue and manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Active => "active",
            Self::Ending => "ending",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
            Self::LimitReached => "limit_reached",
        }
    }

    /// Whether nothing changes any more.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Starting | Self::Active | Self::Ending => false,
            Self::Complete | Self::Failed | Self::Aborted | Self::LimitReached => true,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for State {
    type Err = UnknownState;
    fn from_str(s: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.name() == s).ok_or(UnknownState)
    }
}

/// The text names no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown state: use starting, active, ending, complete, failed, aborted or limit_reached")]
pub struct UnknownState;

/// A recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this description: [`VERSION`].
    pub version: u32,
    /// The recording.
    pub id: RecordingId,
    /// Whose it is.
    pub tenant: String,
    /// The call, where its source named one.
    #[serde(default)]
    pub call_id: Option<String>,
    /// Where it is in its life.
    pub state: State,
    /// UTC at its first packet, RFC 3339: a label.
    pub started_at: String,
    /// UTC at its end, RFC 3339; absent while it is live.
    #[serde(default)]
    pub ended_at: Option<String>,
    /// From its start to the end of its longest track, in seconds.
    pub duration_seconds: f64,
    /// Its tracks, in the order they began.
    #[serde(default)]
    pub tracks: Vec<Track>,
    /// Files made of its tracks and kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub renditions: Vec<Rendition>,
    /// How it came, where that was in segments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segments: Option<Segments>,
}

impl Manifest {
    /// Describes a recording. `epoch` is UTC at zero of its clock, `ended` UTC at its end.
    pub fn new(
        id: RecordingId,
        tenant: impl Into<String>,
        call_id: Option<String>,
        state: State,
        epoch: UtcMicros,
        ended: Option<UtcMicros>,
        mut tracks: Vec<Track>,
    ) -> Self {
        tracks.sort_by_key(|track| (track.layout.start, track.id));
        Self {
            version: VERSION,
            id,
            tenant: tenant.into(),
            call_id,
            state,
            started_at: epoch.to_string(),
            ended_at: ended.map(|ended| ended.to_string()),
            duration_seconds: tracks.iter().map(Track::end_seconds).fold(0.0, f64::max),
            tracks,
            renditions: Vec::new(),
            segments: None,
        }
    }
}

/// A recording that came in segments: what its client said of it, and they.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segments {
    /// Its session, as its client names it.
    pub session_id: String,
    /// Where it took place, as its client names it.
    pub guild_id: String,
    /// Where in there.
    pub channel_id: String,
    /// Whatever else was said, as JSON.
    pub details: String,
    /// Zero of its clock, RFC 3339.
    pub begun_at: String,
    /// All that were announced.
    #[serde(default)]
    pub segments: Vec<Segment>,
}

/// A segment of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its id.
    pub id: Uuid,
    /// Whose it is, by an id.
    pub user_id: String,
    /// Whose it is, by name.
    pub username: String,
    /// Its number, as its client counts.
    pub segment_index: u32,
    /// Its file, as its client names it.
    pub file_name: String,
    /// The name of its format: `wav`, `flac` or `ogg`.
    pub format: String,
    /// Its size in bytes, where that is known.
    #[serde(default)]
    pub size: Option<u64>,
    /// UTC at its first sample, RFC 3339.
    pub starts_at: String,
    /// UTC at its end, RFC 3339.
    pub ends_at: String,
    /// Where its object lies.
    pub key: String,
    /// Why it is not there, where it never came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// A file made of a recording's tracks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendition {
    /// The name of its format: `wav`, `mp3`, …
    pub format: String,
    /// Who is heard where: `mono`, `stereo` or `tracks`.
    pub layout: String,
    /// 2 where one that was made while the recording went on was not what it should be, and this was made in its place.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub version: u32,
    /// The file.
    #[serde(flatten)]
    pub object: Object,
}

const fn first() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_first(version: &u32) -> bool {
    *version == 1
}

/// One participant's one media stream in a recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// The track.
    pub id: TrackId,
    /// The party whose media this is.
    pub participant: String,
    /// The ingest session that brought it.
    pub session_id: SessionId,
    /// Codec, rate and channels as received.
    #[serde(flatten)]
    pub format: Format,
    /// Where its media is: positions and lengths in samples per channel at `rate`, `start` in microseconds on the
    /// recording's clock.
    #[serde(flatten)]
    pub layout: Layout,
    /// By how many parts in a million its clock was slower than the recording's, where that was worth correcting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_ppm: Option<f64>,
    /// Its file as received, once that is published.
    #[serde(default)]
    pub object: Option<Object>,
}

impl Track {
    /// Where it ends on the recording's clock, in seconds.
    pub fn end_seconds(&self) -> f64 {
        self.layout.start.0 as f64 / 1e6 + self.layout.samples as f64 / f64::from(self.format.rate.max(1))
    }
}

/// A file in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its media type.
    pub mime: String,
}
