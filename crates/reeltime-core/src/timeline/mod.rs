//! Where each packet of a track belongs: order, duplicates, gaps, pauses.
//!
//! The log keeps what arrived, as it arrived. Its media is placed afterwards, with hindsight, in two passes:
//!
//! 1. A [`Survey`] sees every packet's times and every event, and gives a [`Layout`]: how long the track is, what
//!    is missing in it and why. One is also kept in memory while a session is live.
//! 2. A [`Placer`] sees the packets again, with their payload, and gives media and silence in timeline order.
//!
//! Both are exact for the packets seen so far and hold nothing that grows with a call's length, except gaps,
//! pauses, marks and turns themselves. UTC takes no part: only arrivals on the recording's monotonic clock do.
//!
//! # Positions
//! *Counted* positions are what the source says (a running count, or timestamps from the least one on); events
//! carry them. *Timeline* positions are counted ones plus the stalls before them; a [`Layout`] carries them. Both
//! are in samples per channel from the track's start.
//!
//! # Rules
//! | | [`Counting::Arrival`] | [`Counting::Samples`] | [`Counting::Timestamps`] |
//! |---|---|---|---|
//! | order | as logged | as logged | by sequence, else by timestamp, within [`REORDER_PACKETS`] and [`REORDER_TIME`] |
//! | starts before the end of what is placed | trimmed, or dropped as a duplicate | the same | the same; dropped as late where its turn is over |
//! | starts behind that end | a gap, with the reason an event gives, else `discarded` | the same | an event's reason, else `loss` where sequence numbers are missing too, nothing (the codec's silence) where none is, `silent_source` where there are none |
//! | arrives later than its count says | a gap, where it is more than [`STALL`] and is not made up within [`SETTLE`]; once the track is over, what its clock [drifts](DriftMeter) is none | – | – |
//! | clock of the source starts anew | – | – | placed by arrival |
//!
//! An Opus packet cannot be trimmed: where it overlaps by half or more it is dropped, else it is moved.

use serde::{Deserialize, Serialize};

use crate::log::GapReason;
use crate::time::Micros;

mod arrivals;
mod cover;
mod drift;
mod order;
mod placer;
mod stall;
mod survey;

pub use crate::log::Counting;
pub use drift::{Drift, DriftMeter};
pub use placer::{Placer, Sink};
pub use survey::Survey;

/// How far arrival may run ahead of the count before it is a gap; less is jitter. Microseconds.
pub const STALL: Micros = Micros::from_secs(1);
/// How long after a stall a burst may still make it up.
pub const SETTLE: Micros = Micros::from_secs(60);
/// How many packets may overtake one.
pub const REORDER_PACKETS: usize = 128;
/// How long a packet is waited for.
pub const REORDER_TIME: Micros = Micros::from_secs(5);
/// How far a source's clock may jump, against arrival, before it counts as started anew.
pub const CLOCK_JUMP: Micros = Micros::from_secs(60);

/// Known missing media.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Timeline position of the first missing sample.
    pub at: u64,
    /// Missing samples per channel.
    pub samples: u64,
    /// Why they are missing.
    pub reason: GapReason,
}

/// A stretch that was deliberately not recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Timeline position of the first sample not recorded.
    pub at: u64,
    /// Samples per channel not recorded.
    pub samples: u64,
    /// Why, in the words of who paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A named moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Timeline position.
    pub at: u64,
    /// Its name.
    pub name: String,
}

/// A turn of the conversation as the client described it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Timeline position when it was received.
    pub at: u64,
    /// The client's fields.
    pub data: serde_json::Value,
}

/// Time that passed without being counted by the source: what [`Placer`] inserts. Its reason stands among the
/// gaps and pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// Counted position of the first sample after it.
    pub before: u64,
    /// Samples per channel inserted.
    pub samples: u64,
}

/// What was seen and what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Packets seen.
    pub packets: u64,
    /// Samples per channel placed: the media alone, without gaps and pauses.
    pub media_samples: u64,
    /// Packets dropped because their media was there already.
    pub duplicates: u64,
    /// Samples per channel trimmed off packets that overlapped what was there.
    pub trimmed_samples: u64,
    /// Packets dropped because they came after their turn.
    pub late: u64,
    /// How often the source's clock started anew.
    pub restarts: u64,
}

/// Where everything in a track is, as far as a [`Survey`] has seen it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Layout {
    /// Where the track begins on the recording's clock, in microseconds: the arrival of its first packet, less
    /// what is missing before it.
    #[serde(rename = "start_us")]
    pub start: Micros,
    /// Length on the timeline in samples per channel: media, gaps and pauses.
    pub samples: u64,
    /// What is missing, in order, not overlapping.
    pub gaps: Vec<Gap>,
    /// What was paused, in order, not overlapping.
    pub pauses: Vec<Pause>,
    /// Named moments, in the order they were named.
    pub marks: Vec<Mark>,
    /// Turns, in the order they were received.
    pub turns: Vec<Turn>,
    /// Where time is inserted, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stalls: Vec<Stall>,
    /// Counted samples before the first packet of a source with timestamps.
    #[serde(skip_serializing_if = "is_zero")]
    pub lead: u64,
    /// What was seen and what became of it.
    pub counters: Counters,
}

const fn is_zero(samples: &u64) -> bool {
    *samples == 0
}
