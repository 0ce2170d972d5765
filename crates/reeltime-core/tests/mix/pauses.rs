//! Pauses: as silence, or cut out of all tracks together.

use reeltime_core::log::GapReason;
use reeltime_core::render::{Arrangement, Pauses, Plan, Sides};
use reeltime_core::time::Micros;

use crate::voices::{Voice, channel, coded, mix, plan};

const RATE: u32 = 16_000;

/// Says 0..3000, is paused up to 8000, says on up to 12000.
fn paused(name: &str, start: u64) -> Voice {
    Voice::new(name, RATE, coded)
        .says(Micros::from_samples(start, RATE), 3_000, 300)
        .missing(5_000, GapReason::Paused)
        .says(Micros::from_samples(start + 8_000, RATE), 4_000, 300)
}

fn skipping(arrangement: Arrangement) -> Plan {
    Plan { pauses: Pauses::Skip, ..plan(arrangement) }
}

fn said(range: std::ops::Range<u64>) -> Vec<i16> {
    range.map(coded).collect()
}

#[test]
fn a_pause_is_silence_of_its_length() {
    let mixed = mix(&plan(Arrangement::Mix), &[paused("anna", 0)]);
    assert_eq!(mixed, [said(0..3_000), vec![0; 5_000], said(8_000..12_000)].concat());
}

#[test]
fn a_pause_is_cut_out_to_the_sample() {
    let mixed = mix(&skipping(Arrangement::Mix), &[paused("anna", 0)]);
    assert_eq!(mixed, [said(0..3_000), said(8_000..12_000)].concat());
}

#[test]
fn only_where_all_are_paused_is_it_cut_and_all_stay_together() {
    // Ben's pause is 1600 samples later: both are paused from 4600 to 8000.
    let voices = [paused("anna", 0), paused("ben", 1_600)];
    let mixed = mix(&skipping(Arrangement::Stereo(Sides::default())), &voices);
    let whole = mix(&plan(Arrangement::Stereo(Sides::default())), &voices);
    assert_eq!(mixed, [&whole[..2 * 4_600], &whole[2 * 8_000..]].concat());
    assert_eq!(
        channel(&mixed, 2, 1),
        [vec![0; 1_600], said(0..3_000), vec![0; 1_600], said(8_000..12_000)].concat()
    );
}

#[test]
fn a_speaker_who_is_not_there_keeps_no_pause_in() {
    let late = Voice::new("ben", RATE, coded).says(Micros::from_samples(9_000, RATE), 3_000, 300);
    let mixed = mix(&skipping(Arrangement::Stereo(Sides::default())), &[paused("anna", 0), late]);
    assert_eq!(mixed.len(), 2 * 7_000);
    assert_eq!(channel(&mixed, 2, 0), [said(0..3_000), said(8_000..12_000)].concat());
    assert_eq!(channel(&mixed, 2, 1), [vec![0; 4_000], said(0..3_000)].concat());
}

#[test]
fn a_speaker_who_talks_through_the_pause_keeps_it_in() {
    let other = Voice::new("ben", RATE, coded).says(Micros(0), 12_000, 300);
    let mixed = mix(&skipping(Arrangement::Stereo(Sides::default())), &[paused("anna", 0), other]);
    assert_eq!(channel(&mixed, 2, 1), said(0..12_000));
}
