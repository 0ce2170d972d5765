//! Segments: where tracks are cut, and that nothing is lost or doubled by it.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::time::Duration;

use proptest::prelude::*;
use reeltime_core::cuts::{Cut, Cutter, Mark, Rules, Sink};

/// Samples a second: a chunk of 20 ms has 20.
const RATE: u32 = 1_000;

/// A stretch of a track.
#[derive(Clone, Debug)]
enum Run {
    Samples(Vec<i16>),
    Silence(u64),
}

/// Keeps what is cut; a segment is full at `most` samples, over all channels.
#[derive(Default)]
struct Kept {
    most: Option<usize>,
    segments: Vec<(Cut, Vec<i16>)>,
    open: Option<(u64, Vec<i16>)>,
}

impl Sink for Kept {
    fn begin(&mut self, at: u64) {
        assert!(self.open.is_none(), "a segment begins within another");
        self.open = Some((at, Vec::new()));
    }

    fn samples(&mut self, samples: &[i16]) -> bool {
        let (_, kept) = self.open.as_mut().unwrap();
        kept.extend_from_slice(samples);
        self.most.is_some_and(|most| kept.len() >= most)
    }

    fn end(&mut self, cut: Cut) {
        let (at, kept) = self.open.take().unwrap();
        assert_eq!(at, cut.at);
        self.segments.push((cut, kept));
    }
}

fn cut_from(runs: &[Run], channels: usize, most: Option<usize>, from: Option<Mark>) -> Vec<(Cut, Vec<i16>)> {
    let mut kept = Kept { most, ..Kept::default() };
    let mut cutter = Cutter::new(RATE, channels, &Rules::default(), from);
    for run in runs {
        match run {
            Run::Samples(samples) => cutter.samples(samples, &mut kept),
            Run::Silence(samples) => cutter.silence(*samples, &mut kept),
        }
    }
    cutter.end(&mut kept);
    assert!(!cutter.is_open() && kept.open.is_none());
    kept.segments
}

fn cut(runs: &[Run]) -> Vec<(Cut, Vec<i16>)> {
    cut_from(runs, 1, None, None)
}

fn loud(samples: usize) -> Run {
    Run::Samples((0..samples).map(|index| if index % 2 == 0 { 3_000 } else { -3_000 }).collect())
}

fn quiet(samples: usize) -> Run {
    Run::Samples(vec![100; samples])
}

#[test]
fn a_pause_shorter_than_the_silence_belongs_to_the_segment_a_longer_one_ends_it() {
    let segments = cut(&[quiet(400), loud(1_000), quiet(1_480), loud(600), quiet(5_000), loud(300)]);
    let places: Vec<_> = segments.iter().map(|(cut, _)| (cut.at, cut.samples, cut.short)).collect();
    // Each keeps a second of the silence behind it, where there is one.
    assert_eq!(places, [(400, 1_000 + 1_480 + 600 + 1_000, false), (8_480, 300, false)]);
}

#[test]
fn time_without_media_is_silence_like_any_other() {
    let segments = cut(&[
        Run::Silence(500),
        loud(1_000),
        Run::Silence(700),
        loud(300),
        Run::Silence(90_000_000),
        loud(400),
    ]);
    let places: Vec<_> = segments.iter().map(|(cut, _)| (cut.at, cut.samples)).collect();
    assert_eq!(places, [(500, 1_000 + 700 + 300 + 1_000), (90_002_500, 400)]);
    assert!(segments[0].1[1_000..1_700].iter().all(|&sample| sample == 0));
}

