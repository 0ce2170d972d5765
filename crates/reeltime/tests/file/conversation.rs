//! One call, one file.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use reeltime::file::{Container, ConversationRecorder, FileError};
use reeltime_core::keys::build_recording_key;

use super::judges::{assert_holds, ffprobe_samples, sox_audio, soxi_rate, wave_audio};
use super::{Outcome, bytes, samples};

/// Waits until the file holds this many samples.
fn await_samples(path: &Path, samples: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while fs::metadata(path).unwrap().len() < 44 + samples * 2 {
        assert!(Instant::now() < deadline, "nothing writes the queue");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn two_seconds_of_16_khz_are_64044_bytes_and_every_judge_reads_them() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut recorder = ConversationRecorder::create(folder.path().join("new/folder"), "session-123", 16_000)?;
    let audio = samples(0..32_000);
    for frame in audio.chunks(320) {
        recorder.write_samples(frame, 16_000)?;
    }
    let info = recorder.close()?;
    assert_eq!(info.path, folder.path().join("new/folder/session-123.wav"));
    assert_eq!(fs::metadata(&info.path)?.len(), 64_044);
    assert_eq!(info.format, Container::Wav);
    assert!(info.started_at <= info.ended_at && info.started_at.unix_seconds() > 1_700_000_000);
    assert_holds(&info.path, &bytes(&audio));
    let key = build_recording_key("recordings/", "session-123", info.format.name(), info.started_at)?;
    assert!(key.as_str().ends_with("/session-123.wav"), "{key}");
    Ok(())
}

#[test]
fn closing_twice_returns_the_same_and_leaves_the_file_alone() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut recorder = ConversationRecorder::create(folder.path(), "a", 8_000)?;
    recorder.write_samples(&[1, 2, 3], 8_000)?;
    let info = recorder.close()?;
    let content = fs::read(&info.path)?;
    fs::remove_file(&info.path)?;
    assert_eq!(recorder.close()?, info);
    assert!(!info.path.exists());
    assert_eq!(content[44..], [1, 0, 2, 0, 3, 0]);
    Ok(())
}

#[test]
fn misuse_is_a_typed_error_that_says_what_to_do() -> Outcome {
    let folder = tempfile::tempdir()?;
    let zero = ConversationRecorder::create(folder.path(), "a", 0).unwrap_err();
    assert!(matches!(zero, FileError::ZeroRate), "{zero}");
    assert_eq!(fs::read_dir(folder.path())?.count(), 0, "and no file is left of it");

    let mut recorder = ConversationRecorder::create(folder.path(), "a", 16_000)?;
    assert!(matches!(recorder.write_samples(&[1], 0), Err(FileError::ZeroRate)));
    let changed = recorder.write_samples(&[1], 8_000).unwrap_err();
    assert!(matches!(changed, FileError::RateChanged { recorded: 16_000, given: 8_000, .. }), "{changed}");
    assert!(
        changed.to_string().contains("a.wav is recorded at 16000 Hz") && changed.to_string().contains("8000")
    );

    recorder.write_samples(&[7], 16_000)?;
    let path = recorder.close()?.path;
    for samples in [&[1_i16][..], &[]] {
        let closed = recorder.write_samples(samples, 16_000).unwrap_err();
        assert!(matches!(&closed, FileError::Closed { path: closed } if *closed == path), "{closed}");
    }
    assert_eq!(fs::read(&path)?[44..], [7, 0], "what was refused is not in the file");
    Ok(())
}

#[test]
fn a_folder_that_cannot_be_used_is_told() -> Outcome {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("file"), b"")?;
    let error = ConversationRecorder::create(folder.path().join("file"), "a", 16_000).unwrap_err();
    assert!(matches!(error, FileError::Create { .. }), "{error}");
    assert!(error.to_string().contains("/file: ") && error.to_string().contains("choose another folder"));
    Ok(())
}

