//! The transcribe dialect of `/ws/transcribe`: raw s16le frames, 16 kHz mono, beside a speech-to-text socket. The
//! server's first message names the session; binary frames are audio; the close is the end. Nothing else exists,
//! so that a client that knows nothing of us works unchanged.

use serde::Serialize;

use crate::media::{Codec, Format};

/// What its clients send.
pub const FORMAT: Format = Format { codec: Codec::S16le, rate: 16_000, channels: 1 };
/// Mean level (RMS over int16) below which a chunk counts as silent.
pub const SILENCE_RMS: f64 = 100.0;
/// One warning once more than this many chunks in a row were silent.
pub const SILENT_CHUNKS: u32 = 50;

/// The server's first message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "session")]
pub struct SessionMessage {
    /// The session.
    pub session_id: String,
}

/// Finds runs of silence.
#[derive(Clone, Copy, Debug, Default)]
pub struct SilenceWatch {
    run: u32,
}

impl SilenceWatch {
    /// Looks at one chunk of s16le; true exactly once in a run, when it has become too long.
    pub fn is_silent_run(&mut self, chunk: &[u8]) -> bool {
        if rms(chunk) >= SILENCE_RMS {
            self.run = 0;
            return false;
        }
        self.run = self.run.saturating_add(1);
        self.run == SILENT_CHUNKS + 1
    }
}

/// Root mean square of s16le samples; 0 for none.
pub fn rms(chunk: &[u8]) -> f64 {
    let (samples, _) = chunk.as_chunks::<2>();
    if samples.is_empty() {
        return 0.0;
    }
    let sum: u64 =
        samples.iter().map(|&bytes| u64::from(i16::from_le_bytes(bytes).unsigned_abs()).pow(2)).sum();
    (sum as f64 / samples.len() as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_warning_for_a_run_of_silence_and_a_new_one_for_the_next() {
        let mut watch = SilenceWatch::default();
        let (silent, loud) = ([10_u8, 0].repeat(320), [0_u8, 10].repeat(320));
        let warnings = (0..200).filter(|_| watch.is_silent_run(&silent)).count();
        assert_eq!(warnings, 1);
        assert!(!watch.is_silent_run(&loud));
        let again: Vec<_> = (0..200).filter(|_| watch.is_silent_run(&silent)).collect();
        assert_eq!(again, [50]);
    }

    #[test]
    fn rms_is_the_level_of_a_square_wave_and_zero_for_nothing() {
        assert_eq!(rms(&[]), 0.0);
        assert_eq!(rms(&[100, 0, 156, 255]), 100.0);
        assert_eq!(rms(&[0, 0x80]), 32768.0);
    }
}
