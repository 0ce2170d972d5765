//! The spool on a disk that fails, fills up, stalls and loses power: what was acknowledged is there afterwards, nothing
//! is there twice, and what is missing is a gap.

use std::sync::Arc;
use std::time::Duration;

use reeltime::spool::{Appended, Chain, Disk as _, RecoveredTrack, Spool, SpoolConfig, TrackLog, recover};
use reeltime_core::log::{Event, GapReason};
use reeltime_core::time::Micros;
use reeltime_testkit::chance::Chance;
use reeltime_testkit::disk::{Call, ReadBack, SimDisk};
use reeltime_testkit::voice::{Heard, Voice};
use tokio::time::timeout;

/// 20 ms.
const FRAME: u64 = 160;
/// Longer than any test should take; only a hang reaches it.
const HANG: Duration = Duration::from_secs(20);

fn quick() -> SpoolConfig {
    SpoolConfig {
        flush_interval: Duration::from_millis(2),
        sync_interval: Duration::from_millis(5),
        reserve: 0,
        shards: 1,
        ..SpoolConfig::default()
    }
}

/// Never flushes or syncs by itself: what happens is what the test asks for.
fn on_request() -> SpoolConfig {
    let never = Duration::from_secs(3_600);
    SpoolConfig { flush_interval: never, sync_interval: never, ..quick() }
}

/// Flushes by itself, but not before a test has made its next step.
fn rarely() -> SpoolConfig {
    SpoolConfig { flush_interval: Duration::from_millis(300), ..on_request() }
}

fn start(disk: &SimDisk, config: SpoolConfig) -> Spool {
    Spool::start(Arc::new(disk.clone()), config).expect("a spool starts on any disk")
}