#[test]
fn what_exists_is_never_overwritten() -> Outcome {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("a.wav"), b"precious")?;
    symlink("nowhere", folder.path().join("a-2.wav"))?;
    let mut recorders = Vec::new();
    for rate in [8_000, 16_000] {
        recorders.push(ConversationRecorder::create(folder.path(), "a", rate)?);
    }
    let names: Vec<_> = recorders.iter().map(|one| one.path().file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["a-3.wav", "a-4.wav"]);
    recorders[0].write_samples(&[3], 8_000)?;
    recorders[1].write_samples(&[4], 16_000)?;
    for (recorder, content) in recorders.iter_mut().zip([[3, 0], [4, 0]]) {
        assert_eq!(fs::read(recorder.close()?.path)?[44..], content);
    }
    assert_eq!(fs::read(folder.path().join("a.wav"))?, b"precious");
    assert!(!folder.path().join("nowhere").exists());
    Ok(())
}

#[test]
fn a_hostile_name_stays_in_the_folder() -> Outcome {
    let folder = tempfile::tempdir()?;
    for name in ["../../etc/passwd", "", "..", "a\0b", "\u{202e}gnp", &"x".repeat(5_000)] {
        let path = ConversationRecorder::create(folder.path(), name, 16_000)?.close()?.path;
        assert_eq!(path.parent(), Some(folder.path()), "{name:?}");
        assert_eq!(fs::metadata(path)?.len(), 44);
    }
    assert_eq!(fs::read_dir(folder.path())?.count(), 6);
    Ok(())
}

#[test]
fn any_player_opens_it_at_any_instant() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut recorder = ConversationRecorder::create(folder.path(), "live", 16_000)?;
    let path = recorder.path().to_owned();
    assert_eq!((soxi_rate(&path), wave_audio(&path), sox_audio(&path)), (16_000, vec![], vec![]));
    let audio = samples(0..40_000);
    for (at, second) in audio.chunks(8_000).enumerate() {
        recorder.write_samples(second, 16_000)?;
        let written = (at + 1) * 8_000;
        await_samples(&path, written as u64);
        let so_far = bytes(&audio[..written]);
        assert_eq!((ffprobe_samples(&path), soxi_rate(&path)), (written as u64, 16_000));
        assert!(wave_audio(&path) == so_far && sox_audio(&path) == so_far, "after {written} samples");
    }
    assert_holds(&recorder.close()?.path, &bytes(&audio));
    Ok(())
}

#[test]
fn audio_that_comes_much_faster_than_the_disk_is_asked_waits_and_is_all_there() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut recorder = ConversationRecorder::create(folder.path(), "fast", 48_000)?;
    let audio = samples(0..4_000_000);
    for block in audio.chunks(1_234_567) {
        recorder.write_samples(block, 48_000)?;
    }
    assert!(fs::read(recorder.close()?.path)?[44..] == bytes(&audio));
    Ok(())
}

#[test]
fn a_recorder_that_is_dropped_closes_its_file() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut recorder = ConversationRecorder::create(folder.path(), "a", 16_000)?;
    recorder.write_samples(&samples(0..100), 16_000)?;
    let path = recorder.path().to_owned();
    drop(recorder);
    assert_holds(&path, &bytes(&samples(0..100)));
    Ok(())
}

#[test]
fn recorders_of_one_name_from_many_threads_do_not_collide() -> Outcome {
    let folder = tempfile::tempdir()?;
    std::thread::scope(|scope| {
        for number in 0..40_i16 {
            let folder = folder.path();
            scope.spawn(move || {
                let mut recorder = ConversationRecorder::create(folder, "same", 16_000).unwrap();
                for _ in 0..50 {
                    recorder.write_samples(&[number; 320], 16_000).unwrap();
                }
                recorder.close().unwrap();
            });
        }
    });
    let mut seen = Vec::new();
    for entry in fs::read_dir(folder.path())? {
        let content = fs::read(entry?.path())?;
        assert!(
            content.len() == 44 + 50 * 640 && content[44..].chunks(2).all(|pair| pair == &content[44..46])
        );
        seen.push(content[44]);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..40).collect::<Vec<u8>>());
    Ok(())
}
