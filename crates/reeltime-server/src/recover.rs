//! `reeltime recover`: what a start finds in the spool, shown before it is acted upon.

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use reeltime::spool::{self, FolderLock, Item, LocalDisk, RecoveredTrack};
use reeltime_core::log::Record;
use serde::Serialize;

use crate::cli;
use crate::settings::Settings;
use crate::{logging, open, print};

/// One track's log, read to its end.
#[derive(Debug, Serialize)]
struct Track {
    recording: String,
    call: Option<String>,
    track: String,
    participant: String,
    codec: &'static str,
    rate: u32,
    channels: u8,
    /// Why the log was closed; absent where it was not, so that its tail has to be looked at.
    closed: Option<String>,
    records: u64,
    /// Samples per channel that the session counted.
    samples: u64,
    seconds: f64,
    bytes: u64,
    /// Bytes of torn writes at the end, cut off.
    torn_bytes: u64,
    /// Bytes between valid records that are none.
    damaged_bytes: u64,
}

/// A track whose log holds nothing readable.
#[derive(Debug, Serialize)]
struct Unreadable {
    track: String,
    reason: String,
}

/// All of the spool.
#[derive(Debug, Serialize)]
struct Report {
    spool: PathBuf,
    tracks: Vec<Track>,
    unreadable: Vec<Unreadable>,
}

/// Shows what there is and, unless it is a dry run, recovers it.
pub(crate) fn run(command: cli::Recover) -> anyhow::Result<()> {
    let settings = Settings::load(&command.settings.layers())?;
    logging::start(&settings.log, None);
    let folder = &settings.recording.data_dir;
    if !folder.exists() {
        anyhow::bail!("there is no data folder {}; name it with --data-dir", folder.display());
    }
    let report = Report::read(&settings.recording.data_dir.join("spool"))?;
    if !command.dry_run && !report.tracks.is_empty() {
        tokio::runtime::Runtime::new()?.block_on(recover(&settings))?;
    }
    match command.json {
        true => print(&format!("{}\n", serde_json::to_string_pretty(&report)?))?,
        false => print(&report.to_string())?,
    }
    Ok(())
}

/// Finishes every recording in the spool. Nobody can come back to one while no server runs, so none waits.
async fn recover(settings: &Settings) -> anyhow::Result<()> {
    let mut config = open::config(&settings.recording);
    config.patience.resume_window = Duration::ZERO;
    config.call_linger = Duration::ZERO;
    let lock = FolderLock::take(&settings.recording.data_dir)?;
    let recorder = open::recorder(settings, lock, config).await?;
    while recorder.readiness().recordings > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    recorder.drain(Duration::ZERO).await;
    Ok(())
}

impl Report {
    fn read(folder: &Path) -> anyhow::Result<Self> {
        let mut report = Self { spool: folder.to_owned(), tracks: Vec::new(), unreadable: Vec::new() };
        if !folder.exists() {
            return Ok(report);
        }
        let cannot = || format!("cannot read the spool {}", folder.display());
        let disk = LocalDisk::open(folder).with_context(cannot)?;
        let found = spool::recover(&disk, 1).with_context(cannot)?;
        for track in &found.tracks {
            report.tracks.push(Track::read(track).with_context(cannot)?);
        }
        report.unreadable.extend(
            found
                .unreadable
                .iter()
                .map(|(track, error)| Unreadable { track: track.to_string(), reason: error.to_string() }),
        );
        Ok(report)
    }
}

impl Track {
    fn read(found: &RecoveredTrack) -> std::io::Result<Self> {
        let header = &found.header;
        let mut track = Self {
            recording: header.recording.to_string(),
            call: header.call.clone(),
            track: header.track.to_string(),
            participant: header.participant.clone(),
            codec: header.format.codec.name(),
            rate: header.format.rate,
            channels: header.format.channels,
            closed: found.footer.as_ref().map(|footer| footer.reason.clone()),
            records: 0,
            samples: found.samples,
            seconds: found.samples as f64 / f64::from(header.format.rate.max(1)),
            bytes: found.bytes,
            torn_bytes: 0,
            damaged_bytes: 0,
        };
        spool::read_chain(&found.chain, |item| {
            track.count(&item);
            ControlFlow::Continue(())
        })?;
        Ok(track)
    }

    fn count(&mut self, item: &Item<'_>) {
        match item {
            Item::Record(Record::Packet(_) | Record::Event(..)) => self.records += 1,
            Item::Record(Record::Footer(_) | Record::Beside(_)) => {}
            Item::Damage { bytes, tail: true } => self.torn_bytes += bytes,
            Item::Damage { bytes, tail: false } => self.damaged_bytes += bytes,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} logs in {}", self.tracks.len() + self.unreadable.len(), self.spool.display())?;
        for track in &self.tracks {
            writeln!(f, "{track}")?;
        }
        for lost in &self.unreadable {
            writeln!(f, "track {}: nothing readable: {}", lost.track, lost.reason)?;
        }
        Ok(())
    }
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.closed.as_deref().unwrap_or("open");
        write!(
            f,
            "recording {} track {}: {state}, {} records, {} samples ({:.1} s of {} at {}), {} bytes cut, {} damaged",
            self.recording,
            self.track,
            self.records,
            self.samples,
            self.seconds,
            self.codec,
            self.rate,
            self.torn_bytes,
            self.damaged_bytes
        )
    }
}