/// The seed of a test with chance in it: `REELTIME_SEED`, or one that is the same each time.
fn seed() -> u64 {
    let seed = std::env::var("REELTIME_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(7);
    eprintln!("REELTIME_SEED={seed}");
    seed
}

struct Speaker {
    voice: Voice,
    log: Arc<TrackLog>,
    sent: u64,
}

impl Speaker {
    fn new(spool: &Spool, voice: Voice) -> Self {
        Self { voice, log: spool.create(voice.header()), sent: 0 }
    }

    fn go_on(spool: &Spool, voice: Voice, track: &RecoveredTrack) -> Self {
        Self { voice, log: spool.resume(track), sent: track.samples }
    }

    async fn say(&mut self, frames: u64) -> Appended {
        let mut appended = Appended::Logged;
        for _ in 0..frames {
            let payload = self.voice.says(self.sent..self.sent + FRAME);
            let append = self.log.append(Voice::meta(self.sent), FRAME, &payload);
            appended = timeout(HANG, append).await.expect("the log takes it").expect("it is open");
            self.sent += FRAME;
        }
        appended
    }

    fn acked(&self) -> u64 {
        *self.log.synced().borrow()
    }

    async fn sync(&self) {
        assert!(timeout(HANG, self.log.sync()).await.expect("the disk takes it in the end"));
    }

    async fn close(&self) -> bool {
        timeout(HANG, self.log.close(Micros(0), "stop")).await.expect("the disk takes it in the end")
    }

    async fn until_acked(&self, samples: u64) {
        let mut synced = self.log.synced();
        let reached = timeout(HANG, synced.wait_for(|&synced| synced >= samples)).await;
        reached
            .unwrap_or_else(|_| panic!("{} of {samples} acknowledged", self.acked()))
            .expect("the log is alive");
    }
}

/// What a later process finds of the voice; the start-up scan and a reader agree on it.
fn found(disk: &SimDisk, voice: Voice) -> (Option<RecoveredTrack>, Heard) {
    let recovery = recover(disk, 2).expect("the folder is listed");
    let track = recovery.tracks.into_iter().find(|track| track.header.track == voice.track());
    let Some(track) = track else { return (None, Heard::default()) };
    let heard = Heard::of(voice, &track.chain).expect("what was found is read");
    let chain = Chain::find(disk, voice.track()).expect("a reader finds it too");
    assert_eq!(Heard::of(voice, &chain).expect("and reads it"), heard);
    assert!(
        heard.damaged > 0 || heard.accounts_for(track.samples),
        "{} samples, but {heard:?}, {:?}",
        track.samples,
        disk.names()
    );
    (Some(track), heard)
}

#[tokio::test]
async fn what_is_appended_is_acknowledged_once_it_is_synced_and_read_back_exactly() {
    let disk = SimDisk::default();
    let spool = start(&disk, quick());
    let mut speaker = Speaker::new(&spool, Voice(1));
    assert!(speaker.log.is_empty() && speaker.acked() == 0);
    speaker.say(50).await;
    speaker.until_acked(50 * FRAME).await;
    speaker.say(50).await;
    assert!(speaker.close().await);
    assert_eq!(speaker.acked(), 100 * FRAME);
    let (track, heard) = found(&disk.lose_power(&mut Chance::new(1)), Voice(1));
    assert_eq!(track.unwrap().footer.unwrap().samples, 100 * FRAME);
    assert_eq!((heard.unbroken(), heard.gaps, heard.closed, heard.damaged), (100 * FRAME, vec![], true, 0));
}

#[tokio::test]
async fn nothing_is_acknowledged_before_a_sync() {
    let disk = SimDisk::default();
    let spool = start(&disk, on_request());
    let mut speaker = Speaker::new(&spool, Voice(1));
    speaker.say(10).await;
    speaker.log.flush().await;
    assert_eq!((speaker.acked(), disk.calls(Call::Sync)), (0, 0));
    speaker.sync().await;
    assert_eq!((speaker.acked(), disk.calls(Call::SyncFolder)), (10 * FRAME, 1));
}

#[tokio::test]
async fn a_log_without_records_leaves_no_file() {
    let disk = SimDisk::default();
    let spool = start(&disk, quick());
    let speaker = Speaker::new(&spool, Voice(1));
    assert!(speaker.close().await);
    assert_eq!(disk.calls(Call::Create), 0);
}

/// Speaks through one failure, or several in a row, and loses power at the end, or somewhere.
async fn speak_through(disk: &SimDisk, chance: &mut Chance) -> (u64, u64) {
    let spool = start(disk, quick());
    let mut speaker = Speaker::new(&spool, Voice(1));
    let sentences = chance.within(1..12);
    for _ in 0..sentences {
        speaker.say(chance.within(1..9)).await;
        match chance.within(0..3) {
            0 => speaker.log.flush().await,
            1 => speaker.sync().await,
            _ => {}
        }
    }
    (speaker.sent, speaker.acked())
}

async fn lose_nothing_acknowledged(call: Call, nth: u64, times: u64, read_back: ReadBack, seed: u64) {
    let case = format!("{call:?} {nth} fails {times} times, read back {read_back:?}, seed {seed}");
    let mut chance = Chance::new(seed);
    let disk = SimDisk::default();
    disk.read_back(read_back);
    disk.fail(call, nth, times);
    let (sent, acked) = speak_through(&disk, &mut chance).await;
    eprintln!("{case}: {acked} of {sent} acked");
    let (track, heard) = found(&disk.lose_power(&mut chance), Voice(1));
    assert!(heard.unbroken() >= acked, "{case}: {acked} acknowledged, {heard:?}");
    assert!(track.is_none_or(|track| track.samples <= sent), "{case}");
    let discarded = heard.gaps.iter().all(|(_, reason)| *reason == GapReason::Discarded);
    assert!(heard.gaps.is_empty() || (discarded && read_back != ReadBack::Intact), "{case}: {heard:?}");
}

#[tokio::test]
async fn no_call_that_fails_makes_a_false_acknowledgement() {
    let seed = seed();
    for call in Call::ALL {
        for nth in 1..=6 {
            for read_back in [ReadBack::Intact, ReadBack::Fails, ReadBack::Holes] {
                lose_nothing_acknowledged(call, nth, 1, read_back, seed + nth).await;
            }
        }
    }
}

#[tokio::test]
async fn neither_do_several_failures_in_a_row() {
    let seed = seed();
    for call in Call::ALL {
        for (nth, times) in [(1, 2), (2, 2), (3, 3)] {
            for read_back in [ReadBack::Intact, ReadBack::Fails, ReadBack::Holes] {
                lose_nothing_acknowledged(call, nth, times, read_back, seed + nth).await;
            }
        }
    }
}

#[tokio::test]
async fn power_lost_at_any_moment_costs_nothing_acknowledged() {
    let seed = seed();
    for seed in seed..seed + 200 {
        let mut chance = Chance::new(seed);
        let disk = SimDisk::default();
        let (_, acked) = speak_through(&disk, &mut chance).await;
        let (_, heard) = found(&disk.lose_power(&mut chance), Voice(1));
        assert!(heard.unbroken() >= acked && heard.gaps.is_empty(), "seed {seed}: {acked}, {heard:?}");
    }
}

#[tokio::test]
async fn a_killed_process_loses_only_what_it_had_not_written() {
    let disk = SimDisk::default();
    let spool = start(&disk, on_request());
    let mut speaker = Speaker::new(&spool, Voice(1));
    speaker.say(30).await;
    speaker.log.flush().await;
    speaker.say(5).await;
    let (track, heard) = found(&disk.kill(), Voice(1));
    assert_eq!((track.unwrap().samples, heard.unbroken()), (30 * FRAME, 30 * FRAME));
}

#[tokio::test]
async fn what_a_later_process_acknowledges_survives_the_power_too() {
    for seed in 0..20 {
        let disk = SimDisk::default();
        let spool = start(&disk, on_request());
        let mut speaker = Speaker::new(&spool, Voice(1));
        speaker.say(30).await;
        speaker.log.flush().await;
        let disk = disk.kill();
        let (track, _) = found(&disk, Voice(1));
        let speaker = Speaker::go_on(&start(&disk, on_request()), Voice(1), &track.unwrap());
        assert_eq!(speaker.acked(), 30 * FRAME, "the client is told to go on from here");
        let (_, heard) = found(&disk.lose_power(&mut Chance::new(seed)), Voice(1));
        assert_eq!(heard.unbroken(), 30 * FRAME, "seed {seed}");
    }
}

#[tokio::test]
async fn what_a_later_process_cannot_sync_is_not_acknowledged() {
    for call in [Call::Sync, Call::SyncFolder] {
        let disk = SimDisk::default();
        let spool = start(&disk, on_request());
        let mut speaker = Speaker::new(&spool, Voice(1));
        speaker.say(30).await;
        speaker.log.flush().await;
        let disk = disk.kill();
        disk.fail(call, 1, 1);
        let track = recover(&disk, 1).unwrap().tracks.remove(0);
        let spool = start(&disk, on_request());
        let mut speaker = Speaker::go_on(&spool, Voice(1), &track);
        speaker.say(1).await;
        speaker.sync().await;
        assert_eq!((speaker.sent, speaker.acked()), (31 * FRAME, 0), "{call:?}");
    }
}

#[tokio::test]
async fn a_track_goes_on_through_many_processes() {
    let seed = seed();
    for seed in seed..seed + 20 {
        let mut chance = Chance::new(seed);
        let mut disk = SimDisk::default();
        for life in 0..6 {
            let spool = start(&disk, quick());
            let (track, before) = found(&disk, Voice(1));
            let mut speaker = match &track {
                Some(track) => Speaker::go_on(&spool, Voice(1), track),
                None => Speaker::new(&spool, Voice(1)),
            };
            speaker.say(chance.within(1..20)).await;
            speaker.sync().await;
            speaker.say(chance.within(1..5)).await;
            let acked = speaker.acked();
            disk = if chance.one_in(2) { disk.kill() } else { disk.lose_power(&mut chance) };
            let (track, heard) = found(&disk, Voice(1));
            assert!(heard.unbroken() >= acked && acked > before.unbroken(), "seed {seed}, life {life}");
            assert!(
                heard.unbroken() == track.unwrap().samples && heard.gaps.is_empty(),
                "seed {seed}: {heard:?}"
            );
        }
    }
}

#[tokio::test]
async fn names_lost_in_a_row_do_not_hide_the_files_after_them() {
    let disk = SimDisk::default();
    disk.fail(Call::Write, 1, 3);
    let spool = start(&disk, quick());
    let mut speaker = Speaker::new(&spool, Voice(1));
    speaker.say(3).await;
    let fourth = async {
        while disk.calls(Call::Write) < 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(HANG, fourth).await.expect("the log goes on in a fourth file");
    let outcomes = (0..60).map(|seed| found(&disk.kill().lose_power(&mut Chance::new(seed)), Voice(1)));
    let newest: Vec<_> = outcomes.filter_map(|(track, _)| Some(track?.newest)).collect();
    assert!(newest.contains(&3), "{newest:?}");
}

#[tokio::test]
async fn what_cannot_be_read_back_is_a_gap_and_acknowledgements_end_there() {
    for read_back in [ReadBack::Fails, ReadBack::Holes] {
        let disk = SimDisk::default();
        disk.read_back(read_back);
        let spool = start(&disk, rarely());
        let mut speaker = Speaker::new(&spool, Voice(1));
        speaker.say(10).await;
        speaker.sync().await;
        speaker.say(20).await;
        speaker.log.flush().await;
        disk.fail(Call::Sync, 1, 1);
        speaker.sync().await;
        speaker.say(10).await;
        speaker.sync().await;
        let (_, heard) = found(&disk, Voice(1));
        let (first, reason) = heard.gaps[0].clone();
        assert_eq!(
            (reason, speaker.acked()),
            (GapReason::Discarded, first.start),
            "{read_back:?}: {heard:?}"
        );
        assert!(first.start >= 10 * FRAME && first.start < 30 * FRAME, "{heard:?}");
        assert_eq!(heard.audio.last().unwrap().end, 40 * FRAME, "{read_back:?}: {heard:?}");
    }
}

#[tokio::test]
async fn a_name_that_a_failed_sync_of_the_folder_left_behind_is_not_trusted_by_others() {
    let disk = SimDisk::default();
    let spool = start(&disk, rarely());
    let mut speakers: Vec<_> = (1..=3).map(|number| Speaker::new(&spool, Voice(number))).collect();
    for speaker in &mut speakers {
        speaker.say(3).await;
        speaker.log.flush().await;
    }
    disk.fail(Call::SyncFolder, 1, 1);
    for speaker in &speakers {
        speaker.sync().await;
    }
    let acked: Vec<_> = speakers.iter().map(Speaker::acked).collect();
    assert_eq!(acked, [3 * FRAME; 3], "each has gone on in a new file");
    for seed in 0..8 {
        let left = disk.kill().lose_power(&mut Chance::new(seed));
        for speaker in &speakers {
            assert_eq!(found(&left, speaker.voice).1.unbroken(), 3 * FRAME, "seed {seed}");
        }
    }
}

const ROOM: u64 = 200_000;

fn with_reserve(reserve: u64) -> SpoolConfig {
    SpoolConfig { reserve, ..quick() }
}

/// Speaks until the disk takes no more.
async fn speak_until_dropped(speaker: &mut Speaker) -> u64 {
    let until_full = async {
        while speaker.say(1).await == Appended::Logged {}
        speaker.sent - FRAME
    };
    timeout(HANG, until_full).await.expect("the disk is full at some time")
}

#[tokio::test]
async fn a_full_disk_is_a_gap_of_exactly_what_was_dropped() {
    let disk = SimDisk::default();
    disk.limit(ROOM);
    let spool = start(&disk, quick());
    let mut speaker = Speaker::new(&spool, Voice(1));
    let full_at = speak_until_dropped(&mut speaker).await;
    speaker.say(25).await;
    assert!(speaker.acked() <= full_at);
    disk.limit(10 * ROOM);
    let room_again = async {
        while speaker.say(1).await == Appended::Dropped {
            tokio::task::yield_now().await
        }
    };
    timeout(HANG, room_again).await.expect("it goes on once there is room");
    let resumed_at = speaker.sent - FRAME;
    speaker.say(10).await;
    assert!(speaker.close().await);
    assert_eq!(speaker.acked(), full_at, "what follows a loss is not acknowledged");
    let (_, heard) = found(&disk, Voice(1));
    assert_eq!(heard.gaps, [(full_at..resumed_at, GapReason::Overflow)]);
    assert_eq!(heard.audio, [0..full_at, resumed_at..speaker.sent]);
}

#[tokio::test]
async fn live_recordings_spend_the_reserve_and_new_ones_are_refused() {
    let disk = SimDisk::default();
    disk.limit(ROOM);
    let spool = start(&disk, with_reserve(ROOM / 2));
    assert!(spool.admit().is_ok() && spool.usage().reserved);
    let mut speaker = Speaker::new(&spool, Voice(1));
    let mut in_reserve = 0;
    let until_full = async {
        while speaker.say(1).await == Appended::Logged {
            in_reserve += u64::from(spool.admit().is_err()) * FRAME * 2;
        }
    };
    timeout(HANG, until_full).await.expect("the disk is full at some time");
    assert!(in_reserve > ROOM / 4, "only {in_reserve} bytes went on into the reserve");
    disk.limit(4 * ROOM);
    let set_aside_again = async {
        while spool.admit().is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await
        }
    };
    timeout(HANG, set_aside_again).await.expect("new sessions are taken again");
    assert!(spool.usage().reserved && disk.used() <= 4 * ROOM);
}

#[tokio::test]
async fn the_budget_refuses_new_sessions_only() {
    let disk = SimDisk::default();
    let spool = start(&disk, SpoolConfig { budget: 10_000, ..quick() });
    let mut speaker = Speaker::new(&spool, Voice(1));
    assert!(spool.admit().is_ok());
    assert_eq!(speaker.say(100).await, Appended::Logged);
    speaker.sync().await;
    assert!(spool.admit().unwrap_err().to_string().contains("budget of 10000"));
    assert_eq!(speaker.say(10).await, Appended::Logged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_stalled_disk_the_source_waits_and_nothing_is_lost() {
    let disk = SimDisk::default();
    let spool = start(&disk, quick());
    let mut speakers: Vec<_> = (1..=4).map(|number| Speaker::new(&spool, Voice(number))).collect();
    for speaker in &mut speakers {
        speaker.say(5).await;
        speaker.sync().await;
    }
    disk.stall(true);
    let speaking = speakers.into_iter().map(|mut speaker| {
        tokio::spawn(async move {
            assert_eq!(speaker.say(2_000).await, Appended::Logged);
            speaker
        })
    });
    let speaking: Vec<_> = speaking.collect();
    let waiting = speaking.iter().all(|speaker| !speaker.is_finished());
    disk.stall(false);
    assert!(waiting);
    for speaker in speaking {
        let speaker = speaker.await.unwrap();
        assert!(speaker.close().await);
        let (_, heard) = found(&disk, speaker.voice);
        assert_eq!((heard.unbroken(), heard.gaps), (2_005 * FRAME, vec![]));
    }
    assert!(disk.longest_write() <= 64 << 10, "a block of {} bytes", disk.longest_write());
}

#[tokio::test]
async fn marks_and_turns_on_a_stalled_disk_are_bounded() {
    let disk = SimDisk::default();
    let spool = start(&disk, quick());
    let mut speaker = Speaker::new(&spool, Voice(1));
    speaker.say(1).await;
    speaker.sync().await;
    disk.stall(true);
    for _ in 0..5_000 {
        speaker.log.event(Micros(0), &Event::Mark { at: 0, name: "m".repeat(1_000) });
    }
    disk.stall(false);
    assert!(speaker.close().await);
    assert!((1 << 20..2 << 20).contains(&disk.longest_write()), "{}", disk.longest_write());
    assert_eq!(found(&disk, Voice(1)).1.unbroken(), FRAME);
}

/// Any call may fail at any time, the process is killed and loses power again and again.
async fn storm(seed: u64) {
    let mut chance = Chance::new(seed);
    let voices = [Voice(1), Voice(2), Voice(3)];
    let (mut disk, mut acked) = (SimDisk::default(), [0; 3]);
    for life in 0..4 {
        let spool = start(&disk, SpoolConfig { shards: 2, ..quick() });
        let mut speakers = Vec::new();
        for voice in voices {
            let (track, _) = found(&disk, voice);
            speakers.push(
                track.map_or_else(
                    || Speaker::new(&spool, voice),
                    |track| Speaker::go_on(&spool, voice, &track),
                ),
            );
        }
        disk.read_back([ReadBack::Intact, ReadBack::Fails, ReadBack::Holes][chance.within(0..3) as usize]);
        let faults = chance.within(0..4);
        for _ in 0..faults {
            disk.fail(Call::ALL[chance.within(0..4) as usize], chance.within(1..20), 1);
        }
        for _ in 0..chance.within(1..10) {
            let speaker = &mut speakers[chance.within(0..3) as usize];
            speaker.say(chance.within(1..20)).await;
            match chance.within(0..4) {
                0 => speaker.log.flush().await,
                1 => speaker.sync().await,
                _ => {}
            }
        }
        for (acked, speaker) in acked.iter_mut().zip(&speakers) {
            *acked = speaker.acked().max(*acked);
        }
        // Not killed right after a fault: no later process can learn of a sync that failed just before.
        disk = if faults == 0 { disk.kill() } else { disk.lose_power(&mut chance) };
        for (acked, voice) in acked.iter().zip(voices) {
            let (_, heard) = found(&disk, voice);
            assert!(heard.unbroken() >= *acked, "seed {seed}, life {life}: {acked} acknowledged, {heard:?}");
        }
    }
}

#[tokio::test]
async fn no_storm_makes_a_false_acknowledgement() {
    let seed = seed();
    for seed in seed..seed + 60 {
        storm(seed).await;
    }
}

#[tokio::test]
async fn a_log_closed_on_a_full_disk_is_closed_once_there_is_room() {
    let disk = SimDisk::default();
    disk.limit(ROOM);
    let spool = start(&disk, quick());
    let mut speaker = Speaker::new(&spool, Voice(1));
    let full_at = speak_until_dropped(&mut speaker).await;
    let log = Arc::clone(&speaker.log);
    let closing = tokio::spawn(async move { log.close(Micros(0), "stop").await });
    while !speaker.log.is_closed() {
        tokio::task::yield_now().await;
    }
    assert!(!closing.is_finished());
    disk.limit(10 * ROOM);
    assert!(timeout(HANG, closing).await.expect("the close comes to its end").unwrap());
    let (_, heard) = found(&disk, Voice(1));
    assert!(heard.closed);
    assert_eq!(heard.gaps, [(full_at..speaker.sent, GapReason::Overflow)]);
}
