//! The timeline, rule by rule, at 100 samples a second; and a long run against what was really sent.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::{FORMAT, Item, Run, both, event, packet, payload, place, sequenced, survey};
use reeltime_core::log::{Counting, Event, GapReason, PacketMeta};
use reeltime_core::media::{Codec, Format};
use reeltime_core::time::Micros;
use reeltime_core::timeline::{Gap, Layout, Mark, Pause, Placer, Sink, Survey};

const fn media(first: u64, samples: u64) -> Run {
    Run::Media { first, samples }
}

const fn gap(at: u64, samples: u64, reason: GapReason) -> Gap {
    Gap { at, samples, reason }
}

/// Packets of 10 samples, one each 100 ms, from `from_ms` on.
fn steady(from_ms: u64, count: u64, packets: u64) -> Vec<Item> {
    (0..packets).map(|index| packet(from_ms + index * 100, count + index * 10, 10)).collect()
}

#[test]
fn steady_media_is_one_run_from_its_first_arrival() {
    let (layout, runs) = both(Counting::Arrival, &steady(7_000, 0, 50));
    assert_eq!(runs, [media(0, 500)]);
    assert_eq!(layout.start, Micros::from_secs(7));
    assert_eq!((layout.samples, layout.counters.media_samples, layout.counters.packets), (500, 500, 50));
    assert_eq!((layout.gaps, layout.pauses), (vec![], vec![]));
}

#[test]
fn a_silent_source_leaves_a_gap_of_its_silence() {
    let log = [steady(0, 0, 10), steady(5_900, 100, 10)].concat();
    let (layout, runs) = both(Counting::Arrival, &log);
    assert_eq!(layout.gaps, [gap(100, 490, GapReason::SilentSource)]);
    assert_eq!(runs, [media(0, 100), Run::Silence(490), media(100, 100)]);
    let (layout, runs) = both(Counting::Samples, &log);
    assert_eq!((layout.gaps, runs), (vec![], vec![media(0, 200)]), "counted alone, nothing stalls");
}

#[test]
fn a_burst_that_makes_the_time_up_fills_the_gap() {
    let burst: Vec<_> = (0..50).map(|index| packet(5_900, 100 + index * 10, 10)).collect();
    let log = [steady(0, 0, 10), burst, steady(6_000, 600, 10)].concat();
    let before = survey(FORMAT, Counting::Arrival, &log[..20]).layout();
    assert_eq!(before.gaps, [gap(100, 400, GapReason::SilentSource)], "as it looks while the burst comes in");
    let (layout, runs) = both(Counting::Arrival, &log);
    assert_eq!((layout.gaps, runs), (vec![], vec![media(0, 700)]));
}

#[test]
fn what_arrives_a_second_late_is_jitter_and_more_is_a_gap() {
    for (late, gaps) in [(1_000, vec![]), (1_010, vec![gap(100, 101, GapReason::SilentSource)])] {
        let log = [steady(0, 0, 10), steady(1_000 + late, 100, 10)].concat();
        assert_eq!(both(Counting::Arrival, &log).0.gaps, gaps);
    }
}

#[test]
fn a_burst_after_a_minute_does_not_undo_a_gap() {
    let burst: Vec<_> = (0..50).map(|index| packet(71_000, 6_000 + index * 10, 10)).collect();
    let log = [steady(0, 0, 10), steady(6_000, 100, 590), burst].concat();
    let (layout, _) = both(Counting::Arrival, &log);
    assert_eq!(layout.gaps[0], gap(100, 500, GapReason::SilentSource));
}

#[test]
fn long_packets_are_not_late_by_their_own_length() {
    let log = [packet(0, 0, 10), packet(3_000, 10, 300), packet(6_000, 310, 300)];
    assert_eq!(both(Counting::Arrival, &log).0.gaps, []);
}

#[test]
fn a_stall_around_a_reconnect_is_a_disconnection() {
    let mut log = steady(0, 0, 10);
    log.push(event(5_000, Event::Reconnected { at: 100 }));
    log.extend(steady(5_000, 100, 10));
    log.extend(steady(9_000, 200, 10));
    let gaps = [gap(100, 400, GapReason::Disconnected), gap(600, 300, GapReason::SilentSource)];
    assert_eq!(both(Counting::Arrival, &log).0.gaps, gaps);
}

