//! Manifests of version 1 are written and read as they always were.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use reeltime_core::id::RecordingId;
use reeltime_core::log::GapReason;
use reeltime_core::manifest::{Manifest, Object, State, Track};
use reeltime_core::media::{Codec, Format};
use reeltime_core::time::{Micros, UtcMicros};
use reeltime_core::timeline::{Counters, Gap, Layout, Mark, Pause, Stall, Turn};

const GOLDEN: &str = include_str!("golden/manifest-v1.json");

fn caller() -> Track {
    Track {
        id: "01890a5d-ac96-774b-bcce-b302099a8001".parse().unwrap(),
        participant: "caller".to_owned(),
        session_id: "01890a5d-ac96-774b-bcce-b302099a8002".parse().unwrap(),
        format: Format { codec: Codec::S16le, rate: 16_000, channels: 1 },
        layout: Layout {
            start: Micros(0),
            samples: 160_000,
            gaps: vec![Gap { at: 16_000, samples: 32_000, reason: GapReason::SilentSource }],
            pauses: vec![Pause { at: 64_000, samples: 8_000, reason: Some("card number".to_owned()) }],
            marks: vec![Mark { at: 96_000, name: "agreed".to_owned() }],
            turns: vec![Turn { at: 100_000, data: serde_json::json!({ "speaker": "agent" }) }],
            stalls: vec![Stall { before: 16_000, samples: 32_000 }],
            lead: 0,
            counters: Counters { packets: 375, media_samples: 120_000, duplicates: 1, ..Counters::default() },
        },
        drift_ppm: None,
        object: Some(Object {
            key: "default/01890a5d-ac96-774b-bcce-b302099a8000/caller.wav".to_owned(),
            bytes: 320_044,
            mime: "audio/wav".to_owned(),
        }),
    }
}

fn agent() -> Track {
    Track {
        id: "01890a5d-ac96-774b-bcce-b302099a8003".parse().unwrap(),
        participant: "agent".to_owned(),
        session_id: "01890a5d-ac96-774b-bcce-b302099a8004".parse().unwrap(),
        format: Format { codec: Codec::Opus, rate: 48_000, channels: 2 },
        layout: Layout { start: Micros(1_500_000), samples: 432_000, lead: 960, ..Layout::default() },
        drift_ppm: None,
        object: None,
    }
}

fn manifest() -> Manifest {
    let epoch = UtcMicros(1_735_786_800_000_000);
    Manifest::new(
        recording(),
        "default",
        Some("call-42".to_owned()),
        State::Complete,
        epoch,
        Some(epoch.plus(Micros(10_500_000))),
        vec![agent(), caller()],
    )
}

fn recording() -> RecordingId {
    "01890a5d-ac96-774b-bcce-b302099a8000".parse().unwrap()
}

#[test]
fn version_1_is_written_as_it_always_was() {
    let written = serde_json::to_string_pretty(&manifest()).unwrap() + "\n";
    assert_eq!(written, GOLDEN, "\n{written}");
}

#[test]
fn version_1_is_read_as_it_always_was() {
    assert_eq!(serde_json::from_str::<Manifest>(GOLDEN).unwrap(), manifest());
}

#[test]
fn what_a_later_version_adds_and_an_earlier_one_lacks_does_no_harm() {
    let text = format!(
        r#"{{"version":1,"id":"{}","tenant":"t","state":"limit_reached","started_at":"","duration_seconds":0,"new":1}}"#,
        recording()
    );
    let read: Manifest = serde_json::from_str(&text).unwrap();
    assert_eq!((read.state, read.tracks, read.call_id), (State::LimitReached, vec![], None));
}

#[test]
fn tracks_stand_in_the_order_they_began_and_the_last_end_counts() {
    let manifest = manifest();
    let participants: Vec<_> = manifest.tracks.iter().map(|track| track.participant.as_str()).collect();
    assert_eq!(participants, ["caller", "agent"]);
    assert!((manifest.duration_seconds - 10.5).abs() < 1e-9);
}

#[test]
fn every_state_has_one_name_everywhere() {
    for state in State::ALL {
        assert_eq!(state.name().parse(), Ok(state));
        assert_eq!(serde_json::to_value(state).unwrap(), state.name());
    }
    assert!("done".parse::<State>().is_err());
    assert!(State::LimitReached.is_final() && !State::Ending.is_final());
}
