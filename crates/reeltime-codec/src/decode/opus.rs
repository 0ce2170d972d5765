//! Opus by libopus. What was lost is made from the copy that the next packet may carry (FEC), else from what came
//! before (PLC).

use ::opus::{Channels, Decoder as Libopus};
use reeltime_core::codec::{DecodeError, Decoder};
use reeltime_core::media::Format;
use reeltime_core::media::opus::{MAX_SAMPLES, RATE, frame_samples, packet_samples};

use crate::Error;

/// Samples per channel that libopus conceals at a time: 20 ms.
const STEP: usize = 960;
/// The shortest frame, of which everything concealed is a multiple: 2.5 ms.
const SHORTEST: usize = 120;
/// What is made from before sounds right for this long: 100 ms.
const HELD: usize = 4_800;
/// After this it has faded into silence: 200 ms.
const FADED: usize = 9_600;

pub(super) struct OpusDecoder {
    libopus: Libopus,
    channels: u8,
    /// A longest packet's samples.
    buffer: Vec<i16>,
}

impl OpusDecoder {
    pub(super) fn new(format: Format) -> Result<Self, Error> {
        let channels = if format.channels == 1 { Channels::Mono } else { Channels::Stereo };
        let libopus = Libopus::new(RATE, channels).map_err(|error| Error::Refused(error.to_string()))?;
        let channels = channels as u8;
        let buffer = vec![0; MAX_SAMPLES as usize * usize::from(channels)];
        Ok(Self { libopus, channels, buffer })
    }

    /// Appends what libopus gives for `payload`, which is empty for a lost packet, in `samples` per channel. Where
    /// it gives nothing, silence.
    fn make(&mut self, payload: &[u8], samples: usize, fec: bool, out: &mut Vec<i16>) {
        let samples = samples * usize::from(self.channels);
        let whole = samples.next_multiple_of(SHORTEST * usize::from(self.channels)).min(self.buffer.len());
        if self.libopus.decode(payload, &mut self.buffer[..whole], fec).is_err() {
            self.buffer[..whole].fill(0);
        }
        out.extend_from_slice(&self.buffer[..samples]);
    }

    /// Appends `samples` per channel from what came before, which fades.
    fn extrapolate(&mut self, samples: usize, out: &mut Vec<i16>) {
        let begin = out.len();
        let mut made = 0;
        while made < samples.min(FADED) {
            let step = STEP.min(samples - made);
            self.make(&[], step, false, out);
            made += step;
        }
        fade(&mut out[begin..], usize::from(self.channels));
        out.resize(begin + samples * usize::from(self.channels), 0);
    }
}

/// Lets what is beyond [`HELD`] fade to nothing at [`FADED`].
fn fade(made: &mut [i16], channels: usize) {
    for (index, sample) in made.chunks_mut(channels).enumerate().skip(HELD) {
        let left = FADED.saturating_sub(index) as i32;
        let faded = |value: i16| (i32::from(value) * left / (FADED - HELD) as i32) as i16;
        sample.iter_mut().for_each(|value| *value = faded(*value));
    }
}

impl Decoder for OpusDecoder {
    fn rate(&self) -> u32 {
        RATE
    }

    fn channels(&self) -> u8 {
        self.channels
    }

    fn packet(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<u64, DecodeError> {
        // libopus would take no bytes at all for a lost packet.
        packet_samples(payload)
            .ok_or_else(|| DecodeError("its framing is not that of Opus (RFC 6716 §3.4)".to_owned()))?;
        let decoded = self.libopus.decode(payload, &mut self.buffer, false);
        let decoded = decoded.map_err(|error| DecodeError(error.to_string()))?;
        out.extend_from_slice(&self.buffer[..decoded * usize::from(self.channels)]);
        Ok(decoded as u64)
    }

    fn conceal(&mut self, samples: u64, next: Option<&[u8]>, out: &mut Vec<i16>) {
        let samples = samples as usize;
        // A packet carries a copy of the frame before it, as long as its own.
        let carried = next.and_then(|next| {
            packet_samples(next)?;
            let frame = frame_samples(*next.first()?) as usize;
            (frame <= samples).then_some((next, frame))
        });
        let Some((next, frame)) = carried else { return self.extrapolate(samples, out) };
        self.extrapolate(samples - frame, out);
        // Where it carries none, libopus conceals.
        self.make(next, frame, true, out);
    }

    fn reset(&mut self) {
        // It refuses only what is no state.
        let _ = self.libopus.reset_state();
    }
}
