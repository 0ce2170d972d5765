//! Clocks that are not equally fast.

use proptest::prelude::*;
use reeltime_core::log::{Counting, PacketMeta};
use reeltime_core::render::{Arrangement, Drift, DriftMeter, Plan};
use reeltime_core::time::Micros;
use reeltime_core::timeline::{Layout, Stall, Survey};

use crate::voices::{Item, Voice, clicks, mix, plan};

const RATE: u32 = 8_000;
const HOUR: u64 = 3_600;

/// Someone whose clock is `ppm` slow and who clicks 30 s after each whole minute of true time, for `seconds`;
/// packets are delayed by what `jitter` says.
fn clicking(name: &str, ppm: f64, seconds: u64, jitter: impl Fn(u64) -> u64) -> Voice {
    let true_rate = f64::from(RATE) / (1.0 + ppm / 1e6);
    let click = move |sample: u64| {
        let minute = (sample as f64 / true_rate / 60.0).floor();
        ((minute + 0.5) * 60.0 * true_rate).round() as u64
    };
    let mut voice = Voice::new(name, RATE, move |sample| if sample == click(sample) { 30_000 } else { 0 });
    voice.silent = Some(Box::new(move |from, samples| {
        (from..from + samples)
            .step_by(samples as usize - 1)
            .all(|at| !(from..from + samples).contains(&click(at)))
    }));
    voice.counting = Counting::Arrival;
    let packet = u64::from(RATE) / 10;
    for number in 0..seconds * 10 {
        let end = (number + 1) * packet;
        let sent = (end as f64 / true_rate * 1e6) as u64;
        voice.packet(Micros(sent + jitter(number)), packet);
    }
    voice
}

fn measured(voice: &Voice) -> Option<Drift> {
    let mut meter = DriftMeter::new(voice.format.rate, voice.counting);
    for item in &voice.items {
        if let Item::Packet(meta, _, samples) = item {
            meter.packet(*meta, *samples);
        }
    }
    meter.drift(&voice.layout())
}

