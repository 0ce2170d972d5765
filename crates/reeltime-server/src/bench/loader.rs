//! The load as seen by who measures: a process that sends to a server, and its report.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use super::load::{CONNECTED, Report};
use super::process::{Server, command};
use super::progress;

/// As fast as it is taken.
pub(super) const FAST: u64 = 0;

/// How much is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amount {
    pub(super) sessions: u64,
    /// Of these, how many speak in the same call; with one, each has a recording of its own.
    pub(super) speakers: u64,
    /// Frames of 20 ms a session.
    pub(super) frames: u64,
    /// So many times faster than real time, or [`FAST`].
    pub(super) speed: u64,
}

impl Amount {
    /// Seconds of media, of all sessions.
    pub(super) fn session_seconds(&self) -> f64 {
        (self.sessions * self.frames) as f64 / super::pcm::FRAMES as f64
    }

    /// Recordings that come of it.
    pub(super) const fn recordings(&self) -> u64 {
        self.sessions.div_ceil(self.speakers)
    }

    /// Bytes of media, of all sessions.
    pub(super) const fn bytes(&self) -> u64 {
        self.sessions * self.frames * super::pcm::FRAME_BYTES as u64
    }
}

/// A process that sends.
pub(super) struct Loader {
    _child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Loader {
    /// Starts it and waits until all sessions are connected.
    pub(super) async fn start(server: &Server, amount: Amount, folder: &Path) -> anyhow::Result<Self> {
        let mut arguments = vec!["bench-load".to_owned()];
        let options = [
            ("--address", server.address.to_string()),
            ("--sessions", amount.sessions.to_string()),
            ("--speakers", amount.speakers.to_string()),
            ("--frames", amount.frames.to_string()),
            ("--speed", amount.speed.to_string()),
        ];
        arguments.extend(options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
        let mut child =
            command(&arguments, folder)?.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        match stdout.next_line().await? {
            Some(line) if line == CONNECTED => Ok(Self { _child: child, stdout }),
            _ => bail!("the load could not connect"),
        }
    }

    /// Waits until everything is sent.
    pub(super) async fn finish(mut self) -> anyhow::Result<Report> {
        let line = self.stdout.next_line().await?.context("the load broke off")?;
        let report: Report = serde_json::from_str(&line)?;
        if report.late_ms > 500 {
            progress(&format!("the load was up to {} ms late: is the machine busy?", report.late_ms));
        }
        Ok(report)
    }
}
