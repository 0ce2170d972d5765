//! Samples to files.

use std::ops::RangeInclusive;

use reeltime_core::codec::{Encoder, Spec};
use reeltime_core::media::{Container, flac::Flac, wav::Wav};

use crate::Error;

mod mp3;
mod mp4;
mod opus;

/// An encoder that makes a file of this kind.
///
/// # Errors
/// Where the kind has no such rate (see [`rate_for`]), channels or bit rate, or its library is missing.
pub fn encoder(container: Container, spec: &Spec) -> Result<Box<dyn Encoder>, Error> {
    check(container, spec)?;
    Ok(match container {
        Container::Wav => Box::new(Wav::new(spec)),
        Container::Flac => Box::new(Flac::new(spec)),
        Container::Ogg => Box::new(opus::Opus::ogg(spec)?),
        Container::Webm => Box::new(opus::Opus::webm(spec)?),
        Container::Mp3 => Box::new(mp3::Mp3::new(spec)?),
        Container::Mp4 => Box::new(mp4::Mp4::new(spec)?),
    })
}

/// The rate to resample to for a file of this kind, where `wanted` is the rate that there is: the same where the
/// codec knows it, else the next higher one, else the highest.
pub fn rate_for(container: Container, wanted: u32) -> u32 {
    match rates(container) {
        None => wanted.clamp(1, highest(container)),
        Some(rates) => {
            let next = rates.iter().copied().find(|&rate| rate >= wanted);
            next.or(rates.last().copied()).unwrap_or(wanted)
        }
    }
}

/// The rates that a kind is bound to, from the lowest.
const fn rates(container: Container) -> Option<&'static [u32]> {
    match container {
        Container::Wav | Container::Flac => None,
        Container::Ogg | Container::Webm => Some(&opus::RATES),
        Container::Mp3 | Container::Mp4 => Some(&reeltime_core::media::mp3::Rate::ALL),
    }
}

/// The highest rate of a kind that is bound to none.
const fn highest(container: Container) -> u32 {
    match container {
        Container::Flac => (1 << 20) - 1,
        Container::Wav | Container::Ogg | Container::Webm | Container::Mp3 | Container::Mp4 => u32::MAX,
    }
}

/// The most channels that a file of this kind holds.
pub const fn most_channels(container: Container) -> u8 {
    match container {
        Container::Wav => u8::MAX,
        Container::Flac => reeltime_core::media::flac::MAX_CHANNELS,
        Container::Ogg | Container::Webm | Container::Mp3 | Container::Mp4 => 2,
    }
}

fn check(container: Container, spec: &Spec) -> Result<(), Error> {
    let possible = rate_for(container, spec.rate);
    if spec.rate != possible {
        return Err(Error::Rate { container, rate: spec.rate, possible });
    }
    let most = most_channels(container);
    if spec.channels == 0 || spec.channels > most {
        return Err(Error::Channels { container, channels: spec.channels, most });
    }
    Ok(())
}

/// The bit rate asked for, where it is possible, else the one that suits.
fn bitrate(
    container: Container,
    spec: &Spec,
    suits: u32,
    possible: RangeInclusive<u32>,
) -> Result<u32, Error> {
    match spec.bitrate {
        None => Ok(suits.clamp(*possible.start(), *possible.end())),
        Some(bitrate) if possible.contains(&bitrate) => Ok(bitrate),
        Some(bitrate) => Err(Error::Bitrate { container, bitrate, possible }),
    }
}