#[test]
fn what_is_loud_for_less_than_the_shortest_is_said_to_be_short() {
    let segments = cut(&[loud(240), quiet(3_000), loud(260), quiet(3_000)]);
    assert_eq!(segments.iter().map(|(cut, _)| cut.short).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn the_threshold_is_the_root_mean_square_of_a_chunk() {
    let of = |level: i16| cut(&[Run::Samples(vec![level; 1_000])]).len();
    assert_eq!((of(499), of(500), of(-500), of(i16::MIN)), (0, 1, 1, 1));
}

#[test]
fn a_full_segment_goes_on_in_the_next_sample_for_sample() {
    let speech: Vec<i16> =
        (0..2_000).map(|index| if index % 2 == 0 { 3_000 + index } else { -3_000 }).collect();
    let segments = cut_from(&[Run::Samples(speech.clone())], 1, Some(600), None);
    let places: Vec<_> = segments.iter().map(|(cut, _)| (cut.at, cut.samples, cut.short)).collect();
    assert_eq!(places, [(0, 600, false), (600, 600, false), (1_200, 600, false), (1_800, 200, false)]);
    assert_eq!(segments.concat_samples(), speech);
}

#[test]
fn a_speaker_who_is_waited_for_in_vain_ends_a_segment_and_begins_another() {
    let mut kept = Kept::default();
    let mut cutter = Cutter::new(RATE, 1, &Rules::default(), None);
    let Run::Samples(speech) = loud(505) else { unreachable!() };
    cutter.samples(&speech, &mut kept);
    cutter.end(&mut kept);
    assert_eq!((kept.segments.len(), kept.segments[0].0.samples), (1, 505));
    cutter.samples(&speech, &mut kept);
    cutter.end(&mut kept);
    assert_eq!(kept.segments[1].0.at, 505);
}

#[test]
fn memory_is_bounded_by_the_silence() {
    let rules = Rules { silence: Duration::from_secs(10), ..Rules::default() };
    let (mut kept, mut cutter) = (Kept::default(), Cutter::new(RATE, 1, &rules, None));
    let Run::Samples(speech) = loud(500) else { unreachable!() };
    cutter.samples(&speech, &mut kept);
    cutter.silence(u64::MAX / 4, &mut kept);
    assert_eq!(kept.segments[0].0.samples, 1_500);
    assert!(!cutter.is_open());
}

trait Samples {
    fn concat_samples(&self) -> Vec<i16>;
}

impl Samples for [(Cut, Vec<i16>)] {
    fn concat_samples(&self) -> Vec<i16> {
        self.iter().flat_map(|(_, samples)| samples.clone()).collect()
    }
}

/// Loud, quiet and absent stretches, in samples per channel, each sample with its own value.
fn tracks(channels: usize) -> impl Strategy<Value = Vec<Run>> {
    let run = (0..3_u8, 1..2_500_usize);
    proptest::collection::vec(run, 0..14).prop_map(move |runs| {
        let mut count = 0_i16;
        let mut value = |level: i16| {
            count = (count + 1) % 300;
            if count % 2 == 0 { level + count } else { -level - count }
        };
        let mut of =
            |level, samples: usize| Run::Samples((0..samples * channels).map(|_| value(level)).collect());
        runs.into_iter()
            .map(|(kind, samples)| match kind {
                0 => of(3_000, samples),
                1 => of(0, samples),
                _ => Run::Silence(samples as u64),
            })
            .collect()
    })
}

/// The whole timeline, interleaved; what is absent is zero.
fn timeline(runs: &[Run], channels: usize) -> Vec<i16> {
    let mut all = Vec::new();
    for run in runs {
        match run {
            Run::Samples(samples) => all.extend_from_slice(samples),
            Run::Silence(samples) => all.resize(all.len() + *samples as usize * channels, 0),
        }
    }
    all
}

/// The same track in steps of `step` samples per channel.
fn in_steps(runs: &[Run], channels: usize, step: usize) -> Vec<Run> {
    let split = |run: &Run| -> Vec<Run> {
        match run {
            Run::Samples(samples) => {
                samples.chunks(step * channels).map(|part| Run::Samples(part.to_vec())).collect()
            }
            Run::Silence(samples) => {
                let whole = samples / step as u64;
                let parts = (0..whole).map(|_| Run::Silence(step as u64));
                parts.chain([Run::Silence(samples - whole * step as u64)]).collect()
            }
        }
    };
    runs.iter().flat_map(split).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn segments_and_what_lies_between_them_are_the_track(runs in tracks(2), most in prop::option::of(200..4_000_usize)) {
        let all = timeline(&runs, 2);
        let segments = cut_from(&runs, 2, most, None);
        let mut end = 0;
        let mut between = Vec::new();
        for (cut, samples) in &segments {
            let (from, to) = (cut.at as usize * 2, (cut.at + cut.samples) as usize * 2);
            prop_assert!(from >= end, "two segments share a sample");
            prop_assert_eq!(&all[from..to.min(all.len())], &samples[..to.min(all.len()) - from]);
            prop_assert!(samples[to.min(all.len()) - from..].iter().all(|&sample| sample == 0));
            between.push(&all[end..from]);
            end = to.min(all.len());
        }
        between.push(&all[end..]);
        // A whole loud chunk lies in a segment.
        for stretch in between {
            let loud = stretch.chunk_by(|a, b| (a.abs() > 2_000) == (b.abs() > 2_000)).filter(|run| run[0].abs() > 2_000);
            for run in loud {
                prop_assert!(run.len() < 2 * 40, "{} loud samples are in no segment", run.len());
            }
        }
    }

    #[test]
    fn the_steps_in_which_a_track_comes_do_not_matter(runs in tracks(1), step in 1..700_usize, most in prop::option::of(100..2_000_usize)) {
        prop_assert_eq!(cut_from(&runs, 1, most, None), cut_from(&in_steps(&runs, 1, step), 1, most, None));
    }

    #[test]
    fn a_cutter_that_resumes_behind_any_segment_cuts_the_rest_alike(runs in tracks(1), most in prop::option::of(100..2_000_usize)) {
        let whole = cut_from(&runs, 1, most, None);
        for (number, (cut, _)) in whole.iter().enumerate() {
            let rest = cut_from(&runs, 1, most, Some(cut.next));
            prop_assert_eq!(&rest[..], &whole[number + 1..], "behind segment {}", number);
        }
    }
}
