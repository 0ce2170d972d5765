//! Packets to samples.

use reeltime_core::codec::Decoder;
use reeltime_core::media::{Codec, Format, g711};

use crate::Error;

mod flac;
mod opus;
mod pcm;

pub use flac::Flac;

/// A decoder of a track's packets, at the rate and with the channels of `format`.
///
/// # Errors
/// [`Error::Refused`] where libopus refuses: a format that [`Format::new`] refuses, or no memory.
pub fn decoder(format: Format) -> Result<Box<dyn Decoder>, Error> {
    Ok(match format.codec {
        Codec::S16le => Box::new(pcm::Pcm::new(format, None)),
        Codec::Mulaw => Box::new(pcm::Pcm::new(format, Some(&g711::MULAW))),
        Codec::Alaw => Box::new(pcm::Pcm::new(format, Some(&g711::ALAW))),
        Codec::Opus => Box::new(opus::OpusDecoder::new(format)?),
    })
}
