//! `reeltime send`: plays files or stdin into a server, as the speakers of one call. What the server has not
//! acknowledged is kept, so that nothing is lost when it goes away meanwhile.

mod backoff;
mod ffmpeg;
mod held;
mod input;
mod link;
mod opus;
mod pace;
mod report;
mod speaker;
mod wav;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail};
use clap::Args;
use futures_util::future::join_all;
use reeltime_core::media::{Codec, Format};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::http::Client;
use crate::client::progress::Screen;
use crate::client::{Key, printable};
use crate::exit::Usage;
use crate::settings::duration;
use input::{Input, Raw};
use link::{Link, Session};
use report::Report;
use speaker::{Plan, Speaker};

/// The most that a speaker's name takes of a line.
const LABEL: usize = 40;

/// `reeltime send`.
#[derive(Debug, Args)]
pub(crate) struct Send {
    /// What to send, each file as one participant of the call; `-` is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The server: http://host:port or ws://host:port/v1/ingest/pcm
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7400")]
    to: String,
    #[command(flatten)]
    key: Key,
    /// The call's name; by default the server's choice, or a new one for several files
    #[arg(long, value_name = "NAME")]
    call: Option<String>,
    /// The participants' names, in the order of the files; by default the files' names
    #[arg(long = "as", value_name = "NAME")]
    names: Vec<String>,
    /// Times real time
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, conflicts_with = "fast")]
    speed: f64,
    /// As fast as the server takes it
    #[arg(long)]
    fast: bool,
    /// The input is raw: s16le, mulaw or alaw
    #[arg(long, value_name = "CODEC")]
    codec: Option<String>,
    /// The input is raw, with so many samples per second [default: 16000, G.711 8000]
    #[arg(long, value_name = "HZ")]
    rate: Option<u32>,
    /// The input is raw, with so many interleaved channels [default: 1]
    #[arg(long, value_name = "N")]
    channels: Option<u8>,
    /// How long to try to come back after a lost connection
    #[arg(long, value_name = "TIME", default_value = "2m")]
    retry_for: String,
    /// One JSON document on stdout
    #[arg(long)]
    json: bool,
}

/// Sends everything, then says what it became.
pub(crate) fn run(command: Send) -> anyhow::Result<()> {
    let json = command.json;
    let runtime = tokio::runtime::Runtime::new()?;
    let sent = runtime.block_on(send(command));
    // A pipe that is still being read must not keep us.
    runtime.shutdown_background();
    let report = sent?;
    crate::print(&if json { format!("{:#}\n", report.json()) } else { report.to_string() })?;
    report.into_result()
}

async fn send(command: Send) -> anyhow::Result<Report> {
    let client = Client::new(command.to.parse()?, command.key.clone())?;
    let (stop, stopped) = watch::channel(false);
    let mut speakers = command.speakers(&client, &stopped)?;
    let links = connect(&mut speakers).await?;
    let call = speakers.first().and_then(|speaker| speaker.call.clone());
    let start = Instant::now();
    let running = speakers.into_iter().zip(links).map(|(mut speaker, link)| {
        speaker.pace.start = start;
        speaker.run(link)
    });
    let outcomes = tokio::select! {
        outcomes = join_all(running) => outcomes,
        error = interrupted(&stop) => return Err(error),
    };
    Ok(Report { target: client.target, call, outcomes })
}

/// Opens every session before any of them says a word, so that all begin together.
async fn connect(speakers: &mut [Speaker]) -> anyhow::Result<Vec<Link>> {
    let mut links = Vec::with_capacity(speakers.len());
    for speaker in speakers {
        match speaker.connect().await {
            Ok(link) => links.push(link),
            Err(error) => {
                join_all(links.into_iter().map(link::leave)).await;
                return Err(error.context(format!("cannot send {}", speaker.file)));
            }
        }
    }
    Ok(links)
}

/// The first Ctrl-C stops cleanly; the result is what a second one means.
async fn interrupted(stop: &watch::Sender<bool>) -> anyhow::Error {
    let (mut interrupt, mut terminate) =
        match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
            (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
            (Err(error), _) | (_, Err(error)) => return error.into(),
        };
    asked_to_end(&mut interrupt, &mut terminate).await;
    stop.send_replace(true);
    asked_to_end(&mut interrupt, &mut terminate).await;
    anyhow::anyhow!("interrupted twice: what the server had not confirmed may be missing")
}

