//! MP3 by LAME, at a constant bit rate.

use reeltime_core::codec::{EncodeError, Encoder, Spec};
use reeltime_core::media::Container;
use reeltime_core::media::mp3::{Audio, Info, Rate, crc16, head};

use super::{bitrate, rate_for};
use crate::Error;
use crate::lame::{Lame, Settings};

/// Bits per second by default, of a channel.
const BITRATE: u32 = 64_000;
/// Samples of silence that LAME begins with, and the fewest that it ends with.
const LAMES_DELAY: u16 = 576;
const LEAST_PADDING: u64 = 576;
/// Samples of silence before the sound. With LAME's delay and the decoder's they are whole frames: ffmpeg does not
/// leave out samples at both ends of one frame.
const LEAD: u16 = 47;
/// Samples at the beginning that are not the sound's.
const DELAY: u16 = LEAD + LAMES_DELAY;
/// Samples of the shortest file, silence counted, in whole frames: ffmpeg does not know a shorter one for MP3, and
/// more silence the information frame could not tell.
const LEAST: u64 = 4 * 1_152;

pub(super) struct Mp3 {
    lame: Lame,
    spec: Spec,
    rate: Rate,
    bitrate: u32,
    samples: u64,
    bytes: u64,
    crc: u16,
    begun: bool,
    finished: bool,
}

impl Mp3 {
    pub(super) fn new(spec: &Spec) -> Result<Self, Error> {
        let container = Container::Mp3;
        let possible = rate_for(container, spec.rate);
        let rate = Rate::new(spec.rate).ok_or(Error::Rate { container, rate: spec.rate, possible })?;
        let known = rate.bitrates();
        let (least, most) = (known[0], known[known.len() - 1]);
        let wanted = bitrate(container, spec, BITRATE * u32::from(spec.channels), least..=most)?;
        // The nearest that there is, from above.
        let bitrate = known.into_iter().find(|&bitrate| bitrate >= wanted).unwrap_or(most);
        let lame = Lame::new(Settings { rate: spec.rate, channels: spec.channels, bitrate })?;
        Ok(Self {
            lame,
            spec: spec.clone(),
            rate,
            bitrate,
            samples: 0,
            bytes: 0,
            crc: 0,
            begun: false,
            finished: false,
        })
    }

    fn head_bytes(&self) -> Vec<u8> {
        let samples = if self.finished { Some(self.samples) } else { self.spec.samples };
        let (frames, padding) = samples.map_or((0, 0), |samples| frames_for(samples, self.rate));
        let audio = samples.map(|_| Audio {
            frames: frames.try_into().unwrap_or(u32::MAX),
            bytes: self.all_bytes(frames).try_into().unwrap_or(u32::MAX),
            crc: self.crc,
        });
        let info = Info { bitrate: self.bitrate, audio, delay: DELAY, padding };
        head(self.rate, self.spec.channels, &self.spec.tags, samples, self.lame.version(), info)
    }

    /// Bytes of all frames; before the end as many as their bit rate makes.
    fn all_bytes(&self, frames: u64) -> u64 {
        let samples = frames * u64::from(self.rate.frame_samples());
        let bits = u128::from(samples) * u128::from(self.bitrate) / u128::from(self.spec.rate);
        if self.finished { self.bytes } else { (bits / 8) as u64 }
    }

    /// Gives LAME the silence before the sound, once.
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        let silence = [0; 2 * LEAD as usize];
        self.lame.encode(&silence[..usize::from(LEAD) * usize::from(self.spec.channels)], out)
    }

    fn note(&mut self, frames: &[u8]) {
        self.bytes += frames.len() as u64;
        self.crc = crc16(self.crc, frames);
    }
}

/// Into how many frames so many samples are put, and how much silence is added at their end.
const fn frames_for(samples: u64, rate: Rate) -> (u64, u16) {
    let size = rate.frame_samples() as u64;
    let (frames, padding) = lames_frames(samples, size);
    let more = (LEAST / size).saturating_sub(frames);
    (frames + more, (padding + more * size) as u16)
}

/// The same as LAME does it by itself, with frames of `size` samples.
const fn lames_frames(samples: u64, size: u64) -> (u64, u64) {
    let sound = samples.saturating_add(DELAY as u64);
    let rest = size - sound % size;
    let padding = if rest < LEAST_PADDING { rest + size } else { rest };
    (sound.saturating_add(padding) / size, padding)
}

impl Encoder for Mp3 {
    fn start(&mut self, out: &mut Vec<u8>) {
        out.extend(self.head_bytes());
    }

    fn push(&mut self, samples: &[i16], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let begin = out.len();
        self.begin(out)?;
        self.lame.encode(samples, out)?;
        self.samples += samples.len() as u64 / u64::from(self.spec.channels);
        self.note(&out[begin..]);
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let begin = out.len();
        self.begin(out)?;
        let size = u64::from(self.rate.frame_samples());
        let more = LEAST.saturating_sub(lames_frames(self.samples, size).0 * size);
        self.lame.encode(&vec![0; more as usize * usize::from(self.spec.channels)], out)?;
        self.lame.flush(out)?;
        self.note(&out[begin..]);
        self.finished = true;
        Ok(())
    }

    fn head(&self) -> Option<Vec<u8>> {
        self.finished.then(|| self.head_bytes())
    }
}
