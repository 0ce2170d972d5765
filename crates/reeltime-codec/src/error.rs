use std::ops::RangeInclusive;

use reeltime_core::media::Container;

/// Why an encoder or decoder cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The codec does not know the rate.
    #[error("{} cannot hold {rate} samples a second: resample to {possible}", container.title())]
    Rate {
        /// The file asked for.
        container: Container,
        /// Samples per second.
        rate: u32,
        /// What [`crate::rate_for`] says.
        possible: u32,
    },
    /// The container has no room for so many channels, or there is none.
    #[error("{} holds 1 to {most} channels, not {channels}", container.title())]
    Channels {
        /// The file asked for.
        container: Container,
        /// Interleaved channels.
        channels: u8,
        /// The most that it holds.
        most: u8,
    },
    /// The codec cannot use as many bits, or as few.
    #[error(
        "{bitrate} bits a second are not possible in {} at this rate: use {} to {}",
        container.title(), possible.start(), possible.end()
    )]
    Bitrate {
        /// The file asked for.
        container: Container,
        /// Bits per second.
        bitrate: u32,
        /// What is possible at this rate and with these channels.
        possible: RangeInclusive<u32>,
    },
    /// LAME is not installed, or is not one that we can use.
    #[error(
        "MP3 needs LAME, which is not here ({0}): install it (on Debian: apt install libmp3lame0), \
         or ask for another format"
    )]
    NoLame(String),
    /// The codec's own library refuses.
    #[error("{0}")]
    Refused(String),
}