#[test]
fn counts_that_jump_are_gaps_with_the_reason_an_event_gives() {
    let mut log = steady(0, 0, 10);
    log.push(event(1_100, Event::Gap { at: 110, samples: 30, reason: GapReason::Overflow }));
    log.extend(steady(1_500, 150, 10));
    let (layout, runs) = both(Counting::Arrival, &log);
    let expected = [
        gap(100, 10, GapReason::Discarded),
        gap(110, 30, GapReason::Overflow),
        gap(140, 10, GapReason::Discarded),
    ];
    assert_eq!(layout.gaps, expected);
    assert_eq!(runs, [media(0, 100), Run::Silence(50), media(150, 100)]);
}

#[test]
fn what_is_missing_at_the_end_counts() {
    let mut log = steady(0, 0, 10);
    log.push(event(1_100, Event::Gap { at: 100, samples: 70, reason: GapReason::Overflow }));
    let (layout, runs) = both(Counting::Arrival, &log);
    assert_eq!((layout.samples, layout.gaps), (170, vec![gap(100, 70, GapReason::Overflow)]));
    assert_eq!(runs, [media(0, 100), Run::Silence(70)]);
}

#[test]
fn a_track_that_begins_with_a_pause_begins_before_its_first_packet() {
    let mut log = vec![
        event(1_000, Event::Pause { at: 0, reason: Some("greeting".to_owned()) }),
        event(3_000, Event::Gap { at: 0, samples: 200, reason: GapReason::Paused }),
        event(3_000, Event::Resume { at: 200 }),
    ];
    log.extend(steady(3_100, 200, 10));
    let (layout, runs) = both(Counting::Arrival, &log);
    assert_eq!((layout.start, layout.samples), (Micros::from_millis(1_100), 300));
    assert_eq!(layout.pauses, [Pause { at: 0, samples: 200, reason: Some("greeting".to_owned()) }]);
    assert_eq!((layout.gaps, runs), (vec![], vec![Run::Silence(200), media(200, 100)]));
}

/// Half of the pause is sent and thrown away, then the client sends nothing.
#[test]
fn a_pause_is_one_pause_whether_the_client_sends_or_not() {
    let mut log = steady(0, 0, 10);
    log.push(event(1_000, Event::Pause { at: 100, reason: None }));
    log.push(event(2_000, Event::Gap { at: 100, samples: 100, reason: GapReason::Paused }));
    log.push(event(5_000, Event::Resume { at: 200 }));
    log.extend(steady(5_100, 200, 10));
    let (layout, runs) = both(Counting::Arrival, &log);
    assert_eq!(layout.pauses, [Pause { at: 100, samples: 410, reason: None }]);
    assert_eq!((layout.gaps, runs), (vec![], vec![media(0, 100), Run::Silence(410), media(200, 100)]));
}

#[test]
fn silence_long_after_a_pause_is_a_gap_of_its_own() {
    let mut log = steady(0, 0, 10);
    log.push(event(1_000, Event::Pause { at: 100, reason: None }));
    log.push(event(4_000, Event::Resume { at: 100 }));
    log.extend(steady(24_000, 100, 10));
    let (layout, _) = both(Counting::Arrival, &log);
    assert_eq!(layout.pauses, [Pause { at: 100, samples: 300, reason: None }]);
    assert_eq!(layout.gaps, [gap(400, 2_000, GapReason::SilentSource)]);
}

#[test]
fn marks_and_turns_move_with_the_media_after_a_stall() {
    let mut log = steady(0, 0, 10);
    log.push(event(950, Event::Mark { at: 100, name: "before".to_owned() }));
    log.extend(steady(6_000, 100, 10));
    log.push(event(7_000, Event::Mark { at: 150, name: "after".to_owned() }));
    log.push(event(7_000, Event::Turn { at: 150, data: serde_json::json!({ "speaker": "a" }) }));
    let layout = both(Counting::Arrival, &log).0;
    let marks = [("before", 100), ("after", 650)].map(|(name, at)| Mark { at, name: name.to_owned() });
    assert_eq!(layout.marks, marks);
    assert_eq!((layout.turns[0].at, &layout.turns[0].data["speaker"]), (650, &serde_json::json!("a")));
}

