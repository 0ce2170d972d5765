//! Who is heard where, and when.

use reeltime_core::log::GapReason;
use reeltime_core::render::{Arrangement, MixError, MixRenderer, Plan, Sides};
use reeltime_core::time::Micros;

use crate::voices::{Capture, Item, Voice, channel, coded, mix, mix_by, mixer, plan};

const RATE: u32 = 16_000;

fn anna() -> Voice {
    Voice::new("anna", RATE, coded).says(Micros(0), 40_000, 320)
}

/// Joins 700 ms after the start, for a second.
fn ben() -> Voice {
    Voice::new("ben", RATE, |sample| coded(sample + 5_000)).says(Micros::from_millis(700), 16_000, 480)
}

const BEN_AT: usize = 11_200;

fn ben_heard(index: usize) -> i32 {
    let said = index.checked_sub(BEN_AT).filter(|&at| at < 16_000);
    said.map_or(0, |at| i32::from(coded(at as u64 + 5_000)))
}

#[test]
fn a_mix_is_the_sum_of_its_speakers_each_at_its_place() {
    let mixed = mix(&plan(Arrangement::Mix), &[anna(), ben()]);
    assert_eq!(mixed.len(), 40_000);
    for (index, &sample) in mixed.iter().enumerate() {
        let sum = i32::from(coded(index as u64)) + ben_heard(index);
        assert_eq!(i32::from(sample), sum, "sample {index}");
    }
}

#[test]
fn stereo_keeps_a_speaker_a_side_bit_for_bit() {
    let mixed = mix(&plan(Arrangement::Stereo(Sides::default())), &[anna(), ben()]);
    let (left, right) = (channel(&mixed, 2, 0), channel(&mixed, 2, 1));
    assert!(left.iter().enumerate().all(|(index, &sample)| sample == coded(index as u64)));
    assert!(right.iter().enumerate().all(|(index, &sample)| i32::from(sample) == ben_heard(index)));
}

#[test]
fn who_is_asked_to_the_left_is_heard_there() {
    let sides = Sides { left: vec!["ben".into()], right: Vec::new() };
    let mixed = mix(&plan(Arrangement::Stereo(sides)), &[anna(), ben()]);
    let left = channel(&mixed, 2, 0);
    assert!(left.iter().enumerate().all(|(index, &sample)| i32::from(sample) == ben_heard(index)));
}

#[test]
fn all_sessions_of_a_participant_sit_at_one_place() {
    let back = Voice::new("anna", RATE, coded).says(Micros::from_secs(3), 1_600, 320);
    let mixed = mix(&plan(Arrangement::Stereo(Sides::default())), &[ben(), anna(), back]);
    let (left, right) = (channel(&mixed, 2, 0), channel(&mixed, 2, 1));
    assert_eq!(left[48_000..49_600], (0..1_600).map(coded).collect::<Vec<_>>());
    assert!(right[40_000..].iter().all(|&sample| sample == 0));
}

#[test]
fn a_participant_alone_is_bit_for_bit_from_its_first_sample() {
    let mixed = mix(&plan(Arrangement::Participant("ben".into())), &[anna(), ben()]);
    assert_eq!(mixed, (0..16_000).map(|sample| coded(sample + 5_000)).collect::<Vec<_>>());
}

#[test]
fn a_participant_alone_can_stand_on_the_recordings_clock() {
    let asked = Plan { origin: Some(Micros(0)), ..plan(Arrangement::Participant("ben".into())) };
    let mixed = mix(&asked, &[anna(), ben()]);
    assert_eq!(mixed.len(), BEN_AT + 16_000);
    assert!(mixed.iter().enumerate().all(|(index, &sample)| i32::from(sample) == ben_heard(index)));
}

#[test]
fn the_least_sample_passes_too() {
    let voice = || Voice::new("anna", RATE, |_| i16::MIN).says(Micros(0), 5_000, 320);
    for arrangement in [Arrangement::Mix, Arrangement::Participant("anna".into()), Arrangement::Tracks] {
        assert_eq!(mix(&plan(arrangement), &[voice()]), vec![i16::MIN; 5_000]);
    }
}

#[test]
fn one_stereo_track_keeps_its_channels_and_is_their_mean_in_a_mix() {
    let voice =
        || {
            Voice::with_channels("anna", RATE, 2, |sample, channel| coded(sample) / 4 * [2, -1][channel])
                .says(Micros(0), 4_000, 160)
        };
    let expected: Vec<_> = (0..4_000).flat_map(|at| [coded(at) / 4 * 2, -(coded(at) / 4)]).collect();
    for arrangement in
        [Arrangement::Stereo(Sides::default()), Arrangement::Participant("anna".into()), Arrangement::Tracks]
    {
        assert_eq!(mix(&plan(arrangement), &[voice()]), expected);
    }
    let mixed = mix(&plan(Arrangement::Mix), &[voice()]);
    for (at, &sample) in mixed.iter().enumerate() {
        let mean = f64::from(coded(at as u64) / 4) / 2.0;
        assert!((f64::from(sample) - mean).abs() <= 0.5, "sample {at}: {sample} is not {mean}");
    }
}

