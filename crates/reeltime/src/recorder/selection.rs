//! What of a recording is asked for, and as what.

use std::collections::BTreeSet;
use std::str::FromStr;

use reeltime_core::id::TrackId;
use reeltime_core::media::{Codec, Container, Format, UnknownContainer};
use reeltime_core::render::{Arrangement, MixError, Pauses, RenderError, Sides};

use crate::error::Error;

/// The loudness that can be asked for, in LUFS.
const LOUDNESS: std::ops::RangeInclusive<f32> = -40.0..=-5.0;
/// Names in a sentence, at most.
pub(super) const MOST_TOLD: usize = 10;

/// Who is heard on which channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Seating {
    /// All on one.
    Mono,
    /// On two, a speaker a side.
    Stereo,
    /// Every channel of every track on one of its own.
    Tracks,
}

impl Seating {
    /// The name in the API and in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mono => "mono",
            Self::Stereo => "stereo",
            Self::Tracks => "tracks",
        }
    }
}

impl FromStr for Seating {
    type Err = UnknownSeating;
    fn from_str(text: &str) -> Result<Self, UnknownSeating> {
        [Self::Mono, Self::Stereo, Self::Tracks]
            .into_iter()
            .find(|seating| seating.name() == text)
            .ok_or(UnknownSeating)
    }
}

/// The name is that of no layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("layout is mono, stereo or tracks")]
pub struct UnknownSeating;

/// Which sound of a recording.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// The file; by default the one that holds the track as received, and WAV for several.
    pub format: Option<Container>,
    /// Who is heard where; by default one track as it is, several on one channel.
    pub layout: Option<Seating>,
    /// Whose; all by default.
    pub participant: Option<String>,
    /// Which track; all by default.
    pub track: Option<TrackId>,
    /// G.711 as 16 bit linear.
    pub decode: bool,
    /// Of a live recording: go on to its end.
    pub follow: bool,
    /// Every speaker at this loudness, in LUFS.
    pub loudness: Option<f32>,
    /// What stands where was paused.
    pub pauses: Pauses,
    /// Bits per second, for formats that lose something.
    pub bitrate: Option<u32>,
    /// Samples per second.
    pub rate: Option<u32>,
    /// Who sits left, by participant.
    pub left: Vec<String>,
    /// Who sits right, by participant.
    pub right: Vec<String>,
}

impl Selection {
    /// Whether one track of this format, as it was received, is what is asked for.
    pub(super) fn is_as_received(&self, format: Format) -> bool {
        let plain = self.loudness.is_none()
            && self.bitrate.is_none()
            && self.rate.is_none_or(|rate| rate == format.rate)
            && self.pauses == Pauses::Silence
            && self.left.is_empty()
            && self.right.is_empty();
        let seats = match self.layout {
            None | Some(Seating::Tracks) => true,
            Some(Seating::Mono) => format.channels == 1,
            Some(Seating::Stereo) => format.channels == 2,
        };
        let same = match (self.format, format.codec) {
            (None, Codec::Opus) => !self.decode,
            (None | Some(Container::Wav), Codec::S16le) | (Some(Container::Ogg), Codec::Opus) => true,
            (None | Some(Container::Wav), Codec::Mulaw | Codec::Alaw) => !self.decode,
            (Some(_), _) => false,
        };
        plain && seats && same
    }

    /// Whether a file of one channel that is there in this format alone is what is asked for.
    pub(super) fn is_kept(&self, container: Container) -> bool {
        let Self { format, layout, follow, .. } = *self;
        let (participant, track) = (self.participant.clone(), self.track);
        let plain = Self { format, layout, follow, participant, track, ..Self::default() };
        *self == plain && format.is_none_or(|format| format == container) && layout != Some(Seating::Stereo)
    }

    /// The file, of tracks that are mixed.
    pub(super) fn container(&self) -> Container {
        self.format.unwrap_or(Container::Wav)
    }

