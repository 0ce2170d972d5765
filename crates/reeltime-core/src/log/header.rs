//! What a log says of itself (header), of what happened (events) and of its end (footer).

use serde::{Deserialize, Serialize};

use crate::id::{RecordingId, SessionId, TrackId};
use crate::media::{Container, Format};
use crate::time::{Micros, UtcMicros};

/// The JSON of a log's header: enough to finish the recording from this file alone. Unknown fields are ignored,
/// absent ones take their default, so that old logs stay readable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogHeader {
    /// Whose recording this is.
    pub tenant: String,
    /// The recording this track belongs to.
    pub recording: RecordingId,
    /// The call, where the source named one.
    #[serde(default)]
    pub call: Option<String>,
    /// The ingest session that writes this track.
    pub session: SessionId,
    /// The track.
    pub track: TrackId,
    /// The party whose media this is.
    pub participant: String,
    /// Codec, rate and channels of the payload.
    pub format: Format,
    /// UTC at zero of the recording's clock: a label.
    pub epoch: UtcMicros,
    /// When this file was opened, on the recording's clock.
    pub opened: Micros,
    /// Number of this file in its track, from 0.
    #[serde(default)]
    pub number: u32,
    /// Where the file before this one ends; absent in file 0.
    #[serde(default)]
    pub continues: Option<Continues>,
    /// SHA-256 (hex) of the token that resumes the session; absent where it cannot be resumed.
    #[serde(default)]
    pub resume_token_sha256: Option<String>,
    /// How packets are placed.
    #[serde(default)]
    pub counting: Counting,
    /// What the recording is for: which façade it came by, and what that asks of its files.
    #[serde(default)]
    pub purpose: Purpose,
}

/// Where the file before this one stops to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continues {
    /// Number of that file. Numbers between are of files that never held anything valid.
    pub number: u32,
    /// Bytes of it that are valid; what lies behind them stands in this file, or is a gap.
    pub valid_until: u64,
    /// Samples per channel before this file's first packet.
    pub samples: u64,
    /// The first of them that was given up, where one was: nothing from there on is acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<u64>,
}

/// How a track's packets are placed on the recording's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counting {
    /// No timestamps: by sample count from the first arrival, with stalls found by arrival times.
    #[default]
    Arrival,
    /// No timestamps, sent faster or slower than real time: by sample count alone.
    Samples,
    /// By the sender's own timestamps and sequence numbers.
    Timestamps,
}

/// Which façade a recording came by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "facade", rename_all = "snake_case")]
pub enum Purpose {
    /// Our own protocol, or the library: bit for bit, gaps as silence.
    #[default]
    Plain,
    /// The transcribe socket: a flat file with gain and without gaps (duration = bytes).
    Transcribe {
        /// Linear gain of the rendered copy, 1.0 to 4.0.
        gain: f32,
        /// The file's format.
        #[serde(default, skip_serializing_if = "is_wav")]
        format: Container,
        /// Bits per second, for formats that lose something; by default what suits speech.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bitrate: Option<u32>,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_wav(format: &Container) -> bool {
    *format == Container::Wav
}

impl Purpose {
    /// Linear gain of the rendered copy.
    pub const fn gain(self) -> f32 {
        match self {
            Self::Plain => 1.0,
            Self::Transcribe { gain, .. } => gain,
        }
    }
}

/// Why media is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// Lost on the network: the source's sequence numbers say so.
    Loss,
    /// Received and given up: the disk failed and what was not synced could not be read back, or was damaged.
    Discarded,
    /// Deliberately not recorded.
    Paused,
    /// Received and not stored because nothing could take it: disk full, or a tap whose disk was too slow.
    Overflow,
    /// The connection was away.
    Disconnected,
    /// The source sent nothing while time went on.
    SilentSource,
}

/// Something that happened to a track. Positions are samples per channel from the session's first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// Recording was paused: what follows is not recorded.
    Pause {
        /// Position of the first sample not recorded.
        at: u64,
        /// Why, in the words of who paused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Recording went on.
    Resume {
        /// Position of the first sample recorded again.
        at: u64,
    },
    /// A named moment.
    Mark {
        /// Position of the moment.
        at: u64,
        /// Its name.
        name: String,
    },
    /// A turn of the conversation as the client described it.
    Turn {
        /// Position when it was received.
        at: u64,
        /// The client's fields.
        data: serde_json::Value,
    },
    /// Media that is known to be missing.
    Gap {
        /// Position of the first missing sample.
        at: u64,
        /// Samples per channel that are missing.
        samples: u64,
        /// Why.
        reason: GapReason,
    },
    /// The client came back with its resume token.
    Reconnected {
        /// Position it was told to send on from.
        at: u64,
    },
}

impl Event {
    /// The position behind the event: its own, or for a gap the first sample after it.
    pub const fn end(&self) -> u64 {
        match self {
            Self::Pause { at, .. } | Self::Resume { at } | Self::Reconnected { at } => *at,
            Self::Mark { at, .. } | Self::Turn { at, .. } => *at,
            Self::Gap { at, samples, .. } => at.saturating_add(*samples),
        }
    }
}

/// The JSON of a closed log's footer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footer {
    /// Records before the footer.
    pub records: u64,
    /// Samples per channel counted by the session, recorded or not: its next position.
    pub samples: u64,
    /// When the log was closed, on the recording's clock.
    pub closed: Micros,
    /// Why, in a word for people: `stop`, `closed`, `idle`, `drain`, …
    pub reason: String,
}
