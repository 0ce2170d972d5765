//! A part of a mix is that part of the whole.

use proptest::prelude::*;
use reeltime_core::log::GapReason;
use reeltime_core::render::{Arrangement, Drift, Pauses, Plan, Sides};
use reeltime_core::time::Micros;

use crate::voices::{Voice, coded, mix, plan, tone};

fn voices(loud: f64) -> Vec<Voice> {
    let anna = Voice::new("anna", 8_000, tone(310.0, 8_000, loud))
        .says(Micros(0), 12_000, 160)
        .missing(3_000, GapReason::Paused)
        .says(Micros::from_millis(1_875), 20_000, 160);
    let ben = Voice::new("ben", 16_000, coded).says(Micros::from_millis(333), 70_000, 320);
    let carl =
        Voice::new("carl", 44_100, tone(777.0, 44_100, loud)).says(Micros::from_millis(1_234), 99_999, 441);
    vec![anna, ben, carl]
}

fn slice(whole: &[i16], channels: usize, range: &std::ops::Range<u64>) -> Vec<i16> {
    let end = whole.len() / channels;
    let clamp = |at: u64| (at as usize).min(end) * channels;
    whole[clamp(range.start)..clamp(range.end)].to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bit for bit, through resamplers and a limiter at work.
    #[test]
    fn any_range_is_the_slice_of_the_whole(
        from in 0_u64..240_000, length in 0_u64..60_000, stereo: bool, loud: bool, skip: bool,
    ) {
        let arrangement = if stereo { Arrangement::Stereo(Sides::default()) } else { Arrangement::Mix };
        let pauses = if skip { Pauses::Skip } else { Pauses::Silence };
        let asked = Plan { pauses, ..plan(arrangement) };
        let voices = voices(if loud { 1.0 } else { 0.3 });
        let whole = mix(&asked, &voices);
        let range = from..from + length;
        let part = mix(&Plan { range: Some(range.clone()), ..asked }, &voices);
        prop_assert!(part == slice(&whole, 1 + usize::from(stereo), &range), "{range:?} differs");
    }
}

#[test]
fn a_range_with_a_corrected_clock_is_the_slice_within_one_bit() {
    let voices = || {
        let mut voices = voices(0.3);
        voices[2].drift = Drift::from_ppm(-287.0);
        voices[1].drift = Drift::from_ppm(150.0);
        voices
    };
    let whole = mix(&plan(Arrangement::Mix), &voices());
    for range in [0..1_000, 30_001..60_000, 100_000..100_001, 150_000..200_000] {
        let part = mix(&Plan { range: Some(range.clone()), ..plan(Arrangement::Mix) }, &voices());
        let expected = slice(&whole, 1, &range);
        assert_eq!(part.len(), expected.len(), "{range:?}");
        let worst = part.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(1), "{range:?} is off by {worst:?}");
    }
}

#[test]
fn a_range_without_samples_is_empty() {
    for range in [5_u64..5, 10_000_000..10_000_100] {
        assert!(mix(&Plan { range: Some(range), ..plan(Arrangement::Mix) }, &voices(0.3)).is_empty());
    }
}
