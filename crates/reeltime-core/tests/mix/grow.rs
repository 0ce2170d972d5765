//! A mix that is made while its call goes on knows whether it is the one that is made at the end.

use proptest::prelude::*;
use reeltime_core::codec::{DecodeError, Decoder};
use reeltime_core::log::{Counting, GapReason};
use reeltime_core::media::Format;
use reeltime_core::render::{Arrangement, Mixer, Need, Plan, TrackInput};
use reeltime_core::time::Micros;
use reeltime_core::timeline::{Layout, Survey};

use crate::voices::{Item, Voice, coded, plan};

const RATE: u32 = 16_000;
const FRAME: u64 = 320;
const HORIZON: u64 = 5_000_000;

/// A decoder with a memory: every sample depends on all before it, back to the last reset.
struct Remembering {
    format: Format,
    memory: i16,
}

impl Remembering {
    fn boxed(format: Format) -> Box<dyn Decoder> {
        Box::new(Self { format, memory: 0 })
    }
}

impl Decoder for Remembering {
    fn rate(&self) -> u32 {
        self.format.rate
    }
    fn channels(&self) -> u8 {
        1
    }
    fn packet(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<u64, DecodeError> {
        for bytes in payload.chunks_exact(2) {
            self.memory = self.memory.wrapping_mul(3) / 7 + i16::from_le_bytes([bytes[0], bytes[1]]) / 3;
            out.push(self.memory);
        }
        Ok(payload.len() as u64 / 2)
    }
    fn conceal(&mut self, samples: u64, next: Option<&[u8]>, out: &mut Vec<i16>) {
        self.memory = self.memory.wrapping_add(next.map_or(77, |next| i16::from(next[0])));
        out.resize(out.len() + samples as usize, self.memory);
    }
    fn reset(&mut self) {
        self.memory = 0;
    }
}

/// What a speaker does next.
#[derive(Clone, Copy, Debug)]
enum Does {
    /// Speaks for so many frames, in time.
    Speaks(u64),
    /// Says nothing for so many frames, and its source counts on.
    IsSilent(u64),
    /// Frames are lost.
    Loses(u64),
    /// Frames are missing for a reason that is known.
    Misses(u64, GapReason),
    /// Nothing comes for so many frames; then all of it does, at once.
    IsLate(u64),
    /// Nothing is counted for so many frames.
    Stalls(u64),
    /// Nothing comes for so many frames, then twice as much as in time until that is made up.
    CatchesUp(u64),
}

fn voice(name: &str, counting: Counting, acts: &[Does]) -> Voice {
    let mut voice = Voice::new(name, RATE, coded);
    voice.counting = counting;
    let frame = Micros::from_samples(FRAME, RATE).0;
    let mut now = 100_000;
    for act in acts {
        match *act {
            Does::Speaks(frames) => {
                for _ in 0..frames {
                    now += frame;
                    voice.packet(Micros(now), FRAME);
                }
            }
            Does::IsSilent(frames) if counting == Counting::Timestamps => {
                now += frame * frames;
                voice = voice.silent_for(frames * FRAME);
            }
            Does::Loses(frames) if counting == Counting::Timestamps => {
                now += frame * frames;
                (0..frames).for_each(|_| voice.loses(FRAME));
            }
            Does::IsSilent(frames) | Does::Loses(frames) | Does::Stalls(frames) => now += frame * frames,
            Does::Misses(frames, reason) => {
                now += frame * frames;
                voice = voice.missing_at(Micros(now), frames * FRAME, reason);
            }
            Does::CatchesUp(frames) => {
                now += frame * frames;
                for _ in 0..2 * frames {
                    now += frame / 2;
                    voice.packet(Micros(now), FRAME);
                }
            }
            Does::IsLate(frames) => {
                now += frame * frames;
                (0..frames).for_each(|_| voice.packet(Micros(now), FRAME));
            }
        }
    }
    voice
}

fn arrival(item: &Item) -> Micros {
    match item {
        Item::Packet(meta, ..) => meta.arrival,
        Item::Event(arrival, _) => *arrival,
    }
}

fn end(layout: &Layout) -> u64 {
    layout.start.0 + Micros::from_samples(layout.samples, RATE).0
}

fn input(voice: &Voice, layout: Layout) -> TrackInput {
    TrackInput { layout, ..voice.input(Remembering::boxed(voice.format)) }
}

/// Mixes what can be.
fn run(mixer: &mut Mixer, voices: &[Voice], known: &[usize], pushed: &mut [usize], out: &mut Vec<i16>) {
    loop {
        match mixer.needs().unwrap() {
            Need::Packet(track) if pushed[track] == voices[track].items.len() => mixer.end(track),
            Need::Packet(track) if pushed[track] == known[track] => return,
            Need::Packet(track) => {
                if let Item::Packet(meta, from, samples) = &voices[track].items[pushed[track]] {
                    mixer.push(track, *meta, &voices[track].payload(*from, *samples));
                }
                pushed[track] += 1;
            }
            Need::Step => mixer.step(out),
            Need::Extend | Need::Done => return,
        }
    }
}

/// A track's log as it grows.
struct Growing<'a> {
    voice: &'a Voice,
    survey: Survey,
    known: usize,
}