    /// Who is heard where, of `tracks` tracks that are meant.
    pub(super) fn arrangement(&self, tracks: usize) -> Arrangement {
        let sides = || Sides { left: self.left.clone(), right: self.right.clone() };
        match self.layout {
            Some(Seating::Mono) => Arrangement::Mix,
            Some(Seating::Stereo) => Arrangement::Stereo(sides()),
            Some(Seating::Tracks) => Arrangement::Tracks,
            None if tracks == 1 => Arrangement::Tracks,
            None if !self.left.is_empty() || !self.right.is_empty() => Arrangement::Stereo(sides()),
            None => Arrangement::Mix,
        }
    }

    /// Whether it makes sense, whatever the recording.
    ///
    /// # Errors
    /// Where it does not.
    pub(super) fn check(&self) -> Result<(), MediaError> {
        if let Some(loudness) = self.loudness.filter(|loudness| !LOUDNESS.contains(loudness)) {
            return Err(MediaError::Loudness(loudness));
        }
        let both = self.left.iter().find(|name| self.right.contains(name));
        both.map_or(Ok(()), |name| Err(MediaError::BothSides(name.clone())))
    }

    /// Whether everybody who is to sit on a side is one of these.
    ///
    /// # Errors
    /// Where one is nobody.
    pub(super) fn check_sides(&self, known: &BTreeSet<&str>) -> Result<(), MediaError> {
        match self.left.iter().chain(&self.right).find(|name| !known.contains(name.as_str())) {
            None => Ok(()),
            Some(nobody) => Err(MediaError::Nobody {
                asked: nobody.clone(),
                known: known.iter().take(MOST_TOLD).map(|&name| name.to_owned()).collect(),
            }),
        }
    }

    /// Whether it asks for nothing that a rendition of this kind does not have.
    pub(super) fn is_rendition(&self, container: Container, layout: Seating) -> bool {
        let plain = Self { format: self.format, layout: self.layout, follow: self.follow, ..Self::default() };
        *self == plain && self.container() == container && self.layout.unwrap_or(Seating::Mono) == layout
    }
}

/// Why a sound cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// The tenant has no such recording.
    #[error("Recording not found")]
    NotFound,
    /// Nothing was recorded, or nothing yet.
    #[error("nothing was recorded, or nothing yet")]
    Empty,
    /// A participant or track that is not there.
    #[error("there is no such participant or track; this recording has {}", .known.join(", "))]
    Participant {
        /// Those that it has, with their tracks.
        known: Vec<String>,
    },
    /// Somebody is to sit on a side who is not there.
    #[error("nobody is called {asked:?}; this recording has {}", .known.join(", "))]
    Nobody {
        /// The name.
        asked: String,
        /// Those who are there, as many as fit a sentence.
        known: Vec<String>,
    },
    /// Somebody is to sit on both sides.
    #[error("{0:?} is to sit left and right: name each on one side")]
    BothSides(String),
    /// A format that does not exist here.
    #[error(transparent)]
    UnknownFormat(#[from] UnknownContainer),
    /// One that does not fit the track.
    #[error(transparent)]
    Format(#[from] RenderError),
    /// Tracks that cannot be heard in this way.
    #[error(transparent)]
    Mix(#[from] MixError),
    /// One that it is not kept in.
    #[error("this recording is kept as {kept} alone: ask for format={0}, or for none", kept = .0.title())]
    Kept(Container),
    /// One out of which no peaks are made.
    #[error(
        "the peaks of this recording are no longer kept, and none can be made again of {}: fetch its file and draw that",
        .0.title()
    )]
    Undecodable(Container),
    /// No encoder for it.
    #[error(transparent)]
    Codec(#[from] reeltime_codec::Error),
    /// A loudness that is none.
    #[error("loudness {0} is out of range: use -40 to -5 LUFS")]
    Loudness(f32),
    /// More peaks than anyone draws.
    #[error(
        "there are too many pixels: ask for samples_per_pixel of at least {least}, or for a width of at most {most}"
    )]
    Peaks {
        /// Pixels, at most.
        most: u64,
        /// Samples per pixel, at least.
        least: u64,
    },
    /// Something failed.
    #[error(transparent)]
    Failed(#[from] Error),
}
