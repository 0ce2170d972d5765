//! Something like speech, for encoders whose cost depends on what they hear: a voice of harmonics with syllables,
//! pauses between sentences, and a little noise. The same each time.

use std::f32::consts::TAU;

use super::pcm;

const HARMONICS: usize = 8;
/// Samples of one wave in the table.
const TABLE: usize = 4_096;

thread_local! {
    static SINE: Vec<f32> = (0..TABLE).map(|at| (TAU * at as f32 / TABLE as f32).sin()).collect();
}

/// One frame of a speaker, 16 bit, little-endian.
pub(super) fn frame(speaker: u64, number: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(pcm::FRAME_BYTES);
    // Speaks for two of every three seconds, each speaker at another time.
    let speaks = !((number + speaker * 37) / 50).is_multiple_of(3);
    let pitch = 95.0 + 40.0 * speaker as f32 + 12.0 * ((number % 211) as f32 / 211.0 * TAU).sin();
    let syllable = 0.55 + 0.45 * ((number % 13) as f32 / 13.0 * TAU).sin();
    let mut noise = (number as u32).wrapping_mul(2_654_435_761) ^ speaker as u32;
    SINE.with(|sine| {
        for at in 0..pcm::FRAME {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let mut sample = (noise >> 24) as f32 - 128.0;
            if speaks {
                let time = at as f32 / pcm::RATE as f32;
                for harmonic in 1..=HARMONICS {
                    let turns = pitch * harmonic as f32 * time;
                    let wave = sine[(turns.fract() * TABLE as f32) as usize % TABLE];
                    sample += wave * 3_000.0 * syllable / harmonic as f32;
                }
            }
            out.extend_from_slice(&(sample as i16).to_le_bytes());
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_frame_and_neither_silent_nor_clipped() {
        let loudest = (0..200).flat_map(|number| frame(1, number)).collect::<Vec<_>>();
        let samples = loudest.chunks(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]).unsigned_abs());
        let peak = samples.max().unwrap();
        assert_eq!(frame(1, 0).len(), pcm::FRAME_BYTES);
        assert!(peak > 2_000 && peak < 32_000, "{peak}");
    }
}