/// Up to 60 ms, seldom little, as a network has it.
const fn shaken(seed: u64) -> impl Fn(u64) -> u64 {
    move |number| (number.wrapping_add(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % 60_000
}

#[test]
fn an_hour_with_clocks_apart_ends_together() {
    let mut voices = [clicking("anna", 100.0, HOUR, shaken(1)), clicking("ben", -100.0, HOUR, shaken(9))];
    for voice in &mut voices {
        voice.drift = measured(voice);
    }
    // Both click at once: turned around, so that one can be told from the other, and half a second later.
    let signal = std::mem::replace(&mut voices[1].signal, Box::new(|_, _| 0));
    voices[1].signal = Box::new(move |sample, channel| -signal(sample + 4_000, channel));
    let silent = voices[1].silent.take();
    voices[1].silent = silent.map(|silent| -> Box<dyn Fn(u64, u64) -> bool> {
        Box::new(move |from, samples| silent(from + 4_000, samples))
    });
    let mixed = mix(&plan(Arrangement::Mix), &voices);
    let (up, down): (Vec<_>, Vec<_>) = clicks(&mixed, 9_000).into_iter().partition(|&at| mixed[at] > 0);
    let (left, right) = (up, down.into_iter().map(|at| at + 4_000).collect::<Vec<_>>());
    assert!(left.len() == 60 && right.len() == 60, "{} and {} clicks", left.len(), right.len());
    for (minute, (left, right)) in left.iter().zip(&right).enumerate() {
        let apart = left.abs_diff(*right) as f64 * 1e3 / f64::from(RATE);
        assert!(apart < 65.0, "{apart} ms apart after {minute} minutes");
        // The tracks' starts are apart by their first packets' jitter; from there on they stay so.
        let first = voices.iter().map(|voice| voice.layout().start.0).collect::<Vec<_>>();
        let rest = apart - first[0].abs_diff(first[1]) as f64 / 1e3;
        assert!(rest.abs() < 20.0, "{rest} ms apart after {minute} minutes");
    }
}

/// The click of someone who is away for `away` after each of these packets.
fn interrupted(ppm: f64, after: impl Fn(u64) -> bool, away: Micros) -> Voice {
    let mut voice = clicking("anna", ppm, HOUR, shaken(5));
    let mut late = 0;
    for (number, item) in (0..).zip(&mut voice.items) {
        late += if after(number) { away.0 } else { 0 };
        if let Item::Packet(meta, ..) = item {
            meta.arrival.0 += late;
        }
    }
    voice
}

#[test]
fn an_hour_of_a_slow_clock_is_drift_and_no_gap() {
    for ppm in [-300.0, 200.0, 300.0] {
        let voice = clicking("anna", ppm, HOUR, shaken(5));
        assert_eq!(voice.layout().gaps, [], "{ppm} ppm");
        let found = measured(&voice).map(Drift::ppm).unwrap_or_default();
        assert!((found - ppm).abs() < 3.0, "{found} for {ppm}");
    }
}

#[test]
fn a_stall_of_a_slow_clock_is_a_gap_of_its_own_length() {
    for ppm in [-300.0, 0.0, 300.0] {
        let voice = interrupted(ppm, |number| number == 18_000, Micros::from_secs(10));
        let layout = voice.layout();
        let [gap] = &layout.gaps[..] else { panic!("{ppm} ppm: {:?}", layout.gaps) };
        assert_eq!(gap.at, 18_000 * 800, "{ppm} ppm");
        let wrong = gap.samples.abs_diff(80_000) * 1_000 / u64::from(RATE);
        // Where no clock is known to be off, the jitter of 60 ms decides.
        assert!(wrong <= 60, "{ppm} ppm: {wrong} ms");
        let found = measured(&voice).map_or(0.0, Drift::ppm);
        assert!((found - ppm).abs() < 8.0, "{found} for {ppm}");
    }
}

#[test]
fn lateness_that_is_no_clocks_is_made_up_with_gaps() {
    let voice = interrupted(0.0, |number| number % 3_000 == 2_999, Micros::from_millis(400));
    let layout = voice.layout();
    // 4.8 s in all, of which less than a stall may be left.
    let missing: u64 = layout.gaps.iter().map(|gap| gap.samples).sum();
    assert!((30_000..=38_900).contains(&missing), "{:?}", layout.gaps);
    assert_eq!(measured(&voice), None);
}

#[test]
fn who_follows_a_slow_clock_hears_it_within_a_stall_of_its_time() {
    let voice = clicking("anna", 300.0, HOUR, |_| 0);
    let mut survey = Survey::new(voice.format, voice.counting);
    for item in &voice.items {
        if let Item::Packet(meta, _, samples) = item {
            survey.packet(*meta, *samples);
        }
    }
    assert_eq!(survey.layout().gaps.len(), 1);
    assert_eq!(survey.finish().gaps.len(), 0);
}

#[test]
fn a_track_alone_is_not_corrected() {
    let mut voice = clicking("anna", 250.0, 100, |_| 0);
    voice.drift = measured(&voice);
    assert!(voice.drift.is_some());
    let expected: Vec<i16> = (0..800_000).map(|sample| (voice.signal)(sample, 0)).collect();
    assert_eq!(mix(&plan(Arrangement::Mix), &[voice]), expected);
}

#[test]
fn a_corrected_click_stays_at_its_place() {
    for (ppm, rate) in [(-300.0, RATE), (-21.0, 16_000), (35.0, RATE), (300.0, 16_000)] {
        let click = |sample| if sample % 8_000 == 4_000 { 30_000 } else { 0 };
        let mut anna = Voice::new("anna", RATE, click).says(Micros(0), 160_000, 800);
        anna.drift = Drift::from_ppm(ppm);
        let other = Voice::new("ben", RATE, |_| 0).says(Micros(0), 8_000, 800);
        let mixed = mix(&Plan { rate: Some(rate), ..plan(Arrangement::Mix) }, &[anna, other]);
        let lasts = f64::from(rate) * (1.0 + ppm / 1e6);
        assert!((mixed.len() as f64 - 20.0 * lasts).abs() <= 1.0, "{ppm} ppm: {}", mixed.len());
        let found = clicks(&mixed, 9_000);
        assert_eq!(found.len(), 20, "{ppm} ppm at {rate}");
        for (second, found) in found.iter().enumerate() {
            let at = (second as f64 + 0.5) * lasts;
            assert!((*found as f64 - at).abs() <= 1.0, "{ppm} ppm at {rate}: at {found}, not {at}");
        }
    }
}

#[test]
fn good_clocks_short_tracks_and_uncounted_time_are_left_alone() {
    assert_eq!(measured(&clicking("anna", 10.0, HOUR, shaken(3))), None, "good enough");
    assert_eq!(measured(&clicking("anna", 200.0, 50, |_| 0)), None, "too short");
    assert_eq!(measured(&clicking("anna", 2_000.0, 300, |_| 0)), None, "another rate");
    let mut sent = clicking("anna", 200.0, 600, |_| 0);
    sent.counting = Counting::Samples;
    assert_eq!(measured(&sent), None, "not in real time");
}

#[test]
fn a_change_of_the_network_is_no_drift() {
    assert_eq!(measured(&clicking("anna", 0.0, 600, |number| if number < 3_000 { 0 } else { 90_000 })), None);
}

#[test]
fn time_that_was_inserted_is_no_drift() {
    let mut meter = DriftMeter::new(RATE, Counting::Arrival);
    let layout = Layout { stalls: vec![Stall { before: 800_000, samples: 80_000 }], ..Layout::default() };
    for number in 0..3_000 {
        let count = number * 800;
        let away = if count >= 800_000 { 10_000_000 } else { 0 };
        let arrival = Micros((number as f64 * 100_100.0) as u64 + away);
        meter.packet(PacketMeta { arrival, timestamp: count, sequence: None }, 800);
    }
    // 0.1% would be no clock; without the stall it would be far more still.
    assert_eq!(meter.drift(&layout), None);
    let mut meter = DriftMeter::new(RATE, Counting::Arrival);
    for number in 0..3_000 {
        let count = number * 800;
        let away = if count >= 800_000 { 10_000_000 } else { 0 };
        let arrival = Micros((number as f64 * 100_010.0) as u64 + away);
        meter.packet(PacketMeta { arrival, timestamp: count, sequence: None }, 800);
    }
    assert!((meter.drift(&layout).unwrap().ppm() - 100.0).abs() < 5.0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Through the jitter of a network: to 3 ppm in an hour, which is 11 ms.
    #[test]
    fn a_clock_is_measured_through_jitter(ppm in prop_oneof![-300.0..-25.0, 25.0..300.0_f64], seed: u64) {
        let voice = clicking("anna", ppm, HOUR, shaken(seed));
        let found = measured(&voice).map(Drift::ppm);
        prop_assert!(found.is_some_and(|found| (found - ppm).abs() < 3.0), "{found:?} for {ppm}");
    }
}
