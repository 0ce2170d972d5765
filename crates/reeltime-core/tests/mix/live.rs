//! A call that goes on while it is mixed.

use reeltime_core::render::{Arrangement, Mixer, Need, Plan, Sides};
use reeltime_core::time::Micros;

use crate::voices::{Item, Pcm, Voice, channel, coded, mix, plan};

const RATE: u32 = 16_000;

fn said(range: std::ops::Range<u64>) -> Vec<i16> {
    range.map(coded).collect()
}

/// A mixer of tracks as they were when each log had so many items, and how far each was pushed.
struct Live<'a> {
    mixer: Mixer,
    voices: &'a [Voice],
    known: Vec<usize>,
    pushed: Vec<usize>,
    out: Vec<i16>,
}

impl<'a> Live<'a> {
    fn new(asked: Plan, voices: &'a [Voice], known: &[usize]) -> Self {
        let input = |(voice, &items): (&Voice, &usize)| {
            let mut input = voice.input(Pcm::boxed(voice.format));
            input.layout = voice.layout_of(items);
            input
        };
        let mixer = Mixer::new(Plan { open: true, ..asked }, voices.iter().zip(known).map(input).collect());
        Self {
            mixer: mixer.unwrap(),
            voices,
            known: known.to_vec(),
            pushed: vec![0; voices.len()],
            out: Vec::new(),
        }
    }

    fn know(&mut self, track: usize, items: usize) {
        self.known[track] = items;
        self.mixer.extend(track, &self.voices[track].layout_of(items));
    }

    /// Mixes what can be; how many samples there are then.
    fn run(&mut self) -> usize {
        loop {
            match self.mixer.needs().unwrap() {
                Need::Packet(track) => {
                    if self.pushed[track] == self.voices[track].items.len() {
                        self.mixer.end(track);
                        continue;
                    }
                    if self.pushed[track] == self.known[track] {
                        return self.out.len();
                    }
                    if let Item::Packet(meta, from, samples) = &self.voices[track].items[self.pushed[track]] {
                        self.mixer.push(track, *meta, &self.voices[track].payload(*from, *samples));
                    }
                    self.pushed[track] += 1;
                }
                Need::Step => self.mixer.step(&mut self.out),
                Need::Extend | Need::Done => return self.out.len(),
            }
        }
    }
}

fn pair() -> [Voice; 2] {
    let ben = Voice::new("ben", RATE, |sample| coded(sample) / 3).says(Micros::from_millis(250), 32_000, 320);
    [Voice::new("anna", RATE, coded).says(Micros(0), 48_000, 320), ben]
}

#[test]
fn what_is_mixed_while_it_grows_is_what_is_mixed_at_the_end() {
    for rate in [16_000, 24_000] {
        let (voices, asked) = (pair(), Plan { rate: Some(rate), ..plan(Arrangement::Mix) });
        let mut live = Live::new(asked.clone(), &voices, &[1, 1]);
        assert_eq!(live.mixer.spec().samples, None);
        let mut grown = Vec::new();
        for items in (10..=150).step_by(7) {
            live.know(0, items);
            live.know(1, items.min(100));
            if items > 100 {
                live.mixer.close(1);
            }
            grown.push(live.run());
        }
        live.know(0, 150);
        live.run();
        live.mixer.close(0);
        live.run();
        assert!(grown.is_sorted() && grown[3] > 5_000, "it grows: {grown:?}");
        assert_eq!(live.mixer.needs().unwrap(), Need::Done);
        assert!(live.out == mix(&asked, &voices), "at {rate}");
    }
}

#[test]
fn a_silent_source_does_not_keep_the_others_waiting() {
    let voices = pair();
    let mut live = Live::new(plan(Arrangement::Stereo(Sides::default())), &voices, &[1, 1]);
    live.know(0, 100);
    let before = live.run();
    // Who speaks and is only waiting loses nothing, whatever of it has been read.
    live.mixer.pass_to(0, Micros::from_secs(1));
    live.mixer.pass_to(1, Micros::from_secs(1));
    let after = live.run();
    assert!(before < 2 * 5_000 && after > 2 * 15_000, "{before}, {after}");
    // What comes for that time nevertheless is left out, and what comes after it is in its place.
    live.know(1, 100);
    live.know(0, 150);
    live.run();
    live.mixer.close(0);
    live.mixer.close(1);
    live.run();
    let (left, right) = (channel(&live.out, 2, 0), channel(&live.out, 2, 1));
    assert_eq!(left, said(0..48_000));
    assert!(right[4_320..16_000].iter().all(|&sample| sample == 0));
    let later: Vec<_> = (12_000..32_000).map(|sample| coded(sample) / 3).collect();
    assert_eq!(right[16_000..36_000], later);
}

#[test]
fn who_joins_a_mix_that_is_being_made_is_heard_from_then_on() {
    let mut voices = pair();
    voices[1] = Voice::new("ben", RATE, |sample| coded(sample) / 3).says(Micros::from_secs(1), 32_000, 320);
    for arrangement in [Arrangement::Mix, Arrangement::Stereo(Sides::default())] {
        let asked = plan(arrangement);
        let mut live = Live::new(Plan { origin: Some(Micros(0)), ..asked.clone() }, &voices[..1], &[40]);
        live.run();
        live.voices = &voices;
        let mut ben = voices[1].input(Pcm::boxed(voices[1].format));
        ben.layout = voices[1].layout_of(10);
        assert!(live.mixer.join(ben).unwrap());
        live.known.push(10);
        live.pushed.push(0);
        for (track, items) in [(0, 150), (1, 100)] {
            live.know(track, items);
            live.run();
            live.mixer.close(track);
        }
        live.run();
        assert!(live.out == mix(&asked, &voices), "as if it had been there from the start: {asked:?}");
    }
}

#[test]
fn where_every_track_has_its_channel_nobody_can_join() {
    let voices = pair();
    let mut live = Live::new(plan(Arrangement::Tracks), &voices[..1], &[40]);
    assert!(!live.mixer.join(voices[1].input(Pcm::boxed(voices[1].format))).unwrap());
}

/// Who began at the very moment to which it is mixed is heard from his first sample on.
#[test]
fn a_mixer_that_somebody_joins_behind_its_place_is_not_what_is_made_at_the_end() {
    for (begins, steady) in [(0, false), (799, false), (800, true)] {
        let anna = || Voice::new("anna", RATE, coded).says(Micros(0), 48_000, 320);
        let voices = [anna(), Voice::new("ben", RATE, coded).says(Micros::from_millis(begins), 320, 320)];
        let asked = Plan { origin: Some(Micros(0)), ..plan(Arrangement::Mix) };
        let mut live = Live::new(asked, &voices[..1], &[40]);
        live.run();
        assert!(live.mixer.join(voices[1].input(Pcm::boxed(voices[1].format))).unwrap());
        assert_eq!(live.mixer.is_steady(), steady, "{begins}");
    }
}
