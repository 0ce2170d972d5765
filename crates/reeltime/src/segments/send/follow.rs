//! Cuts a recording while it lasts: each track from its log to files, a thread borrowed for some seconds of sound.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reeltime_core::cuts::{Cut, Cutter, Sink};
use reeltime_core::media::Container;
use reeltime_core::render::Run;
use reeltime_core::time::{Micros, UtcMicros};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::Shared;
use super::file::{SegmentFile, format_for};
use super::journal::Entry;
use super::outgoing::{Finished, Outgoing};
use crate::catalogue::RecordingState;
use crate::recorder::{Clock, LiveRecording};
use crate::render::{LivePcm, Reached};
use crate::spool::{Disk, TrackLog};

/// How often the tracks are looked at.
const BEAT: Duration = Duration::from_millis(250);
/// A speaker of whom nothing comes for so much longer than the silence is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// After so many failures in a row, most of a minute, a recording that is over is cut no further.
const MOST_FAILURES: u32 = 6;

/// Follows a recording to its end, or to the longest that is cut.
pub(super) async fn follow(
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    clock: Clock,
    recording: Arc<LiveRecording>,
    outgoing: Arc<Outgoing>,
) {
    let mut lanes = Vec::new();
    let mut failures = 0;
    loop {
        // In this order: what is appended before the end is seen, is also read.
        let ended = recording.state() == RecordingState::Ending;
        let over = ended || is_too_long(&shared, clock, &recording);
        let logs = recording.tracks();
        let begun: Vec<_> = lanes.iter().map(|lane: &Lane| lane.log.id()).collect();
        lanes.extend(logs.into_iter().filter(|log| !begun.contains(&log.id())).map(Lane::new));
        for lane in lanes.iter_mut().filter(|lane| !lane.ended) {
            lane.closed = lane.log.is_closed() || over;
            if lane.closed {
                lane.log.flush().await;
            }
        }
        let (with, on, to) = (Arc::clone(&shared), Arc::clone(&disk), Arc::clone(&outgoing));
        let step = tokio::task::spawn_blocking(move || {
            let done = step(&mut lanes, &with, &on, &to);
            (lanes, done)
        });
        let Ok((next, done)) = step.await else {
            error!(recording = %recording.id, "cutting segments broke off; the recording itself goes on");
            break;
        };
        lanes = next;
        match done {
            Ok(true) => failures = 0,
            Ok(false) if over => break,
            Ok(false) => {
                failures = 0;
                tokio::time::sleep(BEAT).await;
            }
            Err(error) => {
                failures += 1;
                if over && failures > MOST_FAILURES {
                    error!(recording = %recording.id, %error, "its last segments cannot be cut; the recording itself has all of it");
                    break;
                }
                warn!(recording = %recording.id, %error, "cannot cut segments now; trying again from the log");
                // What was journaled is done; all else is cut again.
                lanes.clear();
                tokio::time::sleep(BEAT * 2_u32.pow(failures.min(6))).await;
            }
        }
    }
    outgoing.speaking.store(0, Ordering::Relaxed);
    let ended_ms =
        recording.clock().map_or(recording.created, |at| at.epoch.plus(at.at(clock.now()))).0 / 1_000;
    if let Err(error) = outgoing.note(Entry::AllCut { ended_ms }).await {
        warn!(recording = %recording.id, %error, "cannot note that all segments are cut; the next start cuts on");
    }
    outgoing.all_cut();
}

fn is_too_long(shared: &Shared, clock: Clock, recording: &LiveRecording) -> bool {
    let lasts = recording.clock().map_or(Duration::ZERO, |at| at.at(clock.now()).since(Micros(0)));
    let over = lasts >= shared.config.max_duration;
    if over {
        info!(recording = %recording.id, seconds = lasts.as_secs(), "segments end here: it is as long as is cut; the recording itself goes on");
    }
    over
}

/// Cuts what has come; whether there is more now.
fn step(
    lanes: &mut [Lane],
    shared: &Arc<Shared>,
    disk: &Arc<dyn Disk>,
    outgoing: &Arc<Outgoing>,
) -> io::Result<bool> {
    if shared.spare.is_short() {
        return Err(io::Error::other("the disk is as full as may be for segments: free some"));
    }
    let mut more = false;
    for lane in lanes.iter_mut().filter(|lane| !lane.ended) {
        more |= lane.step(shared, disk, outgoing)?;
    }
    let speaking = lanes.iter().filter(|lane| lane.is_speaking()).count();
    outgoing.speaking.store(speaking, Ordering::Relaxed);
    Ok(more)
}

/// A track.
struct Lane {
    log: Arc<TrackLog>,
    reading: Option<Reading>,
    closed: bool,
    ended: bool,
}

struct Reading {
    pcm: LivePcm,
    cutter: Cutter,
    files: Files,
    /// When something came last.
    heard: Instant,
}

impl Lane {
    const fn new(log: Arc<TrackLog>) -> Self {
        Self { log, reading: None, closed: false, ended: false }
    }

