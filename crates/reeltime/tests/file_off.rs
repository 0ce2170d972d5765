//! The transcribe recorder, switched off. Alone in its process, so that a thread it started would show.

#![allow(clippy::unwrap_used, reason = "what a test's helpers meet in a broken setup may end the test")]

use std::fs;

use reeltime::file::{ConversationRecorder, TranscribeConfig, TranscribeRecorder};

fn writer_threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.starts_with("wav-")).count()
}

#[test]
fn switched_off_it_makes_no_file_no_folder_and_no_thread() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let directory = folder.path().join("recordings");
    let off = TranscribeConfig::from_vars(|name| {
        (name == "BACKEND_RECORD_DIR").then(|| directory.clone().into_os_string())
    })?;
    let recorder = TranscribeRecorder::new(TranscribeConfig { directory: directory.clone(), ..off })?;
    assert!(!recorder.is_enabled());
    let mut session = recorder.begin("s")?;
    for frame in [&[1, 2][..], &[], &[3]] {
        assert!(std::ptr::eq(session.append(frame), frame));
    }
    assert_eq!((session.finalize()?, session.dropped_frames()), (None, 0));
    assert!(!directory.exists());
    assert_eq!(writer_threads(), 0);

    ConversationRecorder::create(folder.path(), "a", 16_000)?.close()?;
    assert_eq!(writer_threads(), 2, "so the count above can tell");
    Ok(())
}