impl<'a> Growing<'a> {
    fn new(voice: &'a Voice) -> Self {
        Self { voice, survey: Survey::new(voice.format, voice.counting), known: 0 }
    }

    /// Its layout when all is known that had arrived by `now`.
    fn layout(&mut self, now: u64) -> Layout {
        while let Some(item) = self.voice.items.get(self.known).filter(|item| arrival(item).0 <= now) {
            match item {
                Item::Packet(meta, _, samples) => self.survey.packet(*meta, *samples),
                Item::Event(arrival, event) => self.survey.event(*arrival, event),
            }
            self.known += 1;
        }
        self.survey.layout()
    }
}

/// The mix that is made each `beat` microseconds, and whether it says that it is the one made at the end.
fn grown(asked: &Plan, voices: &[Voice], beat: u64) -> (Vec<i16>, bool) {
    let first = voices.iter().map(|voice| arrival(&voice.items[0]).0).max().unwrap();
    let over = voices.iter().map(|voice| arrival(voice.items.last().unwrap()).0).max().unwrap();
    let mut logs: Vec<_> = voices.iter().map(Growing::new).collect();
    let inputs = logs.iter_mut().map(|log| input(log.voice, log.layout(first))).collect();
    let mut mixer = Mixer::new(Plan { open: true, ..asked.clone() }, inputs).unwrap();
    let (mut out, mut pushed) = (Vec::new(), vec![0; voices.len()]);
    for now in (first..over).step_by(beat as usize) {
        let layouts: Vec<_> = logs.iter_mut().map(|log| log.layout(now)).collect();
        let latest = layouts.iter().map(end).max().unwrap();
        let passed = now.saturating_sub(HORIZON).min(latest.saturating_sub(1_000));
        for (track, layout) in layouts.iter().enumerate() {
            mixer.extend(track, layout);
            mixer.pass_to(track, Micros(passed));
        }
        let known: Vec<_> = logs.iter().map(|log| log.known).collect();
        run(&mut mixer, voices, &known, &mut pushed, &mut out);
    }
    for (track, voice) in voices.iter().enumerate() {
        mixer.extend(track, &voice.layout());
        mixer.close(track);
    }
    let known: Vec<_> = voices.iter().map(|voice| voice.items.len()).collect();
    run(&mut mixer, voices, &known, &mut pushed, &mut out);
    assert_eq!(mixer.needs().unwrap(), Need::Done);
    (out, mixer.is_steady())
}

fn made(asked: &Plan, voices: &[Voice]) -> Vec<i16> {
    let inputs = voices.iter().map(|voice| input(voice, voice.layout())).collect();
    let mut mixer = Mixer::new(asked.clone(), inputs).unwrap();
    let known: Vec<_> = voices.iter().map(|voice| voice.items.len()).collect();
    let (mut out, mut pushed) = (Vec::new(), vec![0; voices.len()]);
    run(&mut mixer, voices, &known, &mut pushed, &mut out);
    out
}

