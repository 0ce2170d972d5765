//! The sound beside a log: a WAV that is the recording itself, where nothing is missing in it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reeltime::spool::{FinishedSound, LocalDisk, Spool, SpoolConfig, TrackLog, recover};
use reeltime_core::log::{Event, GapReason, LogHeader, PacketMeta};
use reeltime_core::media::{Codec, Format, wav};
use reeltime_core::time::Micros;
use reeltime_testkit::voice::Voice;
use tempfile::TempDir;

const FRAME: u64 = 160;

fn start(folder: &Path) -> (Arc<LocalDisk>, Spool) {
    let disk = Arc::new(LocalDisk::open(folder).expect("the folder is there"));
    let config =
        SpoolConfig { flush_interval: Duration::from_millis(2), reserve: 0, ..SpoolConfig::default() };
    let spool = Spool::start(Arc::clone(&disk) as _, config).expect("a spool starts");
    (disk, spool)
}

async fn say(log: &TrackLog, frames: std::ops::Range<u64>) -> Vec<u8> {
    let mut said = Vec::new();
    for at in frames.map(|frame| frame * FRAME) {
        let payload = Voice(1).says(at..at + FRAME);
        log.append(Voice::meta(at), FRAME, &payload).await.expect("the log is open");
        said.extend(payload);
    }
    said
}

async fn close(log: &TrackLog) {
    assert!(log.close(Micros(1), "stop").await);
}

fn finished(spool: &Spool, log: &TrackLog, filled: bool) -> Option<FinishedSound> {
    assert!(log.is_ours(), "this process has seen all of it");
    spool.finished_sound(log, &log.layout()?, filled).expect("the file can be read")
}

#[tokio::test]
async fn an_unbroken_track_is_a_finished_file_when_its_log_is_closed() {
    let folder = TempDir::new().expect("a folder");
    let (_, spool) = start(folder.path());
    let log = spool.create(Voice(1).header());
    let said = say(&log, 0..25).await;
    assert!(finished(&spool, &log, true).is_none(), "it is still open");
    close(&log).await;
    let sound = finished(&spool, &log, true).expect("nothing is missing");
    let head = wav::Head::of(Voice(1).header().format, Some(25 * FRAME)).expect("samples").to_bytes();
    let bytes = fs::read(&sound.path).expect("it is there");
    assert!(bytes == [head, said].concat(), "a head with its sizes, then what was said");
    assert_eq!(sound.size, bytes.len() as u64);
    let again = finished(&spool, &log, true).expect("asking twice is the same as once");
    assert!(fs::read(&again.path).expect("it is there") == bytes);
}

#[tokio::test]
async fn while_it_is_recorded_its_head_says_to_the_end() {
    let folder = TempDir::new().expect("a folder");
    let (_, spool) = start(folder.path());
    let log = spool.create(Voice(1).header());
    let said = say(&log, 0..3).await;
    log.flush().await;
    let path = folder.path().join(format!("{}-0.wav", log.id()));
    let head = wav::Head::of(Voice(1).header().format, None).expect("samples").to_bytes();
    assert!(fs::read(path).expect("it is there") == [head, said].concat());
}

#[tokio::test]
async fn where_something_is_missing_it_is_finished_only_for_whoever_wants_no_silence() {
    let folder = TempDir::new().expect("a folder");
    let (_, spool) = start(folder.path());
    let log = spool.create(Voice(1).header());
    say(&log, 0..5).await;
    log.event(Micros(0), &Event::Gap { at: 5 * FRAME, samples: FRAME, reason: GapReason::Loss });
    say(&log, 6..9).await;
    close(&log).await;
    assert!(finished(&spool, &log, true).is_none());
    let cut = finished(&spool, &log, false).expect("what was received lies there in order");
    assert_eq!(cut.size, 44 + 2 * 8 * FRAME);
}

#[tokio::test]
async fn a_duplicate_makes_it_unfinished() {
    let folder = TempDir::new().expect("a folder");
    let (_, spool) = start(folder.path());
    let log = spool.create(Voice(1).header());
    say(&log, 0..5).await;
    say(&log, 4..6).await;
    close(&log).await;
    assert!(finished(&spool, &log, true).is_none() && finished(&spool, &log, false).is_none());
}

#[tokio::test]
async fn a_file_that_was_changed_meanwhile_is_not_taken() {
    let folder = TempDir::new().expect("a folder");
    let (_, spool) = start(folder.path());
    let log = spool.create(Voice(1).header());
    say(&log, 0..5).await;
    close(&log).await;
    let path = folder.path().join(format!("{}-0.wav", log.id()));
    let file = fs::OpenOptions::new().write(true).open(path).expect("it is there");
    file.set_len(100).expect("it is cut");
    assert!(finished(&spool, &log, true).is_none());
}

#[tokio::test]
async fn a_track_that_went_on_in_another_process_is_not_one_file() {
    let folder = TempDir::new().expect("a folder");
    let (disk, spool) = start(folder.path());
    let log = spool.create(Voice(1).header());
    say(&log, 0..5).await;
    log.sync().await;
    drop(spool);
    let found = recover(&*disk, 1).expect("the folder is read");
    let (_, spool) = start(folder.path());
    let log = spool.resume(&found.tracks[0]);
    say(&log, 5..9).await;
    close(&log).await;
    assert!(log.layout().is_none(), "only the files know its timeline");
    let layout = reeltime_core::timeline::Layout::default();
    assert!(spool.finished_sound(&log, &layout, true).expect("no file is asked for").is_none());
}

#[tokio::test]
async fn an_odd_number_of_bytes_is_padded() {
    let folder = TempDir::new().expect("a folder");
    let (_, spool) = start(folder.path());
    let format = Format { codec: Codec::Mulaw, rate: 8_000, channels: 1 };
    let log = spool.create(LogHeader { format, ..Voice(1).header() });
    let meta = PacketMeta { arrival: Micros(0), timestamp: 0, sequence: None };
    log.append(meta, 3, &[1, 2, 3]).await.expect("the log is open");
    close(&log).await;
    let sound = finished(&spool, &log, true).expect("nothing is missing");
    let bytes = fs::read(&sound.path).expect("it is there");
    assert_eq!((&bytes[58..], sound.size), (&[1, 2, 3, 0][..], 62));
    assert!(finished(&spool, &log, true).is_some(), "also when it is padded already");
}
