//! The files that can be made.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A kind of file, with the codec that it holds here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// 16 bit linear PCM in RIFF, or RF64 past 4 GiB. Loses nothing.
    #[default]
    Wav,
    /// FLAC in its own framing (RFC 9639). Loses nothing.
    Flac,
    /// Opus in Ogg (RFC 7845).
    Ogg,
    /// MPEG layer III, with an ID3 tag and an information frame.
    Mp3,
    /// Opus in `WebM`.
    Webm,
    /// AAC-LC in MP4 (ISO 14496-12, -14).
    Mp4,
}

impl Container {
    /// Every one, in the order they are documented.
    pub const ALL: [Self; 6] = [Self::Wav, Self::Flac, Self::Ogg, Self::Mp3, Self::Webm, Self::Mp4];

    /// The name in the API, which is the file name's ending as well.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Flac => "flac",
            Self::Ogg => "ogg",
            Self::Mp3 => "mp3",
            Self::Webm => "webm",
            Self::Mp4 => "mp4",
        }
    }

    /// The name in a sentence, as people write it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Wav => "WAV",
            Self::Flac => "FLAC",
            Self::Ogg => "Ogg",
            Self::Mp3 => "MP3",
            Self::Webm => "WebM",
            Self::Mp4 => "MP4",
        }
    }

    /// Other endings that files of this kind go by, which are taken for its name.
    const fn also(self) -> &'static [&'static str] {
        match self {
            Self::Wav => &["wave"],
            Self::Ogg => &["opus", "oga"],
            Self::Mp4 => &["m4a"],
            Self::Flac | Self::Mp3 | Self::Webm => &[],
        }
    }

    /// The media type of the file.
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Wav => "audio/wav",
            Self::Flac => "audio/flac",
            Self::Ogg => "audio/ogg",
            Self::Mp3 => "audio/mpeg",
            Self::Webm => "audio/webm",
            Self::Mp4 => "audio/mp4",
        }
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name, or another ending that such files go by, in any case.
impl FromStr for Container {
    type Err = UnknownContainer;
    fn from_str(s: &str) -> Result<Self, UnknownContainer> {
        let lower = s.to_ascii_lowercase();
        let named =
            |container: &Self| container.name() == lower || container.also().contains(&lower.as_str());
        Self::ALL.into_iter().find(named).ok_or(UnknownContainer)
    }
}

/// The name is not one of a file that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown file format: use wav, flac, ogg, mp3, webm or mp4")]
pub struct UnknownContainer;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_known_by_its_name_and_by_the_endings_of_its_files_in_any_case() {
        for container in Container::ALL {
            for name in [container.name(), container.title()] {
                assert_eq!(name.parse(), Ok(container));
            }
        }
        let others = ["wave", "M4A", "opus", "Oga"].map(str::parse);
        assert_eq!(others, [Container::Wav, Container::Mp4, Container::Ogg, Container::Ogg].map(Ok));
        for unknown in ["", "aiff", "wav ", ".wav", "audio/wav"] {
            assert_eq!(unknown.parse::<Container>(), Err(UnknownContainer), "{unknown:?}");
        }
    }
}