#[test]
fn repeated_media_is_trimmed_or_dropped() {
    let log = [packet(0, 0, 100), packet(10, 50, 50), packet(20, 90, 30), packet(30, 120, 10)];
    let (layout, runs) = both(Counting::Samples, &log);
    assert_eq!(runs, [media(0, 130)]);
    assert_eq!((layout.counters.duplicates, layout.counters.trimmed_samples), (1, 10));
}

#[test]
fn an_empty_log_has_an_empty_layout() {
    for counting in [Counting::Arrival, Counting::Samples, Counting::Timestamps] {
        assert_eq!(both(counting, &[]), (Layout::default(), vec![]));
    }
}

/// Packets of 2 samples, each 20 ms, numbered from `sequence`.
fn stream(from_ms: u64, timestamp: u64, sequence: u64, packets: u64) -> Vec<Item> {
    let item = |index| sequenced(from_ms + index * 20, timestamp + index * 2, sequence + index, 2);
    (0..packets).map(item).collect()
}

#[test]
fn reordered_and_repeated_packets_are_put_right() {
    let mut log = stream(0, 5_000, 60_000, 40);
    log.swap(0, 3);
    log.swap(10, 30);
    log.insert(35, log[5].clone());
    let (layout, runs) = both(Counting::Timestamps, &log);
    assert_eq!(runs, [media(5_000, 80)]);
    assert_eq!((layout.counters.duplicates, layout.counters.late, layout.samples), (1, 0, 80));
}

#[test]
fn missing_sequence_numbers_are_loss_and_missing_time_alone_is_none() {
    let mut log = stream(0, 1_000, 10, 40);
    log.extend(stream(1_000, 1_100, 50, 40)); // the codec was silent for 20 samples
    log.drain(20..25);
    let (layout, runs) = both(Counting::Timestamps, &log);
    assert_eq!(layout.gaps, [gap(40, 10, GapReason::Loss)]);
    let expected = [media(1_000, 40), Run::Silence(10), media(1_050, 30), Run::Silence(20), media(1_100, 80)];
    assert_eq!(runs, expected);
}

#[test]
fn what_comes_after_its_turn_is_late() {
    let mut log = stream(0, 0, 0, 300);
    let straggler = log.remove(50);
    log.insert(250, straggler);
    let (layout, runs) = both(Counting::Timestamps, &log);
    assert_eq!((layout.counters.late, layout.counters.restarts), (1, 0));
    assert_eq!(layout.gaps, [gap(100, 2, GapReason::Loss)]);
    assert_eq!(runs, [media(0, 100), Run::Silence(2), media(102, 498)]);
}

#[test]
fn a_clock_that_starts_anew_goes_on_by_arrival() {
    for (timestamp, sequence) in [(3, 7), (900_000, 140), (3, 1 << 40), (1 << 60, 0)] {
        let log = [stream(0, 500_000, 100, 50), stream(3_000, timestamp, sequence, 50)].concat();
        let (layout, runs) = both(Counting::Timestamps, &log);
        // The last packet before arrived at 980 ms, the next at 3 s.
        let expected = [media(500_000, 100), Run::Silence(202 - 2), media(timestamp, 100)];
        assert_eq!(runs, expected, "from {timestamp}, number {sequence}");
        assert_eq!(layout.counters.restarts, 1);
        assert_eq!(layout.gaps, [gap(100, 200, GapReason::SilentSource)]);
    }
}

#[test]
fn a_straggler_of_the_old_clock_does_not_start_it_anew() {
    let mut log = stream(0, 500_000, 100, 50);
    let straggler = log.pop().unwrap();
    log.extend(stream(1_000, 3, 7, 50));
    log.insert(52, straggler);
    let (layout, runs) = both(Counting::Timestamps, &log);
    assert_eq!((layout.counters.restarts, layout.counters.late), (1, 0));
    assert_eq!(runs[0], media(500_000, 100));
}

