//! Files made on demand beside ffmpeg's, from the same samples: a call of four speakers of an hour mixed, one of them
//! alone, and how soon a long recording is heard.
//!
//! Ours is the server's CPU time from the request to the last byte, with the file kept as well; theirs is a process
//! that reads the bare samples and writes a file.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use reeltime::spool::SpoolConfig;
use serde_json::Value;
use tokio::process::Command;

use super::figure::{Better, Figure};
use super::machine::cpu_of_children;
use super::process::Server;
use super::spooled::Spooled;
use super::{Plan, client, pcm, progress, speech};

const SPEAKERS: u64 = 4;

/// One file: its name, what is asked of us, what ffmpeg is told, how many inputs it has, and the bar.
struct Case {
    name: &'static str,
    query: &'static str,
    ffmpeg: &'static [&'static str],
    tracks: u64,
    bar: f64,
}

const MIX: &str = "amix=inputs=4:normalize=0";

/// Ratios are of speed: how many times as fast as ffmpeg.
const CASES: &[Case] = &[
    Case {
        name: "mix_to_wav",
        query: "layout=mono&decode=1",
        ffmpeg: &["-filter_complex", MIX, "-f", "wav"],
        tracks: 4,
        bar: 2.0,
    },
    Case {
        name: "mix_to_flac",
        query: "format=flac&layout=mono",
        ffmpeg: &["-filter_complex", MIX, "-f", "flac"],
        tracks: 4,
        bar: 2.0,
    },
    Case { name: "track_to_wav", query: "", ffmpeg: &["-f", "wav"], tracks: 1, bar: 2.0 },
    Case { name: "track_to_flac", query: "format=flac", ffmpeg: &["-f", "flac"], tracks: 1, bar: 2.0 },
    Case {
        name: "track_to_mp3",
        query: "format=mp3&bitrate=64k",
        ffmpeg: &["-c:a", "libmp3lame", "-b:a", "64k", "-compression_level", "5", "-f", "mp3"],
        tracks: 1,
        bar: 0.9,
    },
    Case {
        name: "track_to_opus_equal",
        query: "format=ogg&bitrate=48k",
        ffmpeg: &["-c:a", "libopus", "-b:a", "48k", "-compression_level", "0", "-f", "ogg"],
        tracks: 1,
        bar: 0.9,
    },
    Case {
        name: "track_to_opus_default",
        query: "format=ogg&rate=16000",
        ffmpeg: &["-c:a", "libopus", "-f", "ogg"],
        tracks: 1,
        bar: 4.0,
    },
    Case {
        name: "track_to_aac",
        query: "format=mp4&bitrate=64k",
        ffmpeg: &["-c:a", "aac", "-b:a", "64k", "-f", "mp4"],
        tracks: 1,
        bar: 0.9,
    },
];

/// Speed of each format, and how soon three hours are heard.
pub(super) async fn measure(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let seconds = plan.pick(3_600, 300);
    let folder = plan.scratch.folder("formats", (SPEAKERS * 3 + 12) * seconds * 32_000)?;
    progress(&format!(
        "formats: writing {SPEAKERS} speakers of {} min and one of three times that",
        seconds / 60
    ));
    let data = folder.path().to_owned();
    tokio::task::spawn_blocking(move || write(&data, seconds)).await??;
    let arguments = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        "data",
        "--resume-window",
        "1s",
        "--renditions",
        "none",
    ];
    let server = Server::start(&arguments, folder.path()).await?;
    client::wait_complete(&server, 2, Duration::from_secs(300)).await?;
    let (call, long) = found(&server).await?;
    let mut figures = Vec::new();
    for case in CASES {
        figures.push(compare(&server, &call, case, folder.path(), seconds).await?);
    }
    figures.extend(soon(&server, &long).await?);
    server.kill().await?;
    Ok(figures)
}

/// The call of several tracks, and the long recording.
async fn found(server: &Server) -> anyhow::Result<(Value, String)> {
    let (_, list) = client::get(server.address, "/api/v1/recordings").await?;
    let list: Value = serde_json::from_slice(&list)?;
    let ids = list["items"].as_array().context("no list")?.iter().filter_map(|item| item["id"].as_str());
    let (mut call, mut long) = (None, None);
    for id in ids {
        let (_, one) = client::get(server.address, &format!("/api/v1/recordings/{id}")).await?;
        let one: Value = serde_json::from_slice(&one)?;
        match one["tracks"].as_array().map_or(0, Vec::len) {
            1 => long = Some(id.to_owned()),
            _ => call = Some(one),
        }
    }
    Ok((call.context("there is no call")?, long.context("there is no long recording")?))
}

