//! AAC-LC by `syom`, in MP4.

use reeltime_core::codec::{EncodeError, Encoder, Spec};
use reeltime_core::media::{Container, mp4};
use syom::EncodeOptions;

use super::bitrate;
use crate::Error;

/// Samples per channel of a packet, and by how many the encoder delays.
const PACKET_SAMPLES: u32 = 1_024;
/// Bits per second by default, of a channel: four a sample, and no more than this.
const BITRATE: u32 = 64_000;
/// Bits of the largest packet, of a channel (ISO 14496-3 §4.5.3.2).
const MAX_PACKET_BITS: u32 = 6_144;
/// Bits per second and channel below which nothing is worth hearing.
const LEAST: u32 = 8_000;

pub(super) struct Mp4 {
    aac: syom::Encoder,
    muxer: mp4::Muxer,
    planes: Vec<Vec<f32>>,
    samples: u64,
}

impl Mp4 {
    pub(super) fn new(spec: &Spec) -> Result<Self, Error> {
        let channels = u32::from(spec.channels);
        let suits = (spec.rate * 4).min(BITRATE) * channels;
        let most = MAX_PACKET_BITS * channels * spec.rate / PACKET_SAMPLES;
        let bitrate = bitrate(Container::Mp4, spec, suits, LEAST * channels..=most)?;
        // Attacks are seen a packet early, so that they have no echo before them.
        let options = EncodeOptions::raw().with_bitrate_bps(bitrate).with_lookahead(true);
        let aac = syom::Encoder::new(spec.rate, usize::from(spec.channels), &options)
            .map_err(|error| Error::Refused(format!("AAC: {error}")))?;
        let muxer = mp4::Muxer::new(mp4::Track {
            rate: spec.rate,
            channels: spec.channels,
            bitrate,
            config: aac.asc().to_vec(),
            packet_samples: PACKET_SAMPLES,
            priming: PACKET_SAMPLES,
            samples: spec.samples,
            tags: spec.tags.clone(),
        });
        Ok(Self { aac, muxer, planes: vec![Vec::new(); usize::from(spec.channels)], samples: 0 })
    }

    /// A packet's worth of interleaved samples at the most.
    fn feed(&mut self, samples: &[i16], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let channels = self.planes.len();
        for (channel, plane) in self.planes.iter_mut().enumerate() {
            plane.clear();
            let own = samples[channel.min(samples.len())..].iter().step_by(channels);
            plane.extend(own.map(|&sample| f32::from(sample) / 32_768.0));
        }
        let planes: Vec<_> = self.planes.iter().map(Vec::as_slice).collect();
        let fed = self.aac.feed(&planes, |frame| {
            self.muxer.packet(frame.au, out);
            Ok(())
        });
        self.samples += fed.map_err(failed)? as u64;
        Ok(())
    }
}

fn failed(error: syom::AacError) -> EncodeError {
    EncodeError(format!("AAC: {error}"))
}

impl Encoder for Mp4 {
    fn start(&mut self, out: &mut Vec<u8>) {
        self.muxer.head(out);
    }

    fn push(&mut self, samples: &[i16], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let most = PACKET_SAMPLES as usize * self.planes.len();
        samples.chunks(most).try_for_each(|part| self.feed(part, out))
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        // Of nothing there is no packet.
        if self.samples > 0 {
            let finished = self.aac.finish(|frame| {
                self.muxer.packet(frame.au, out);
                Ok(())
            });
            finished.map_err(failed)?;
        }
        self.muxer.finish(self.samples, out);
        Ok(())
    }

    fn head(&self) -> Option<Vec<u8>> {
        self.muxer.final_head()
    }
}
