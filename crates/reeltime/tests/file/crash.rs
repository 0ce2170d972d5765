//! A process that dies, a disk that is full, and the start after it. The process that dies is this test binary,
//! started again with [`DIRECTORY`] set.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reeltime::file::{
    ConversationRecorder, FileError, Outcome as Found, TranscribeConfig, TranscribeRecorder, repair,
};

use super::judges::{assert_holds, ffprobe_samples, wave_audio};
use super::{Outcome, bytes, samples};

const DIRECTORY: &str = "REELTIME_TEST_CHILD_DIRECTORY";
const FRAME: usize = 320;

#[test]
#[ignore = "the process that is killed by the tests below; alone it has nothing to do"]
fn child_records_until_it_is_killed() -> Outcome {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return Ok(()) };
    let mut recorder = ConversationRecorder::create(directory, "call", 16_000)?;
    let mut told = std::io::stdout();
    for frame in 0.. {
        let from = frame * FRAME;
        recorder.write_samples(&samples(from..from + FRAME), 16_000)?;
        // Around the test harness, which would keep what is printed to itself.
        writeln!(told, "frame {frame}")?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Starts the child and returns when it has passed in so many frames.
fn record_elsewhere(directory: &Path, frames: usize) -> Result<(Child, usize), Box<dyn std::error::Error>> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--ignored", "--exact", "crash::child_records_until_it_is_killed", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
    let last = format!("frame {}", frames - 1);
    let told = lines.by_ref().find(|line| line.as_ref().is_ok_and(|line| line.ends_with(&last)));
    assert!(told.is_some(), "the child ended before {last}");
    // Its pipe must not break while it goes on.
    std::thread::spawn(move || lines.for_each(drop));
    Ok((child, frames * FRAME))
}

fn kill(mut child: Child) -> Outcome {
    child.kill()?;
    child.wait()?;
    Ok(())
}

#[test]
fn kill_9_costs_the_last_moment_and_the_next_start_finishes_the_file() -> Outcome {
    for frames in [45, 83] {
        let folder = tempfile::tempdir()?;
        let (child, passed) = record_elsewhere(folder.path(), frames)?;
        kill(child)?;
        let path = folder.path().join("call.wav");
        let kept = usize::try_from(ffprobe_samples(&path))?;
        // 200 ms by design; twice that again for a machine that is busy with other tests.
        assert!(kept + 16_000 * 6 / 10 >= passed, "{passed} samples were passed in, {kept} are there");
        let audio = bytes(&samples(0..kept));
        assert!(wave_audio(&path) == audio, "it plays before it is repaired");

        let found = repair(folder.path())?;
        assert!(
            matches!(&found[..], [one] if one.path == path && matches!(one.outcome,
                Found::Finished { sample_rate: 16_000, samples } if samples == kept as u64)),
            "{found:?}"
        );
        assert_holds(&path, &audio);
        assert_eq!(repair(folder.path())?.len(), 0, "there is nothing left to do");
        assert_holds(&path, &audio);
    }
    Ok(())
}

#[test]
fn what_another_process_or_this_one_records_is_left_alone() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (child, _) = record_elsewhere(folder.path(), 3)?;
    let mut mine = ConversationRecorder::create(folder.path(), "mine", 16_000)?;
    let found = repair(folder.path())?;
    let names: Vec<_> = found.iter().map(|one| one.path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["call.wav", "mine.wav"]);
    assert!(found.iter().all(|one| matches!(one.outcome, Found::InUse)), "{found:?}");
    kill(child)?;
    mine.write_samples(&samples(0..500), 16_000)?;
    let path = mine.close()?.path;
    assert_holds(&path, &bytes(&samples(0..500)));
    assert!(matches!(&repair(folder.path())?[..], [one] if matches!(one.outcome, Found::Finished { .. })));
    Ok(())
}

#[test]
#[ignore = "the process that runs into a limit in the test below; alone it has nothing to do"]
fn child_records_until_the_disk_refuses() -> Outcome {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return Ok(()) };
    let mut recorder = ConversationRecorder::create(directory, "call", 16_000)?;
    let refused = (0..).find_map(|block| {
        let from = block * 16_000;
        recorder.write_samples(&samples(from..from + 16_000), 16_000).err()
    });
    let closed = recorder.close().expect_err("the file is not complete");
    writeln!(std::io::stdout(), "refused: {}\nclosed: {closed}", refused.ok_or("never refused")?)?;
    Ok(())
}

