//! The tee beside a live consumer.

use std::fs;
use std::sync::{Arc, Mutex};

use reeltime::file::{Container, TranscribeConfig, TranscribeRecorder};
use reeltime_core::keys::safe_name;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::judges::{assert_holds, ffmpeg_samples};
use super::{Outcome, bytes, samples};

fn recorder(directory: &std::path::Path, gain: f32) -> TranscribeRecorder {
    kept_as(directory, gain, Container::Wav)
}

fn kept_as(directory: &std::path::Path, gain: f32, format: Container) -> TranscribeRecorder {
    let bitrate = 64_000;
    let config = TranscribeConfig { enabled: true, directory: directory.into(), gain, format, bitrate };
    TranscribeRecorder::new(config).unwrap()
}

#[test]
fn another_format_takes_the_wavs_place_at_the_end() -> Outcome {
    let audio = bytes(&samples(0..16_000));
    for format in Container::ALL {
        let folder = tempfile::tempdir()?;
        let recorder = kept_as(folder.path(), 1.0, format);
        let mut session = recorder.begin("s")?;
        session.append(&audio);
        let info = session.finalize()?.ok_or("it is recorded")?;
        assert_eq!(session.finalize()?.as_ref(), Some(&info), "the second time it is the same");
        let name = info.path.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(info.format == format && name.ends_with(&format!(".{format}")), "{name}");
        let decoded = ffmpeg_samples(&info.path);
        let more = decoded.len().abs_diff(audio.len());
        match format {
            Container::Wav | Container::Flac => assert!(decoded == audio, "{format}"),
            Container::Ogg | Container::Mp3 | Container::Webm => assert_eq!(more, 0, "{format}"),
            // ffmpeg plays the last packet to its end.
            Container::Mp4 => assert!(more < 2 * 1_024, "{more}"),
        }
        let names: Vec<_> = fs::read_dir(folder.path())?.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [name.as_str()], "the wav is gone, and nothing else is there");
    }
    Ok(())
}

#[test]
fn a_file_that_has_the_name_already_is_not_touched() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut session = kept_as(folder.path(), 1.0, Container::Flac).begin("s")?;
    session.append(&[1, 0]);
    let wav = fs::read_dir(folder.path())?.next().ok_or("it is there")??.path();
    fs::write(wav.with_extension("flac"), b"somebody else's")?;
    let info = session.finalize()?.ok_or("it is recorded")?;
    assert!(info.path.to_str().unwrap().ends_with("-2.flac"), "{:?}", info.path);
    assert_eq!(fs::read(wav.with_extension("flac"))?, b"somebody else's");
    Ok(())
}

#[test]
fn the_live_path_gets_the_raw_bytes_and_the_file_the_louder_copy() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut session = recorder(folder.path(), 2.0).begin("s")?;
    let quiet: Vec<i16> = samples(0..32_000).iter().map(|sample| sample / 4).collect();
    for frame in bytes(&quiet).chunks(640) {
        let raw = frame.to_vec();
        let handed_on = session.append(&raw);
        assert!(std::ptr::eq(handed_on, &raw[..]) && handed_on == frame);
    }
    let path = session.finalize()?.ok_or("it is recorded")?.path;
    assert_eq!(fs::metadata(&path)?.len(), 64_044);
    assert_holds(&path, &bytes(&quiet.iter().map(|sample| sample * 2).collect::<Vec<_>>()));
    Ok(())
}

#[test]
fn gain_saturates_and_rounds_half_away_from_zero() -> Outcome {
    let folder = tempfile::tempdir()?;
    let given = [0, 1, -1, 3, -3, 16_383, 16_384, -16_384, -16_385, 20_000, -20_000, i16::MAX, i16::MIN];
    let doubled = [0, 2, -2, 6, -6, 32_766, 32_767, -32_768, -32_768, 32_767, -32_768, 32_767, -32_768];
    let half_more = [0, 2, -2, 5, -5, 24_575, 24_576, -24_576, -24_578, 30_000, -30_000, 32_767, -32_768];
    for (gain, expected) in [(1.0, given), (2.0, doubled), (1.5, half_more), (0.1, given)] {
        let mut session = recorder(folder.path(), gain).begin("s")?;
        session.append(&bytes(&given));
        let path = session.finalize()?.ok_or("it is recorded")?.path;
        assert!(fs::read(path)?[44..] == bytes(&expected), "gain {gain}");
    }
    Ok(())
}