async fn compare(
    server: &Server,
    call: &Value,
    case: &Case,
    folder: &Path,
    seconds: u64,
) -> anyhow::Result<Figure> {
    let id = call["id"].as_str().context("no id")?;
    let track = call["tracks"][0]["id"].as_str().context("no track")?;
    let only = if case.tracks == 1 { format!("&track={track}") } else { String::new() };
    let before = server.cpu()?;
    let path = format!("/api/v1/recordings/{id}/stream?{}{only}", case.query);
    let made = client::drain(server.address, &path, None).await?;
    let ours = (server.cpu()? - before).as_secs_f64();
    if made.bytes < seconds * 1_000 {
        bail!("{path}: only {} bytes", made.bytes);
    }
    let theirs = ffmpeg(case, folder).await?;
    let speed = |cpu: f64| seconds as f64 / cpu.max(0.01);
    let figure = Figure::new(case.name, speed(ours), "times real time on a core", Better::Higher);
    Ok(match theirs {
        Some(theirs) => figure.against("ffmpeg", speed(theirs)).bar(case.bar),
        None => figure,
    })
}

/// Seconds of CPU; `None` where there is no ffmpeg.
async fn ffmpeg(case: &Case, folder: &Path) -> anyhow::Result<Option<f64>> {
    let Some(program) = program("ffmpeg") else { return Ok(None) };
    let mut command = Command::new(program);
    command.args(["-nostdin", "-loglevel", "error", "-y"]);
    for track in 0..case.tracks {
        command.args(["-f", "s16le", "-ar", "16000", "-ac", "1", "-i"]).arg(raw(folder, track));
    }
    command.args(case.ffmpeg).arg(folder.join("theirs")).stdin(Stdio::null()).kill_on_drop(true);
    let before = cpu_of_children()?;
    let output = command.output().await?;
    if !output.status.success() {
        progress(&format!("ffmpeg cannot: {}", String::from_utf8_lossy(&output.stderr).trim()));
        return Ok(None);
    }
    Ok(Some((cpu_of_children()? - before).as_secs_f64()))
}

fn program(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|path| path.join(name)).find(|path| path.exists())
}

/// Of the long recording as MP3: the first byte, a place in the middle once it is made, and the memory it took.
async fn soon(server: &Server, id: &str) -> anyhow::Result<[Figure; 3]> {
    let path = format!("/api/v1/recordings/{id}/stream?format=mp3");
    let resident = server.resident()?;
    let watching = client::drain(server.address, &path, None);
    let mut watching = std::pin::pin!(watching);
    let mut peak = resident;
    let made = loop {
        tokio::select! {
            made = &mut watching => break made?,
            () = tokio::time::sleep(Duration::from_millis(20)) => peak = peak.max(server.resident()?),
        }
    };
    let start = Instant::now();
    let middle = made.bytes / 2;
    let sought = client::drain(server.address, &path, Some(middle..middle + 65_536)).await?;
    let seek = start.elapsed();
    if sought.bytes != 65_536 {
        bail!("a range of what was made has {} bytes", sought.bytes);
    }
    let milliseconds = |time: Duration| time.as_secs_f64() * 1_000.0;
    let memory = peak.saturating_sub(resident) as f64 / f64::from(1 << 20);
    Ok([
        Figure::new(
            "first_byte",
            milliseconds(made.first),
            "ms to the first byte of a long MP3",
            Better::Lower,
        )
        .bar(200.0),
        Figure::new("seek", milliseconds(seek), "ms to 64 KiB in its middle, once made", Better::Lower)
            .bar(200.0),
        Figure::new("render_memory", memory, "MiB more at most while it is made", Better::Lower).bar(16.0),
    ])
}

fn raw(folder: &Path, track: u64) -> PathBuf {
    folder.join(format!("input-{track}.raw"))
}

/// Writes the logs of both recordings, and the first one's samples bare.
fn write(folder: &Path, seconds: u64) -> anyhow::Result<()> {
    let config =
        SpoolConfig { flush_interval: Duration::from_millis(20), reserve: 0, ..SpoolConfig::default() };
    let spooled = Spooled::start_call(&folder.join("data"), config, SPEAKERS, 1)?;
    let (call, long) = spooled.logs.split_at(SPEAKERS as usize);
    for (number, log) in call.iter().enumerate() {
        let mut samples = Vec::new();
        for frame in 0..seconds * pcm::FRAMES {
            let sound = speech::frame(number as u64, frame);
            Spooled::append_to(log, frame, &sound)?;
            samples.extend_from_slice(&sound);
        }
        std::fs::write(raw(folder, number as u64), samples)?;
    }
    for frame in 0..3 * seconds * pcm::FRAMES {
        Spooled::append_to(&long[0], frame, &speech::frame(9, frame))?;
    }
    std::thread::sleep(Duration::from_millis(100));
    Ok(())
}