#[test]
fn every_channel_of_every_track_has_its_own() {
    let stereo = Voice::with_channels("carl", RATE, 2, |sample, channel| coded(sample) / [1, 3][channel])
        .says(Micros::from_secs(1), 8_000, 320);
    let mixed = mix(&plan(Arrangement::Tracks), &[stereo, anna(), ben()]);
    // In the order they began: anna, ben, carl.
    let at = |channel: usize, index: usize| i32::from(mixed[index * 4 + channel]);
    for index in 0..40_000_usize {
        let carl = index.checked_sub(16_000).filter(|&at| at < 8_000).map_or(0, |at| coded(at as u64));
        assert_eq!(at(0, index), i32::from(coded(index as u64)), "anna at {index}");
        assert_eq!(at(1, index), ben_heard(index), "ben at {index}");
        assert_eq!((at(2, index), at(3, index)), (i32::from(carl), i32::from(carl / 3)), "carl at {index}");
    }
}

#[test]
fn gaps_are_silent_and_move_nothing() {
    let voice = Voice::new("anna", RATE, coded)
        .says(Micros(0), 3_000, 300)
        .missing(2_000, GapReason::Disconnected)
        .says(Micros::from_millis(400), 3_000, 300);
    let mixed = mix(&plan(Arrangement::Mix), &[voice, ben()]);
    let said = |index: u64| if (3_000..5_000).contains(&index) { 0 } else { coded(index) };
    assert!(mixed[..8_000].iter().enumerate().all(|(index, &sample)| sample == said(index as u64)));
}

#[test]
fn how_packets_are_pushed_changes_nothing() {
    let voices = [anna(), ben()];
    let asked = Plan { rate: Some(44_100), ..plan(Arrangement::Mix) };
    let whole = mix(&asked, &voices);
    for batch in [2, 7, 1_000] {
        assert_eq!(mix_by(&asked, &voices, batch, |_| {}), whole, "{batch} at once");
    }
}

#[test]
fn how_a_track_is_cut_into_packets_changes_nothing() {
    let cut = |packet| {
        let voice = |name, at| Voice::new(name, 8_000, coded).says(Micros::from_millis(at), 20_000, packet);
        mix(&Plan { rate: Some(16_000), ..plan(Arrangement::Mix) }, &[voice("anna", 0), voice("ben", 130)])
    };
    let whole = cut(20_000);
    for packet in [1, 80, 333, 1_600] {
        assert_eq!(cut(packet), whole, "packets of {packet}");
    }
}

#[test]
fn an_encoder_gets_head_samples_and_tail() {
    let voices = [Voice::new("anna", RATE, coded).says(Micros(0), 3_210, 320)];
    let mixer = mixer(&plan(Arrangement::Mix), &voices).unwrap();
    assert_eq!((mixer.spec().rate, mixer.spec().channels, mixer.spec().samples), (RATE, 1, Some(3_210)));
    let mut renderer = MixRenderer::new(mixer, Box::new(Capture));
    let (mut out, mut heard) = (Vec::new(), Vec::new());
    let mut items = voices[0].items.iter();
    while renderer.step(&mut out).unwrap() {
        heard.extend_from_slice(renderer.samples());
        match items.next() {
            Some(Item::Packet(meta, from, samples)) => {
                renderer.mixer().push(0, *meta, &voices[0].payload(*from, *samples));
            }
            _ => renderer.mixer().end(0),
        }
    }
    let samples: Vec<u8> = (0..3_210).flat_map(|sample| coded(sample).to_le_bytes()).collect();
    assert_eq!(out, [&b"HEAD"[..], &samples, b"TAIL"].concat());
    assert_eq!(heard, (0..3_210).map(coded).collect::<Vec<_>>());
    assert_eq!(renderer.head().as_deref(), Some(&b"head"[..]));
}

#[test]
fn what_cannot_be_made_is_said() {
    let asked = |arrangement, voices: &[Voice]| mixer(&plan(arrangement), voices).map(|_| ());
    assert_eq!(asked(Arrangement::Mix, &[]), Err(MixError::NoTracks));
    let known = vec!["anna".to_owned(), "ben".to_owned()];
    assert_eq!(
        asked(Arrangement::Participant("carl".into()), &[ben(), anna(), ben()]),
        Err(MixError::Participant { asked: "carl".into(), known })
    );
    let many: Vec<_> = (0..256).map(|_| Voice::new("anna", RATE, coded).says(Micros(0), 10, 10)).collect();
    assert_eq!(asked(Arrangement::Tracks, &many), Err(MixError::Channels(256)));
    let mut loud = anna();
    loud.gain = f32::NAN;
    assert!(matches!(asked(Arrangement::Mix, &[loud]), Err(MixError::Gain(_))));
    let rate = Plan { rate: Some(7_999), ..plan(Arrangement::Mix) };
    assert_eq!(mixer(&rate, &[anna()]).map(|_| ()), Err(MixError::Rate(7_999)));
}