async fn asked_to_end(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

impl Send {
    fn speakers(&self, client: &Client, stop: &watch::Receiver<bool>) -> anyhow::Result<Vec<Speaker>> {
        let (raw, speed) = (self.raw()?, self.speed()?);
        let patience = duration(&self.retry_for).map_err(|why| Usage(format!("--retry-for {why}")))?;
        let names = self.names()?;
        let call = self.call();
        let inputs: Vec<_> = self.files.iter().map(|file| open(file, raw)).collect::<Result<_, _>>()?;
        let screen = Screen::new();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(LABEL);
        let speaker = |((file, name), input): ((&PathBuf, String), Input)| {
            let live = input.is_pipe() && file == Path::new("-") && speed == Some(1.0);
            let bar = screen.bar(&printable(&name, LABEL), width, input.total);
            Speaker::new(Plan {
                file: file.display().to_string(),
                call: call.clone(),
                client: client.clone(),
                speed,
                counted: !live,
                patience,
                stop: stop.clone(),
                screen: screen.clone(),
                bar,
                name,
                input,
            })
        };
        Ok(self.files.iter().zip(names).zip(inputs).map(speaker).collect())
    }

    /// What the flags say of raw samples; None where they say nothing.
    fn raw(&self) -> anyhow::Result<Option<Raw>> {
        if self.codec.is_none() && self.rate.is_none() && self.channels.is_none() {
            return Ok(None);
        }
        let codec = self.codec.as_deref().map_or(Ok(Codec::S16le), Codec::from_str);
        let codec = codec.map_err(|error| Usage(format!("--codec: {error}")))?;
        let rate = self.rate.unwrap_or(if codec == Codec::S16le { 16_000 } else { 8_000 });
        if codec == Codec::Opus {
            let why = "--codec: Opus comes in packets, not in samples; send an Ogg file, without this flag";
            return Err(Usage(why.to_owned()).into());
        }
        let format = Format::new(codec, rate, self.channels.unwrap_or(1));
        Ok(Some(Raw(format.map_err(|error| Usage(error.to_string()))?)))
    }

    fn speed(&self) -> Result<Option<f64>, Usage> {
        match self.speed {
            _ if self.fast => Ok(None),
            speed if speed.is_finite() && speed > 0.0 => Ok(Some(speed)),
            _ => Err(Usage("--speed is not above 0; write for example 4, or --fast".to_owned())),
        }
    }

    /// A name for each file: as given, or what the file is called; no two are the same.
    fn names(&self) -> Result<Vec<String>, Usage> {
        if self.files.iter().filter(|file| *file == Path::new("-")).count() > 1 {
            return Err(Usage("stdin can be read only once: name `-` once".to_owned()));
        }
        match self.names.len() {
            0 => Ok(distinct(self.files.iter().map(|file| stem(file)))),
            _ if self.names.iter().any(|name| name.trim().is_empty()) => {
                Err(Usage("--as is empty: write for example --as anna".to_owned()))
            }
            given if given == self.files.len() => Ok(self.names.clone()),
            given => {
                Err(Usage(format!("{given} names (--as) do not fit {} files: name each", self.files.len())))
            }
        }
    }

    /// Several speakers need a name that brings them together.
    fn call(&self) -> Option<String> {
        let made_up = || format!("call-{}", uuid::Uuid::now_v7());
        self.call.clone().or_else(|| (self.files.len() > 1).then(made_up))
    }
}

fn open(file: &Path, raw: Option<Raw>) -> anyhow::Result<Input> {
    if file == Path::new("-") { Input::stdin(raw) } else { Input::file(file, raw) }
}

fn stem(file: &Path) -> String {
    match file.file_stem() {
        Some(stem) if file != Path::new("-") => stem.to_string_lossy().into_owned(),
        _ => "stdin".to_owned(),
    }
}

fn distinct(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut taken: Vec<String> = Vec::new();
    for name in names {
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !taken.contains(name));
        taken.extend(free);
    }
    taken
}

/// How many samples of a session its recording holds, as the server tells.
async fn recorded(client: &Client, session: &Session) -> anyhow::Result<u64> {
    let recording = client.json(&format!("/api/v1/recordings/{}", session.recording), &[]).await?;
    let tracks = recording["tracks"].as_array().context("a recording without tracks")?;
    let Some(track) = tracks.iter().find(|track| track["id"] == session.track.as_str()) else {
        bail!("the recording has no such track");
    };
    let missing = track["gaps"].as_array().into_iter().flatten().filter_map(|gap| gap["samples"].as_u64());
    let samples = track["samples"].as_u64().context("a track without samples")?;
    Ok(samples.saturating_sub(missing.sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> Vec<String> {
        distinct(names.iter().map(|name| stem(Path::new(name))))
    }

    #[test]
    fn speakers_are_called_as_their_files_are_and_never_alike() {
        assert_eq!(paths(&["a/alice.wav", "bob.tar.gz", "-"]), ["alice", "bob.tar", "stdin"]);
        assert_eq!(paths(&["1/x.wav", "2/x.mp3", "x-2.wav", "3/x.wav"]), ["x", "x-2", "x-2-2", "x-3"]);
    }
}
