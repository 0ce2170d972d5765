//! What is lost is made up where it can be, and nothing moves.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use reeltime_core::codec::{DecodeError, Decoder};
use reeltime_core::log::{Counting, GapReason};
use reeltime_core::media::Format;
use reeltime_core::render::{Arrangement, Run, TrackPcm};
use reeltime_core::time::Micros;

use crate::voices::{Item, Pcm, Voice, coded, mix, plan};

const RATE: u32 = 16_000;
const FRAME: u64 = 320;

/// What a decoder was asked, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Packet(i16),
    /// How much, and the first sample of the packet behind it.
    Conceal(u64, Option<i16>),
    Reset,
}

struct Witness {
    pcm: Pcm,
    asked: Arc<Mutex<Vec<Asked>>>,
}

fn first(payload: &[u8]) -> i16 {
    i16::from_le_bytes([payload[0], payload[1]])
}

impl Witness {
    fn note(&self, asked: Asked) {
        self.asked.lock().unwrap().push(asked);
    }
}

impl Decoder for Witness {
    fn rate(&self) -> u32 {
        self.pcm.rate()
    }
    fn channels(&self) -> u8 {
        self.pcm.channels()
    }
    fn packet(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<u64, DecodeError> {
        self.note(Asked::Packet(first(payload)));
        if first(payload) == i16::MAX {
            out.push(1);
            return Err(DecodeError("not a packet".into()));
        }
        self.pcm.packet(payload, out)
    }
    fn conceal(&mut self, samples: u64, next: Option<&[u8]>, out: &mut Vec<i16>) {
        self.note(Asked::Conceal(samples, next.map(first)));
        self.pcm.conceal(samples, next, out);
    }
    fn reset(&mut self) {
        self.note(Asked::Reset);
    }
}

/// Reads a track in steps of `step`; the samples and what its decoder was asked.
fn read(voice: &Voice, step: u64, seek: u64) -> (Vec<i16>, Vec<Asked>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let pcm = Pcm { format: voice.format, concealed: 1_000 };
    let layout = voice.layout();
    let decoder = Box::new(Witness { pcm, asked: Arc::clone(&asked) });
    let mut track = TrackPcm::new(voice.format, voice.counting, &layout, decoder);
    track.seek(seek);
    let (mut out, mut items, mut left) = (Vec::new(), voice.items.iter(), layout.samples - seek);
    while left > 0 {
        let wanted = left.min(step);
        while track.available() < wanted {
            match items.next() {
                Some(Item::Packet(meta, from, samples)) => track.push(*meta, &voice.payload(*from, *samples)),
                Some(Item::Event(..)) => {}
                None => track.end(),
            }
        }
        track.read(wanted, |run| match run {
            Run::Samples(samples) => out.extend_from_slice(samples),
            Run::Silence(samples) => out.resize(out.len() + samples as usize, 0),
        });
        left -= wanted;
    }
    let asked = asked.lock().unwrap().clone();
    (out, asked)
}

/// Sends frames with sequence numbers; those of `lost` never come.
fn with_loss(frames: u64, lost: impl Fn(u64) -> bool) -> Voice {
    let mut voice = Voice::new("anna", RATE, coded);
    voice.counting = Counting::Timestamps;
    for frame in 0..frames {
        if lost(frame) {
            voice.loses(FRAME);
        } else {
            voice.packet(Micros::from_samples((frame + 1) * FRAME, RATE), FRAME);
        }
    }
    voice
}

#[test]
fn a_short_loss_is_concealed_with_the_packet_behind_it() {
    let (heard, asked) = read(&with_loss(20, |frame| frame == 5 || frame == 6), 100, 0);
    let at = |frame: u64| (frame * FRAME) as usize;
    assert_eq!(heard[..at(5)], (0..5 * FRAME).map(coded).collect::<Vec<_>>());
    assert!(heard[at(5)..at(7)].iter().all(|&sample| sample == 1_000));
    assert_eq!(heard[at(7)..], (7 * FRAME..20 * FRAME).map(coded).collect::<Vec<_>>());
    let behind = coded(7 * FRAME);
    assert_eq!(asked[5..7], [Asked::Conceal(2 * FRAME, Some(behind)), Asked::Packet(behind)]);
}

#[test]
fn a_long_loss_fades_into_silence() {
    let (heard, asked) = read(&with_loss(60, |frame| (10..40).contains(&frame)), 999, 0);
    let lost = &heard[10 * 320..40 * 320];
    // 120 ms, the last 40 of them fading.
    assert!(lost[..1_280].iter().all(|&sample| sample == 1_000));
    assert!(lost[1_280..1_920].is_sorted_by(|a, b| a >= b));
    assert_eq!(lost[1_919], 0);
    assert!(lost[1_920..].iter().all(|&sample| sample == 0));
    assert_eq!(heard[40 * 320], coded(40 * FRAME));
    assert!(asked.contains(&Asked::Conceal(1_920, None)) && !asked.contains(&Asked::Reset));
}

#[test]
fn other_gaps_are_silent_and_the_decoder_forgets() {
    for reason in [GapReason::Disconnected, GapReason::Paused, GapReason::Overflow] {
        let voice = Voice::new("anna", RATE, coded)
            .says(Micros(0), 3 * FRAME, FRAME)
            .missing(500, reason)
            .says(Micros::from_secs(1), FRAME, FRAME);
        let (heard, asked) = read(&voice, 64, 0);
        assert!(heard[960..1_460].iter().all(|&sample| sample == 0), "{reason:?}");
        assert_eq!(asked[3..], [Asked::Reset, Asked::Packet(coded(1_460))], "{reason:?}");
    }
}

#[test]
fn the_codecs_own_silence_is_neither_concealed_nor_forgotten() {
    let mut voice = with_loss(3, |_| false);
    let mut later = with_loss(20, |frame| frame < 10);
    for (number, item) in later.items.iter_mut().enumerate() {
        if let Item::Packet(meta, ..) = item {
            meta.sequence = Some(3 + number as u64);
        }
    }
    voice.items.append(&mut later.items);
    let (heard, asked) = read(&voice, 1_000, 0);
    assert!(heard[960..3_200].iter().all(|&sample| sample == 0));
    assert!(asked.iter().all(|asked| matches!(asked, Asked::Packet(_))));
}

#[test]
fn a_packet_that_cannot_be_decoded_is_concealed_at_its_length() {
    let mut voice = with_loss(6, |_| false);
    voice.signal = Box::new(|sample, _| if (640..960).contains(&sample) { i16::MAX } else { coded(sample) });
    let (heard, _) = read(&voice, 320, 0);
    assert!(heard[640..960].iter().all(|&sample| sample == 1_000));
    assert_eq!(heard[960..], (960..1_920).map(coded).collect::<Vec<_>>());
}

#[test]
fn seeking_decodes_no_more_than_a_preroll_before() {
    let voice = with_loss(500, |frame| frame == 100);
    let (whole, _) = read(&voice, 4_000, 0);
    let (part, asked) = read(&voice, 700, 300 * FRAME + 11);
    assert_eq!(part, whole[300 * 320 + 11..]);
    assert_eq!(asked[0], Asked::Packet(coded(296 * FRAME)), "80 ms before");
}

#[test]
fn a_source_that_lies_about_its_length_moves_nothing() {
    struct Liar(Format);
    impl Decoder for Liar {
        fn rate(&self) -> u32 {
            self.0.rate
        }
        fn channels(&self) -> u8 {
            1
        }
        fn packet(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<u64, DecodeError> {
            let length = if first(payload) % 2 == 0 { 7 } else { 5_000 };
            out.resize(out.len() + length, first(payload));
            Ok(length as u64)
        }
        fn conceal(&mut self, _: u64, _: Option<&[u8]>, out: &mut Vec<i16>) {
            out.extend_from_slice(&[5; 3]);
        }
        fn reset(&mut self) {}
    }
    let voice = with_loss(50, |frame| frame % 7 == 3);
    let mut track =
        TrackPcm::new(voice.format, voice.counting, &voice.layout(), Box::new(Liar(voice.format)));
    for item in &voice.items {
        if let Item::Packet(meta, from, samples) = item {
            track.push(*meta, &voice.payload(*from, *samples));
        }
    }
    track.end();
    let mut out = Vec::new();
    track.read(voice.layout().samples, |run| match run {
        Run::Samples(samples) => out.extend_from_slice(samples),
        Run::Silence(samples) => out.resize(out.len() + samples as usize, 0),
    });
    for (frame, heard) in out.chunks(320).enumerate().filter(|(frame, _)| frame % 7 != 3) {
        assert_eq!(heard[0], coded(frame as u64 * FRAME), "frame {frame} begins at its place");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// At any loss up to a tenth, whatever the steps: what came is where it belongs, what did not is concealed.
    #[test]
    fn loss_moves_nothing(lost in prop::collection::btree_set(1_u64..199, 0..20), step in 1_u64..3_000) {
        let voice = with_loss(200, |frame| lost.contains(&frame));
        let (heard, _) = read(&voice, step, 0);
        prop_assert_eq!(heard.len(), 200 * 320);
        for (frame, samples) in heard.chunks(320).enumerate() {
            let frame = frame as u64;
            if lost.contains(&frame) {
                prop_assert!(samples[0] != 0, "frame {frame} is concealed");
            } else {
                let said = (frame * FRAME..(frame + 1) * FRAME).map(coded);
                prop_assert!(samples.iter().copied().eq(said), "frame {frame} is where it belongs");
            }
        }
    }
}

#[test]
fn a_mix_goes_through_the_same_door() {
    let mixed = mix(&plan(Arrangement::Mix), &[with_loss(20, |frame| frame == 5)]);
    assert_eq!(mixed.len(), 6_400);
    assert_eq!(mixed[6 * 320..], (6 * FRAME..20 * FRAME).map(coded).collect::<Vec<_>>());
}