#[test]
fn a_disk_that_takes_no_more_is_told_and_what_it_took_plays() -> Outcome {
    let folder = tempfile::tempdir()?;
    // The shell's unit differs (512 or 1,024 bytes); what matters is that the limit comes soon.
    let limited = "trap '' XFSZ; ulimit -f 1000; exec \"$@\"";
    let output = Command::new("sh")
        .args(["-c", limited, "sh"])
        .arg(std::env::current_exe()?)
        .args(["--ignored", "--exact", "crash::child_records_until_the_disk_refuses", "--nocapture"])
        .env(DIRECTORY, folder.path())
        .output()?;
    let told = String::from_utf8(output.stdout)?;
    let path = folder.path().join("call.wav");
    for call in ["refused", "closed"] {
        let expected = format!("{call}: cannot write {}: File too large", path.display());
        assert!(told.contains(&expected), "{told} {}", String::from_utf8_lossy(&output.stderr));
    }
    let kept = (fs::metadata(&path)?.len() - 44) / 2;
    assert!(kept > 200_000, "{kept} samples");
    assert_holds(&path, &bytes(&samples(0..usize::try_from(kept)?)));
    Ok(())
}

#[test]
fn the_transcribe_recorder_repairs_its_folder_when_it_starts() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (child, _) = record_elsewhere(folder.path(), 30)?;
    kill(child)?;
    let path = folder.path().join("call.wav");
    assert_eq!(fs::read(&path)?[40..44], [0xff; 4]);
    TranscribeRecorder::new(TranscribeConfig {
        enabled: true,
        directory: folder.path().into(),
        gain: 1.0,
        ..TranscribeConfig::default()
    })?;
    let length = u32::try_from(fs::metadata(&path)?.len())? - 44;
    assert_eq!(fs::read(&path)?[40..44], length.to_le_bytes());
    Ok(())
}

#[test]
fn repair_touches_nothing_but_its_own_open_files() -> Outcome {
    let folder = tempfile::tempdir()?;
    let outside = tempfile::tempdir()?;
    let open = {
        let mut recorder = ConversationRecorder::create(outside.path(), "a", 8_000)?;
        recorder.write_samples(&[1, 2], 8_000)?;
        let content = fs::read(recorder.path())?;
        assert_eq!(content[40..44], [0xff; 4]);
        recorder.close()?;
        [&content[..44], &[1, 0, 2]].concat()
    };
    fs::write(outside.path().join("linked.wav"), &open)?;
    symlink(outside.path().join("linked.wav"), folder.path().join("link.wav"))?;
    fs::create_dir(folder.path().join("folder.wav"))?;
    let streamed = [&open[..12], b"LIST\x04\0\0\0INFO", &open[12..]].concat();
    let others =
        [("short.wav", &open[..40]), ("note.txt", &open), ("empty.wav", &[]), ("streamed.wav", &streamed)];
    for (name, content) in others {
        fs::write(folder.path().join(name), content)?;
    }
    fs::write(folder.path().join("open.wav"), &open)?;

    let found = repair(folder.path())?;
    assert!(
        matches!(&found[..], [one] if one.path.ends_with("open.wav")
            && matches!(one.outcome, Found::Finished { sample_rate: 8_000, samples: 1 })),
        "{found:?}"
    );
    assert_eq!(fs::read(folder.path().join("open.wav"))?[40..], [2, 0, 0, 0, 1, 0], "half a sample is cut");
    for (name, content) in others {
        assert!(fs::read(folder.path().join(name))? == content, "{name} was changed");
    }
    assert!(fs::read(outside.path().join("linked.wav"))? == open, "a link was followed");
    assert_eq!(repair(folder.path().join("missing"))?.len(), 0);
    assert!(matches!(repair(folder.path().join("note.txt")), Err(FileError::Look { .. })));
    Ok(())
}