#[test]
fn a_buffered_source_is_placed_by_its_own_clock() {
    let log = [stream(0, 0, 0, 50), stream(200_000, 100, 50, 50)].concat();
    let (layout, runs) = both(Counting::Timestamps, &log);
    assert_eq!((runs, layout.counters.restarts), (vec![media(0, 200)], 0));
}

/// UTC is in the log's header alone: two logs that differ in it have the same packets, so the same layout. What
/// may move between two runs is where the recording's own clock stands.
#[test]
fn where_the_recordings_clock_stands_moves_the_start_and_nothing_else() {
    let at = |offset| [steady(offset, 0, 30), steady(offset + 9_000, 300, 30)].concat();
    let (early, runs) = both(Counting::Arrival, &at(0));
    let (late, same) = both(Counting::Arrival, &at(86_400_000));
    assert_eq!(runs, same);
    assert_eq!(Layout { start: early.start, ..late.clone() }, early);
    assert_eq!(late.start, Micros::from_secs(86_400));
}

#[test]
fn an_opus_packet_is_never_cut() {
    let format = Format { codec: Codec::Opus, rate: 48_000, channels: 1 };
    let mut survey = Survey::new(format, Counting::Samples);
    for timestamp in [0, 960, 1_439, 2_600] {
        survey.packet(PacketMeta { arrival: Micros(0), timestamp, sequence: None }, 960);
    }
    let layout = survey.finish();
    assert_eq!((layout.counters.duplicates, layout.counters.trimmed_samples), (1, 0));
    assert_eq!((layout.counters.media_samples, layout.samples), (2_880, 3_560));
}

#[test]
fn a_gap_that_was_shown_and_made_up_is_taken_back_by_the_next_missing_media() {
    let burst: Vec<_> = (0..50).map(|index| packet(5_900, 100 + index * 10, 10)).collect();
    let log = [steady(0, 0, 10), burst, steady(6_400, 640, 10)].concat(); // 40 samples are missing
    let mut placer = Placer::new(FORMAT, Counting::Arrival, &Layout::default());
    let mut runs = common::Runs::default();
    for (from, to) in [(0, 12), (12, log.len())] {
        placer.extend(&survey(FORMAT, Counting::Arrival, &log[..to]).layout());
        for item in &log[from..to] {
            let Item::Packet(meta, samples) = item else { continue };
            placer.packet(*meta, &payload(meta.timestamp, *samples), &mut runs);
        }
    }
    assert_eq!(runs.0, [media(0, 100), Run::Silence(480), media(100, 500), media(640, 100)]);
    assert_eq!(placer.position(), 1_180, "of which 440 are ahead");
}

#[test]
fn following_a_live_track_loses_nothing_when_a_gap_is_made_up() {
    let burst: Vec<_> = (0..50).map(|index| packet(5_900, 100 + index * 10, 10)).collect();
    let log = [steady(0, 0, 10), burst, steady(6_000, 600, 10), steady(12_000, 700, 10)].concat();
    let mut placer = Placer::new(FORMAT, Counting::Arrival, &Layout::default());
    let mut runs = common::Runs::default();
    for (from, to) in [(0, 20), (20, 40), (40, log.len())] {
        placer.extend(&survey(FORMAT, Counting::Arrival, &log[..to]).layout());
        for item in &log[from..to] {
            let Item::Packet(meta, samples) = item else { continue };
            placer.packet(*meta, &payload(meta.timestamp, *samples), &mut runs);
        }
    }
    placer.finish(&mut runs);
    // The gap of 4 s was shown before the burst made it up; so the next one, of 5 s, adds only what lacks.
    assert_eq!(
        runs.0,
        [media(0, 100), Run::Silence(400), media(100, 600), Run::Silence(100), media(700, 100)]
    );
    let last = survey(FORMAT, Counting::Arrival, &log).finish();
    assert_eq!(last.samples, placer.position(), "and both agree again");
    assert_eq!(place(FORMAT, Counting::Arrival, &last, &log)[1], Run::Silence(500));
}

/// A small generator of numbers (splitmix64), so that a printed seed repeats a run.
struct Chance(u64);

impl Chance {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    const fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }

    const fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Sends packets of two samples: lost, doubled, overtaken by up to 100 others, silent in between.
