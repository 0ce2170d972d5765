//! The recorder library on real files, judged by other people's programs.

#![allow(clippy::unwrap_used, reason = "what a test's helpers meet in a broken setup may end the test")]

mod conversation;
mod crash;
mod judges;
mod transcribe;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Samples that tell where they belong: sample `n` of every test's audio.
fn sample(n: usize) -> i16 {
    (n.wrapping_mul(40_503) >> 3) as i16
}

fn samples(range: std::ops::Range<usize>) -> Vec<i16> {
    range.map(sample).collect()
}

fn bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}