    fn is_speaking(&self) -> bool {
        !self.ended && self.reading.as_ref().is_some_and(|reading| reading.cutter.is_open())
    }

    fn step(
        &mut self,
        shared: &Arc<Shared>,
        disk: &Arc<dyn Disk>,
        outgoing: &Arc<Outgoing>,
    ) -> io::Result<bool> {
        if self.log.is_empty() {
            self.ended = self.closed;
            return Ok(false);
        }
        let reading = match &mut self.reading {
            Some(reading) => reading,
            None => self.reading.insert(Reading::begin(&self.log, shared, disk, outgoing)?),
        };
        let reached = reading.go_on(self.closed)?;
        if reached == Reached::End {
            self.ended = true;
            self.reading = None;
        }
        Ok(reached == Reached::More)
    }
}

impl Reading {
    fn begin(
        log: &Arc<TrackLog>,
        shared: &Arc<Shared>,
        disk: &Arc<dyn Disk>,
        outgoing: &Arc<Outgoing>,
    ) -> io::Result<Self> {
        let pcm = LivePcm::open(disk, log)?;
        let (header, channels) = (log.header(), pcm.channels());
        let mark = outgoing.journal(|journal| journal.mark(log.id()));
        let (rate, count) = (header.format.rate, u8::try_from(channels).unwrap_or(u8::MAX));
        let files = Files {
            shared: Arc::clone(shared),
            outgoing: Arc::clone(outgoing),
            log: Arc::clone(log),
            format: format_for(shared.config.format, rate, count),
            participant: header.participant,
            rate,
            channels: count,
            zero: UtcMicros::default(),
            file: None,
            failed: None,
        };
        let cutter = Cutter::new(rate, channels, &shared.config.rules, mark);
        Ok(Self { pcm, cutter, files, heard: Instant::now() })
    }

    fn go_on(&mut self, closed: bool) -> io::Result<Reached> {
        let before = self.cutter.position();
        let (cutter, files) = (&mut self.cutter, &mut self.files);
        let epoch = files.log.header().epoch;
        let reached = self.pcm.advance(closed, |start, run| {
            files.zero = epoch.plus(start);
            match run {
                Run::Samples(samples) => cutter.samples(samples, files),
                Run::Silence(samples) => cutter.silence(samples, files),
            }
        })?;
        if self.cutter.position() > before {
            self.heard = Instant::now();
        }
        let patience = self.files.shared.config.rules.silence + PATIENCE;
        if reached == Reached::End || (self.cutter.is_open() && self.heard.elapsed() >= patience) {
            self.cutter.end(&mut self.files);
        }
        self.files.failed.take().map_or(Ok(reached), Err)
    }
}

/// Makes files of a track's segments.
struct Files {
    shared: Arc<Shared>,
    outgoing: Arc<Outgoing>,
    log: Arc<TrackLog>,
    format: Container,
    participant: String,
    rate: u32,
    channels: u8,
    /// UTC at the track's first sample.
    zero: UtcMicros,
    file: Option<SegmentFile>,
    /// What went wrong first; nothing is made after it.
    failed: Option<io::Error>,
}

impl Files {
    fn unix_ms(&self, at: u64) -> i64 {
        self.zero.plus(Micros::from_samples(at, self.rate)).0.div_euclid(1_000)
    }

    fn place(&self) -> std::path::PathBuf {
        self.outgoing.folder.join(Path::new(&format!("{}.part", self.log.id())))
    }

    fn finish(&self, mut file: SegmentFile, cut: Cut) -> io::Result<()> {
        if cut.short {
            file.discard();
            self.shared.counts.short.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let bytes = file.finish()?;
        let finished = Finished {
            file: &file,
            bytes,
            extension: self.format.name(),
            track: self.log.id(),
            participant: &self.participant,
            start_ms: self.unix_ms(cut.at),
            end_ms: self.unix_ms(cut.at + cut.samples),
            cut,
        };
        self.outgoing.take(&finished)?;
        self.shared.counts.cut.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Sink for Files {
    fn begin(&mut self, _at: u64) {
        if self.failed.is_none() {
            match SegmentFile::begin(self.place(), self.format, self.rate, self.channels) {
                Ok(file) => self.file = Some(file),
                Err(error) => self.failed = Some(error),
            }
        }
    }

    fn samples(&mut self, samples: &[i16]) -> bool {
        let Some(file) = &mut self.file else { return false };
        // A chunk of 20 ms may still follow the one that fills it.
        let chunk = samples.len() as u64 * 2;
        match file.push(samples) {
            Ok(bytes) => bytes + chunk > self.shared.config.max_bytes,
            Err(error) => {
                (self.file, self.failed) = (None, Some(error));
                false
            }
        }
    }

    fn end(&mut self, cut: Cut) {
        if let Some(Err(error)) = self.file.take().map(|file| self.finish(file, cut)) {
            self.failed = Some(error);
        }
    }
}
