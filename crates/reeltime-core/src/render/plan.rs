//! What is to be made of a recording's tracks.

use std::ops::Range;

use crate::codec::{Decoder, EncodeError};
use crate::media::Format;
use crate::time::Micros;
use crate::timeline::{Counting, Drift, Layout};

/// Which speakers are heard on which channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Arrangement {
    /// All on one channel.
    #[default]
    Mix,
    /// On two channels, a speaker a side; more than two sit in between. A recording of one track that has two
    /// channels keeps them.
    Stereo(Sides),
    /// One participant alone, with the channels as received.
    Participant(String),
    /// Every channel of every track on a channel of its own, in the order the tracks began.
    Tracks,
}

/// Who sits where, by participant. Who is not named sits by role (caller, customer, user left; agent, assistant,
/// bot right), or else where there are fewer, the left first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sides {
    /// On the left.
    pub left: Vec<String>,
    /// On the right.
    pub right: Vec<String>,
}

/// What stands where was paused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pauses {
    /// Silence of the same length: positions are times.
    #[default]
    Silence,
    /// Nothing, where every track that is there at the time is paused: all stay together.
    Skip,
}

/// What is to be made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Who is heard where.
    pub arrangement: Arrangement,
    /// Samples per second and channel; by default the highest of the tracks that are heard.
    pub rate: Option<u32>,
    /// What stands where was paused.
    pub pauses: Pauses,
    /// Where on the recording's clock the first sample lies; by default where the first track that is heard
    /// begins. Of tracks that begin before it, what is before it is left out.
    pub origin: Option<Micros>,
    /// Only these samples per channel of what would be made; all by default.
    pub range: Option<Range<u64>>,
    /// The tracks go on: their layouts are extended while they are mixed.
    pub open: bool,
}

/// One track, and how it is to be heard.
pub struct TrackInput {
    /// The party whose media this is.
    pub participant: String,
    /// Codec, rate and channels as received.
    pub format: Format,
    /// How its packets are placed.
    pub counting: Counting,
    /// Where its media is.
    pub layout: Layout,
    /// Decodes its packets, at the format's rate.
    pub decoder: Box<dyn Decoder>,
    /// Linear gain; at 1 samples stay what they are. See [`LoudnessMeter::gain`](super::LoudnessMeter::gain).
    pub gain: f32,
    /// How far its clock is off, where that is to be corrected; see [`DriftMeter`](super::DriftMeter). A track that
    /// is alone is never corrected.
    pub drift: Option<Drift>,
}

/// Why tracks cannot be mixed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MixError {
    /// There is nothing to mix.
    #[error("there is no track to render")]
    NoTracks,
    /// Nobody is called that.
    #[error("no participant is called {asked}; there are {}", .known.join(", "))]
    Participant {
        /// The one asked for.
        asked: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// More channels than a file can have.
    #[error("{0} channels are too many for one file: ask for mix or stereo, or for one participant")]
    Channels(usize),
    /// A rate that cannot be made.
    #[error("the rate {0} is out of range: use 8000 to 192000")]
    Rate(u32),
    /// A gain that is no gain.
    #[error("the gain {0} is out of range: use 0 to 100")]
    Gain(f32),
    /// The decoder gives other samples than the track's.
    #[error("the decoder gives {decoder} samples a second, the track has {track}")]
    Decoder {
        /// The decoder's rate.
        decoder: u32,
        /// The track's rate.
        track: u32,
    },
    /// The resampler failed.
    #[error("cannot resample: {0}")]
    Resample(String),
    /// The encoder failed.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}