fn check(counting: Counting, acts: &[Does]) -> bool {
    let asked = plan(Arrangement::Mix);
    let voices = [voice("anna", Counting::Samples, &[Does::Speaks(1_500)]), voice("ben", counting, acts)];
    let (out, steady) = grown(&asked, &voices, 250_000);
    assert!(!steady || out == made(&asked, &voices), "it says so and is not");
    steady
}

#[test]
fn silences_gaps_and_pauses_leave_it_what_it_is() {
    use Does::{IsLate, IsSilent, Loses, Misses, Speaks};
    let around = |act| [Speaks(200), act, Speaks(300), act, Speaks(100)];
    for frames in [1, 100, 400] {
        for reason in
            [GapReason::Disconnected, GapReason::Paused, GapReason::Overflow, GapReason::SilentSource]
        {
            for counting in [Counting::Samples, Counting::Timestamps] {
                assert!(check(counting, &around(Misses(frames, reason))), "{frames} {reason:?} {counting:?}");
            }
        }
        assert!(check(Counting::Timestamps, &around(IsSilent(frames))), "{frames} silent");
    }
    for frames in [1, 3, 100] {
        assert!(check(Counting::Timestamps, &around(Loses(frames))), "{frames} lost");
        assert!(check(Counting::Samples, &around(IsLate(frames))), "{frames} late, within the horizon");
    }
}

#[test]
fn it_knows_what_was_passed_over_and_came_nevertheless() {
    use Does::{CatchesUp, IsLate, Loses, Speaks, Stalls};
    let around = |act| [Speaks(200), act, Speaks(300)];
    for counting in [Counting::Samples, Counting::Timestamps] {
        assert!(!check(counting, &around(IsLate(400))), "came after the horizon");
    }
    assert!(!check(Counting::Timestamps, &around(Loses(400))), "what is lost is concealed, not silent");
    assert!(!check(Counting::Arrival, &around(CatchesUp(200))), "a stall that was made up");
    assert!(check(Counting::Arrival, &around(Stalls(200))), "a stall that was one");
}

fn acts() -> impl Strategy<Value = Vec<Does>> {
    let frames = 1..400_u64;
    let reason = prop_oneof![
        Just(GapReason::Disconnected),
        Just(GapReason::Paused),
        Just(GapReason::Loss),
        Just(GapReason::Overflow)
    ];
    let act = prop_oneof![
        4 => frames.clone().prop_map(Does::Speaks),
        1 => frames.clone().prop_map(Does::IsSilent),
        1 => (1..30_u64).prop_map(Does::Loses),
        1 => (frames.clone(), reason).prop_map(|(frames, reason)| Does::Misses(frames, reason)),
        1 => frames.clone().prop_map(Does::IsLate),
        1 => frames.clone().prop_map(Does::Stalls),
        1 => frames.prop_map(Does::CatchesUp),
    ];
    proptest::collection::vec(act, 1..12).prop_map(|mut acts| {
        acts.insert(0, Does::Speaks(20));
        acts
    })
}

fn counting() -> impl Strategy<Value = Counting> {
    prop_oneof![Just(Counting::Arrival), Just(Counting::Samples), Just(Counting::Timestamps)]
}

/// So many calls; more where `REELTIME_MIXES` says so.
fn cases() -> u32 {
    std::env::var("REELTIME_MIXES").ok().and_then(|count| count.parse().ok()).unwrap_or(8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn what_says_that_it_stands_is_what_is_made_at_the_end(
        anna in (counting(), acts()),
        ben in (counting(), acts()),
        beat in 20_000..3_000_000_u64,
        rate in prop_oneof![Just(16_000), Just(24_000)],
    ) {
        let asked = Plan { rate: Some(rate), ..plan(Arrangement::Mix) };
        let voices = [voice("anna", anna.0, &anna.1), voice("ben", ben.0, &ben.1)];
        let (out, steady) = grown(&asked, &voices, beat);
        if steady {
            prop_assert!(out == made(&asked, &voices));
        }
    }
}
