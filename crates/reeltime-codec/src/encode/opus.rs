//! Opus by libopus, in Ogg and in `WebM`.
//!
//! For speech at a bit rate that is not scarce the cheapest setting is hard to tell from the dearest: full-band
//! mode at complexity 0 with 48 kbit/s a channel.

use ::opus::{Application, Bitrate, Channels, Encoder as Libopus};
use reeltime_core::codec::{EncodeError, Encoder, Spec};
use reeltime_core::media::{Container, ogg, opus, webm};

use super::bitrate;
use crate::Error;

/// Samples per second that libopus takes.
pub(super) const RATES: [u32; 5] = [8_000, 12_000, 16_000, 24_000, 48_000];
/// Bits per second by default, of a channel.
const BITRATE: u32 = 48_000;
/// Packets a second: 20 ms each.
const PACKETS: u32 = 50;
/// Samples of a packet at 48 kHz.
const PACKET_SAMPLES: u64 = (opus::RATE / PACKETS) as u64;
/// The largest packet of one frame (RFC 6716 §3.2.1), with its first byte.
const MAX_PACKET: usize = 1_276;

/// The Ogg stream's number; there is no other in the file.
const SERIAL: u32 = 1;

/// Makes packets.
struct Packets {
    libopus: Libopus,
    /// Interleaved samples of a packet.
    size: usize,
    channels: u8,
    /// Samples at 48 kHz for each one that comes in.
    factor: u64,
    held: Vec<i16>,
    /// Samples per channel that came in.
    samples: u64,
    /// Samples per channel at 48 kHz of the packets made.
    made: u64,
    pre_skip: u16,
}

impl Packets {
    fn new(container: Container, spec: &Spec) -> Result<Self, Error> {
        let suits = BITRATE * u32::from(spec.channels);
        let bitrate = bitrate(container, spec, suits, 6_000..=510_000)?;
        let (libopus, delay) =
            libopus(spec, bitrate).map_err(|error| Error::Refused(format!("libopus: {error}")))?;
        let factor = u64::from(opus::RATE / spec.rate);
        let size = (spec.rate / PACKETS) as usize * usize::from(spec.channels);
        // Silence that makes what players leave out at the beginning a whole packet: its length is then whole
        // milliseconds, which is what `WebM` counts in, and ffmpeg does not leave out samples at both ends of one.
        let delay = delay.max(0) as u64 * factor;
        let lead = PACKET_SAMPLES.saturating_sub(delay) / factor;
        let mut held = Vec::with_capacity(size);
        held.resize(lead as usize * usize::from(spec.channels), 0);
        Ok(Self {
            libopus,
            size,
            channels: spec.channels,
            factor,
            held,
            samples: 0,
            made: 0,
            pre_skip: (delay + lead * factor) as u16,
        })
    }

    /// Gives `each` the packets that these samples fill.
    fn push(&mut self, mut samples: &[i16], mut each: impl FnMut(&[u8])) -> Result<(), EncodeError> {
        self.samples += samples.len() as u64 / u64::from(self.channels);
        while self.held.len() + samples.len() >= self.size {
            let (now, later) = samples.split_at(self.size - self.held.len());
            self.held.extend_from_slice(now);
            self.packet(&mut each)?;
            samples = later;
        }
        self.held.extend_from_slice(samples);
        Ok(())
    }

    /// Gives `each` packets until the last sample is in one; where it is, in samples at 48 kHz with the delay.
    fn finish(&mut self, mut each: impl FnMut(&[u8])) -> Result<u64, EncodeError> {
        let end = u64::from(self.pre_skip) + self.samples * self.factor;
        while self.made < end {
            self.held.resize(self.size, 0);
            self.packet(&mut each)?;
        }
        Ok(end)
    }

    fn packet(&mut self, each: &mut impl FnMut(&[u8])) -> Result<(), EncodeError> {
        let mut packet = [0; MAX_PACKET];
        let length = self.libopus.encode(&self.held, &mut packet);
        each(&packet[..length.map_err(|error| EncodeError(format!("libopus: {error}")))?]);
        self.held.clear();
        self.made += PACKET_SAMPLES;
        Ok(())
    }
}

/// libopus set up, and its delay in samples.
fn libopus(spec: &Spec, bitrate: u32) -> Result<(Libopus, i32), ::opus::Error> {
    let channels = if spec.channels == 1 { Channels::Mono } else { Channels::Stereo };
    let mut libopus = Libopus::new(spec.rate, channels, Application::Audio)?;
    libopus.set_complexity(0)?;
    libopus.set_bitrate(Bitrate::Bits(bitrate as i32))?;
    let delay = libopus.get_lookahead()?;
    Ok((libopus, delay))
}

/// A file of Opus.
pub(super) struct Opus {
    packets: Packets,
    muxer: Muxer,
}

/// What the packets are put into.
enum Muxer {
    /// Append only: nothing is known of the end.
    Ogg(ogg::Muxer),
    Webm(webm::Muxer),
}

impl Opus {
    pub(super) fn ogg(spec: &Spec) -> Result<Self, Error> {
        let packets = Packets::new(Container::Ogg, spec)?;
        let muxer = ogg::Muxer::encoded(spec.channels, SERIAL, packets.pre_skip, spec.rate, &spec.tags);
        Ok(Self { packets, muxer: Muxer::Ogg(muxer) })
    }

    pub(super) fn webm(spec: &Spec) -> Result<Self, Error> {
        let packets = Packets::new(Container::Webm, spec)?;
        let stream = webm::Stream {
            channels: spec.channels,
            pre_skip: packets.pre_skip,
            rate: spec.rate,
            samples: spec.samples.map(|samples| samples.saturating_mul(packets.factor)),
            tags: spec.tags.clone(),
        };
        Ok(Self { packets, muxer: Muxer::Webm(webm::Muxer::new(stream)) })
    }
}

impl Muxer {
    fn packet(&mut self, packet: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Ogg(ogg) => ogg.packet(packet, PACKET_SAMPLES, out),
            Self::Webm(webm) => webm.packet(packet, PACKET_SAMPLES, out),
        }
    }
}

impl Encoder for Opus {
    fn start(&mut self, out: &mut Vec<u8>) {
        match &mut self.muxer {
            Muxer::Ogg(ogg) => ogg.head(out),
            Muxer::Webm(webm) => webm.head(out),
        }
    }

    fn push(&mut self, samples: &[i16], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.packets.push(samples, |packet| self.muxer.packet(packet, out))
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let end = self.packets.finish(|packet| self.muxer.packet(packet, out))?;
        match &mut self.muxer {
            Muxer::Ogg(ogg) => ogg.finish_at(end, out),
            Muxer::Webm(webm) => webm.finish_at(end, out),
        }
        Ok(())
    }

    fn head(&self) -> Option<Vec<u8>> {
        match &self.muxer {
            Muxer::Ogg(_) => None,
            Muxer::Webm(webm) => webm.final_head(),
        }
    }
}