struct Wire {
    chance: Chance,
    sent: u64,
    timestamp: u64,
    lost_samples: u64,
    delivered: u64,
    duplicates: u64,
    air: std::collections::BinaryHeap<std::cmp::Reverse<(u64, u64, u64)>>,
}

impl Wire {
    /// What arrives next: timestamp and sequence number.
    fn next(&mut self, packets: u64) -> Option<(u64, u64)> {
        while self.sent < packets && self.air.peek().is_none_or(|next| next.0.0 > self.sent) {
            self.send();
        }
        let std::cmp::Reverse((_, timestamp, sequence)) = self.air.pop()?;
        Some((timestamp, sequence))
    }

    fn send(&mut self) {
        let (sequence, timestamp) = (self.sent, self.timestamp);
        let delay = if self.chance.one_in(10) { self.chance.below(100) } else { 0 };
        let (lost, twice) = (sequence > 0 && self.chance.one_in(50), self.chance.one_in(40));
        if !lost {
            self.air.push(std::cmp::Reverse((sequence + delay, timestamp, sequence)));
            self.delivered += 2;
        }
        if !lost && twice {
            self.air.push(std::cmp::Reverse((sequence + delay + 1, timestamp, sequence)));
            self.duplicates += 1;
        }
        self.lost_samples += if lost { 2 } else { 0 };
        self.timestamp += if self.chance.one_in(100) { 2 + 2 * self.chance.below(20) } else { 2 };
        self.sent += 1;
    }
}

/// Each sample says where it belongs; it must stand there.
struct InPlace {
    base: u64,
    position: u64,
    media: u64,
}

impl Sink for InPlace {
    fn audio(&mut self, payload: &[u8], samples: u64) {
        for sample in payload.chunks_exact(8) {
            let index = u64::from_le_bytes(sample.try_into().unwrap());
            assert_eq!(index, self.base + self.position, "a sample is lost, doubled or shifted");
            self.position += 1;
        }
        self.media += samples;
    }

    fn silence(&mut self, samples: u64) {
        self.position += samples;
    }
}

/// `REELTIME_PACKETS=10000000 cargo test --release -p reeltime-core --test timeline a_long_run -- --nocapture`, and
/// `REELTIME_SEED` to repeat one.
#[test]
fn a_long_run_is_exact_to_the_sample() {
    let number = |name, usual| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (packets, seed) = (number("REELTIME_PACKETS", 200_000_u64), number("REELTIME_SEED", 1_u64));
    eprintln!("REELTIME_PACKETS={packets} REELTIME_SEED={seed}");
    let base = 1 << 40;
    let run = |each: &mut dyn FnMut(PacketMeta)| {
        let air = std::collections::BinaryHeap::new();
        let chance = Chance(seed);
        let mut wire =
            Wire { chance, sent: 0, timestamp: base, lost_samples: 0, delivered: 0, duplicates: 0, air };
        while let Some((timestamp, sequence)) = wire.next(packets) {
            each(PacketMeta { arrival: Micros(wire.sent * 20_000), timestamp, sequence: Some(sequence) });
        }
        wire
    };
    let mut survey = Survey::new(FORMAT, Counting::Timestamps);
    let sent = run(&mut |meta| survey.packet(meta, 2));
    let layout = survey.finish();
    let mut placer = Placer::new(FORMAT, Counting::Timestamps, &layout);
    let mut out = InPlace { base, position: 0, media: 0 };
    run(&mut |meta| placer.packet(meta, &payload(meta.timestamp, 2), &mut out));
    placer.finish(&mut out);
    assert_eq!((out.position, out.media), (layout.samples, sent.delivered));
    assert_eq!(layout.counters.media_samples, sent.delivered);
    assert_eq!((layout.counters.late, layout.counters.duplicates), (0, sent.duplicates));
    let loss: u64 = layout.gaps.iter().map(|gap| gap.samples).sum();
    assert!(layout.gaps.iter().all(|gap| gap.reason == GapReason::Loss));
    assert!(loss >= sent.lost_samples.saturating_sub(100), "{loss} of {} samples", sent.lost_samples);
}
