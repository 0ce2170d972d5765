//! How loud it comes out: never clipped, never touched without need, evened on request.

use proptest::prelude::*;
use reeltime_core::render::{Arrangement, LoudnessMeter, Sides};
use reeltime_core::time::Micros;

use crate::voices::{Voice, channel, mix, plan, strength, tone};

const RATE: u32 = 16_000;

fn loud(count: usize, samples: u64) -> Vec<Voice> {
    let voice = |number: usize| {
        let hertz = 200.0 + 150.0 * number as f64;
        Voice::new(&format!("p{number}"), RATE, tone(hertz, RATE, 1.0)).says(Micros(0), samples, 320)
    };
    (0..count).map(voice).collect()
}

#[test]
fn eight_loud_speakers_do_not_clip_and_are_all_heard() {
    let mixed = mix(&plan(Arrangement::Mix), &loud(8, 48_000));
    let peak = mixed.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
    assert!((28_000..=32_767).contains(&peak), "the peak is {peak}");
    let flat =
        mixed.windows(3).filter(|three| three.iter().all(|sample| sample.unsigned_abs() == 32_767)).count();
    assert_eq!(flat, 0, "a flat top is a clipped one");
    let steady = &mixed[16_000..];
    let heard: Vec<f64> = (0..8).map(|n| strength(steady, 200.0 + 150.0 * n as f64, RATE)).collect();
    assert!(heard.iter().all(|level| (0.08..0.2).contains(level)), "levels are {heard:?}");
    // What is not there stays away: limiting smoothly adds little of its own.
    let other = strength(steady, 2_345.0, RATE);
    assert!(other < 0.002, "{other} of a tone that nobody makes");
}

#[test]
fn a_limited_peak_leaves_what_is_far_from_it_alone() {
    let quiet = tone(440.0, RATE, 0.5);
    let anna = Voice::new("anna", RATE, tone(440.0, RATE, 0.5)).says(Micros(0), 64_000, 320);
    let burst = move |sample| if (32_000..32_100).contains(&sample) { 32_000 } else { 0 };
    let ben = Voice::new("ben", RATE, burst).says(Micros(0), 64_000, 320);
    let mixed = mix(&plan(Arrangement::Mix), &[anna, ben]);
    let same = |index: usize| mixed[index] == quiet(index as u64);
    assert!((0..31_900).all(same), "before the look-ahead");
    assert!((48_000..64_000).all(same), "after the release");
    assert!(!(32_000..32_100).all(same), "the burst is there");
    let expected = |index: usize| f64::from(quiet(index as u64));
    let louder =
        (31_900..32_000).chain(32_100..48_000).find(|&i| f64::from(mixed[i]).abs() > expected(i).abs() + 1.0);
    assert_eq!(louder, None, "nothing is made louder");
}

#[test]
fn evened_speakers_are_equally_loud() {
    let meter = |voice: &Voice| {
        let mut meter = LoudnessMeter::new(1, RATE);
        let samples: Vec<i16> = (0..80_000).map(|at| (voice.signal)(at, 0)).collect();
        samples.chunks(700).for_each(|chunk| meter.samples(chunk));
        meter
    };
    let mut voices = vec![
        Voice::new("anna", RATE, tone(500.0, RATE, 0.4)).says(Micros(0), 80_000, 320),
        Voice::new("ben", RATE, tone(700.0, RATE, 0.04)).says(Micros(0), 80_000, 320),
    ];
    for voice in &mut voices {
        voice.gain = meter(voice).gain(-20.0);
    }
    let mixed = mix(&plan(Arrangement::Stereo(Sides::default())), &voices);
    for side in 0..2 {
        let mut after = LoudnessMeter::new(1, RATE);
        after.samples(&channel(&mixed, 2, side));
        let lufs = after.lufs().unwrap();
        assert!((lufs + 20.0).abs() < 0.3, "side {side} is at {lufs} LUFS");
    }
}

#[test]
fn silence_is_not_made_louder_and_gains_are_bounded() {
    let mut silent = LoudnessMeter::new(2, 48_000);
    silent.silence(u64::MAX);
    assert_eq!((silent.lufs(), silent.gain(-16.0)), (None, 1.0));
    let mut faint = LoudnessMeter::new(1, 8_000);
    faint.samples(&(0..40_000).map(tone(440.0, 8_000, 0.001)).collect::<Vec<_>>());
    assert!((faint.gain(0.0) - 10.0).abs() < 0.01, "at most 20 dB");
    assert_eq!(LoudnessMeter::new(1, 16_000).gain(f32::NAN), 1.0);
}

/// ITU-R BS.1770-4: a tone of 997 Hz at full scale in one channel is -3.01 LUFS.
#[test]
fn a_known_tone_has_its_known_loudness() {
    let mut meter = LoudnessMeter::new(1, 48_000);
    meter.samples(&(0..480_000).map(tone(997.0, 48_000, 1.0)).collect::<Vec<_>>());
    assert!((meter.lufs().unwrap() + 3.01).abs() < 0.1, "{:?}", meter.lufs());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// The limiter by its promise: in range, and where the sum is far from too loud, the sum itself.
    #[test]
    fn any_sum_stays_in_range_and_quiet_parts_are_exact(
        levels in prop::collection::vec((0_u64..12_000, 1_u64..3_000, -32_768_i32..=32_767), 1..12),
    ) {
        let spans: Vec<_> = levels.clone();
        let voice = |(number, (at, length, level)): (usize, (u64, u64, i32))| {
            let said = move |sample: u64| if (at..at + length).contains(&sample) { level as i16 } else { 0 };
            Voice::new(&format!("p{number}"), RATE, said).says(Micros(0), 16_000, 1_000)
        };
        let voices: Vec<_> = levels.into_iter().enumerate().map(voice).collect();
        let mixed = mix(&plan(Arrangement::Mix), &voices);
        let sum = |at: usize| -> i32 {
            spans.iter().filter(|(from, length, _)| (*from..from + length).contains(&(at as u64))).map(|s| s.2).sum()
        };
        let sums: Vec<i32> = (0..16_000).map(sum).collect();
        let over: Vec<usize> = (0..16_000).filter(|&at| !(-32_768..=32_767).contains(&sums[at])).collect();
        let first = over.first().copied().unwrap_or(16_000);
        for (at, &sample) in mixed.iter().enumerate() {
            let (sample, sum) = (i32::from(sample), sums[at]);
            prop_assert!(sample.abs() <= sum.abs() && sample.signum() * sum.signum() >= 0, "{sample} of {sum} at {at}");
            prop_assert!(at + 81 > first || sample == sum, "{sample} of {sum} at {at}, long before the first peak");
        }
    }
}