#[test]
fn a_file_is_named_after_its_session_and_the_time() -> Outcome {
    let folder = tempfile::tempdir()?;
    let recorder = recorder(folder.path(), 2.0);
    for id in ["abc-1", "../../x", ""] {
        let info = recorder.begin(id)?.finalize()?.ok_or("it is recorded")?;
        let name = format!("session_{}_{}.wav", safe_name(id), info.started_at.unix_seconds());
        let earlier = format!("session_{}_{}.wav", safe_name(id), info.started_at.unix_seconds() - 1);
        let found = info.path.file_name().unwrap().to_str().unwrap();
        assert!(found == name || found == earlier, "{found} for {id:?}");
        assert_eq!(info.path.parent(), Some(folder.path()));
    }
    let (first, second) = (recorder.begin("twice")?.finalize()?, recorder.begin("twice")?.finalize()?);
    assert_ne!(first.map(|info| info.path), second.map(|info| info.path));
    Ok(())
}

#[test]
fn the_second_finalize_does_nothing() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut session = recorder(folder.path(), 2.0).begin("s")?;
    session.append(&[1, 0]);
    let info = session.finalize()?.ok_or("it is recorded")?;
    let content = fs::read(&info.path)?;
    assert_eq!(session.append(&[9, 0]), [9, 0], "the live path goes on");
    assert_eq!(session.finalize()?.as_ref(), Some(&info));
    assert_eq!(fs::read(&info.path)?, content);
    Ok(())
}

#[test]
fn odd_and_empty_frames_are_dropped_counted_and_warned_of_once() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (log, session) = logged(|| {
        let mut session = recorder(folder.path(), 1.0).begin("s").unwrap();
        for frame in [&[1, 2][..], &[], &[3], &[3, 4], &[5, 6, 7], &[8, 9]] {
            assert_eq!(session.append(frame), frame);
        }
        session
    });
    let mut session = session;
    assert_eq!(session.dropped_frames(), 3);
    let path = session.finalize()?.ok_or("it is recorded")?.path;
    assert_eq!(fs::read(path)?[44..], [1, 2, 3, 4, 8, 9]);
    assert_eq!(count(&log, Level::WARN, "odd length"), 1);
    assert_eq!(count(&log, Level::DEBUG, "odd length"), 2);
    Ok(())
}

#[test]
fn a_run_of_silence_gives_one_warning_and_the_next_run_another() {
    let folder = tempfile::tempdir().unwrap();
    let (silent, loud) = ([50_u8, 0].repeat(320), [0_u8, 10].repeat(320));
    let (log, _) = logged(|| {
        // A gain that lifts the copy above the mark: the raw frame is what counts.
        let mut session = recorder(folder.path(), 4.0).begin("s").unwrap();
        for _ in 0..50 {
            session.append(&silent);
        }
        session.append(&loud);
        for _ in 0..300 {
            session.append(&silent);
        }
        session.append(&loud);
        for _ in 0..51 {
            session.append(&silent);
        }
    });
    assert_eq!(count(&log, Level::WARN, "in a row are silent"), 2);
}

type Log = Vec<(Level, String)>;

fn count(log: &Log, level: Level, words: &str) -> usize {
    log.iter().filter(|(at, message)| *at == level && message.contains(words)).count()
}

/// What `work` logs on this thread.
fn logged<T>(work: impl FnOnce() -> T) -> (Log, T) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let result = tracing::subscriber::with_default(Collector(Arc::clone(&log)), work);
    let log = log.lock().unwrap().clone();
    (log, result)
}

struct Collector(Arc<Mutex<Log>>);

impl Subscriber for Collector {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push((*event.metadata().level(), message.0));
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
