//! One hour of 16 kHz mono to WAV: `reeltime export` from an open log, beside ffmpeg from the raw samples.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use reeltime::spool::SpoolConfig;
use tokio::process::Command;

use super::append::median;
use super::figure::{Better, Figure};
use super::machine::cpu_of_children;
use super::spooled::Spooled;
use super::{Plan, pcm, process, progress};

/// Rounds measured, of either side; the median counts.
const ROUNDS: usize = 3;

/// CPU of ours, against ffmpeg's where there is one.
pub(super) async fn measure(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let minutes = plan.pick(60, 10);
    let folder = plan.scratch.folder("render", minutes * 60 * 32_000 * 5)?;
    let (data, raw) = (folder.path().join("data"), folder.path().join("input.raw"));
    let id = {
        let (data, raw) = (data.clone(), raw.clone());
        tokio::task::spawn_blocking(move || write(&data, &raw, minutes * 60)).await??
    };
    let wav = |name: &str| folder.path().join(name);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let export =
            process::command(&["export", &id, "-o", "ours.wav", "--data-dir", "data"], folder.path())?;
        ours.push(timed(export).await.context("reeltime export")?);
        if let Some(ffmpeg) = ffmpeg(&raw, &wav("theirs.wav")) {
            theirs.push(timed(ffmpeg).await.context("ffmpeg")?);
        }
    }
    compare(&raw, &wav("ours.wav"))?;
    let figure =
        Figure::new("render_ratio", median(ours), &format!("s CPU for {minutes} min"), Better::Lower);
    if theirs.is_empty() {
        progress("render: there is no ffmpeg to compare with");
        return Ok(vec![figure]);
    }
    Ok(vec![figure.against("ffmpeg", median(theirs))])
}

/// Writes the log and the same samples bare; the recording's id.
fn write(data: &Path, raw: &Path, seconds: u64) -> anyhow::Result<String> {
    let config =
        SpoolConfig { flush_interval: Duration::from_millis(20), reserve: 0, ..SpoolConfig::default() };
    let spooled = Spooled::start(data, config, 1, true)?;
    let mut samples = Vec::new();
    for frame in 0..seconds * pcm::FRAMES {
        let sound = pcm::frame(0, frame);
        spooled.append(frame, &sound)?;
        samples.extend_from_slice(&sound);
    }
    std::fs::write(raw, samples)?;
    std::thread::sleep(Duration::from_millis(100));
    let log = spooled.logs.first().context("no log")?;
    Ok(log.header().recording.to_string())
}

fn ffmpeg(raw: &Path, wav: &PathBuf) -> Option<Command> {
    let paths = std::env::var_os("PATH")?;
    let program = std::env::split_paths(&paths).map(|path| path.join("ffmpeg")).find(|path| path.exists())?;
    let mut command = Command::new(program);
    command.args(["-nostdin", "-loglevel", "error", "-y", "-f", "s16le", "-ar", "16000", "-ac", "1", "-i"]);
    command.arg(raw).arg(wav).stdin(Stdio::null()).kill_on_drop(true);
    Some(command)
}

/// Runs a command to its end; the result is the seconds of CPU it took.
async fn timed(mut command: Command) -> anyhow::Result<f64> {
    let before = cpu_of_children()?;
    let output = command.output().await?;
    if !output.status.success() {
        bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok((cpu_of_children()? - before).as_secs_f64())
}

fn compare(raw: &Path, wav: &Path) -> anyhow::Result<()> {
    let (raw, wav) = (std::fs::read(raw)?, std::fs::read(wav)?);
    if wav.get(44..) != Some(&raw) {
        bail!("what was rendered is not what was logged");
    }
    Ok(())
}
