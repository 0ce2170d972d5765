//! Different rates in one call: nothing moves, nothing changes its pitch, and no more is held than is needed.

use reeltime_core::render::{Arrangement, Plan, Sides};
use reeltime_core::time::Micros;

use crate::voices::{Voice, channel, clicks, coded, mix, mix_by, plan, strength, tone};

const RATES: [u32; 5] = [8_000, 16_000, 24_000, 44_100, 48_000];

#[test]
fn a_click_stays_where_it_is_between_any_two_rates() {
    for from in RATES {
        for to in RATES {
            // Each second, and at a place of no particular roundness.
            let at = [u64::from(from) / 3, u64::from(from) + 7, 2 * u64::from(from)];
            let voice = Voice::new("anna", from, move |sample| if at.contains(&sample) { 30_000 } else { 0 })
                .says(Micros(0), 3 * u64::from(from), 160);
            let mixed = mix(&Plan { rate: Some(to), ..plan(Arrangement::Mix) }, &[voice]);
            assert_eq!(mixed.len(), 3 * to as usize, "{from} to {to}");
            let level = (12_000.0 * (f64::from(to) / f64::from(from)).min(1.0)) as i16;
            let found = clicks(&mixed, level);
            assert_eq!(found.len(), 3, "{from} to {to}: {found:?}");
            for (found, at) in found.iter().zip(at) {
                let expected = at as f64 * f64::from(to) / f64::from(from);
                assert!(
                    (*found as f64 - expected).abs() <= 1.0,
                    "{from} to {to}: at {found}, not {expected}"
                );
            }
        }
    }
}

#[test]
fn lengths_are_rounded_once_and_exactly() {
    for (from, to, samples) in
        [(44_100, 16_000, 44_101_u64), (8_000, 44_100, 1), (48_000, 8_000, 3), (44_101, 48_000, 777)]
    {
        let voice = Voice::new("anna", from, coded).says(Micros(0), samples, 160);
        let mixed = mix(&Plan { rate: Some(to), ..plan(Arrangement::Mix) }, &[voice]);
        let exact = (samples as f64 * f64::from(to) / f64::from(from)).round() as usize;
        assert_eq!(mixed.len(), exact, "{samples} from {from} to {to}");
    }
}

#[test]
fn speakers_of_all_rates_are_heard_at_the_highest_each_with_its_tone_and_time() {
    let voice = |(number, rate): (usize, u32)| {
        let hertz = 400.0 + 300.0 * number as f64;
        let start = Micros::from_millis(500 * number as u64);
        Voice::new(&format!("p{number}"), rate, tone(hertz, rate, 0.15)).says(start, u64::from(rate), 160)
    };
    let voices: Vec<_> = RATES.into_iter().enumerate().map(voice).collect();
    let mixed = mix(&plan(Arrangement::Mix), &voices);
    assert_eq!(mixed.len(), 48_000 * 3, "the last one begins at 2 s");
    for number in 0..RATES.len() {
        let hertz = 400.0 + 300.0 * number as f64;
        for half in 0..6 {
            // Clear of the edges, where a filter rings.
            let part = &mixed[half * 24_000 + 2_400..(half + 1) * 24_000 - 2_400];
            let level = strength(part, hertz, 48_000);
            let speaks = (number..number + 2).contains(&half);
            let fits = if speaks { (0.145..0.155).contains(&level) } else { level < 0.002 };
            assert!(fits, "speaker {number} in half second {half}: {level}");
        }
    }
}

#[test]
fn a_resampled_tone_is_the_tone() {
    for (from, to) in [(8_000, 16_000), (44_100, 48_000), (48_000, 16_000)] {
        let voice = Voice::new("anna", from, tone(1_000.0, from, 0.5)).says(Micros(0), u64::from(from), 160);
        let mixed = mix(&Plan { rate: Some(to), ..plan(Arrangement::Mix) }, &[voice]);
        let expected = tone(1_000.0, to, 0.5);
        let middle = to as usize / 10..to as usize * 9 / 10;
        let worst = middle.map(|at| mixed[at].abs_diff(expected(at as u64))).max().unwrap();
        assert!(worst <= 2, "{from} to {to}: off by {worst}");
    }
}

#[test]
fn a_stereo_track_is_resampled_channel_by_channel() {
    let voice = Voice::with_channels("anna", 8_000, 2, |sample, channel| {
        tone([400.0, 900.0][channel], 8_000, 0.4)(sample)
    });
    let asked = Plan { rate: Some(48_000), ..plan(Arrangement::Stereo(Sides::default())) };
    let mixed = mix(&asked, &[voice.says(Micros(0), 16_000, 160)]);
    for side in 0..2 {
        let heard = &channel(&mixed, 2, side)[9_600..86_400];
        let levels = [400.0, 900.0].map(|hertz| strength(heard, hertz, 48_000));
        assert!((levels[side] - 0.4).abs() < 0.01 && levels[1 - side] < 0.001, "side {side}: {levels:?}");
    }
}

#[test]
fn memory_is_bounded_whatever_the_length_of_a_call_or_a_gap() {
    let voices: Vec<_> = RATES
        .into_iter()
        .enumerate()
        .map(|(number, rate)| {
            let voice = Voice::new(&format!("p{number}"), rate, |sample| (sample % 100) as i16);
            let second = u64::from(rate);
            let voice = voice.says(Micros(0), 3 * second, second / 50);
            voice.missing(40 * second, reeltime_core::log::GapReason::Disconnected).says(
                Micros::from_secs(43),
                3 * second,
                second / 50,
            )
        })
        .collect();
    let mut most = 0;
    let mixed = mix_by(&plan(Arrangement::Mix), &voices, 1, |mixer| most = most.max(mixer.held()));
    assert_eq!(mixed.len(), 46 * 48_000);
    // A block, a packet and a unit of each resampler come to some thousand samples a track.
    assert!(most < voices.len() * 40_000, "{most} samples are held");
}
