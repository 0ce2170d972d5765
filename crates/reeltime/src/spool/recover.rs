//! The start-up scan: what an earlier process left in the spool.
//!
//! Snapshot of the folder → what each track is → what is to be done, which is the recorder's affair. Nothing is
//! written here, but what the earlier process wrote is synced. A closed log is trusted by its footer; of an open
//! one only the last [`TAIL`] bytes are read, since everything before them was synced long ago: it is verified when
//! the recording is rendered. A track that cannot be read is reported and does not hold up the others.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Mutex;

use reeltime_core::id::TrackId;
use reeltime_core::log::{Continues, Event, Footer, GapReason, LogHeader, Record, Scanner, read_closed};
use reeltime_core::time::Micros;
use tracing::warn;

use super::disk::Disk;
use super::parse_file_name;
use super::reach::Extent;
use super::reader::{Chain, ChainError, End, Item, Link, Windows, fill, read_from};

/// Bytes at the end of an open log that a start-up reads.
const TAIL: u64 = 2 << 20;
/// The same of a log whose payload lies beside: it speaks of twenty times as much audio, all of which is read.
const TAIL_BESIDE: u64 = 96 << 10;

/// A track found in the spool.
#[derive(Debug)]
pub struct RecoveredTrack {
    /// The header of its newest file.
    pub header: LogHeader,
    /// The number of its newest file that exists, readable or not.
    pub newest: u32,
    /// The footer, where its log is closed.
    pub footer: Option<Footer>,
    /// Samples per channel of the session so far: where it goes on.
    pub samples: u64,
    /// How many of them may be acknowledged: those before the first that is missing, once all is synced.
    pub safe: u64,
    /// When its last record arrived, on the recording's clock.
    pub last_arrival: Micros,
    /// Whether it stands in a pause.
    pub paused: bool,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Bytes of the newest file that count.
    pub valid_until: u64,
    /// Bytes behind them: a torn write.
    pub torn: u64,
    /// Bytes damaged between records, in what was read.
    pub damaged: u64,
    /// Its files that count, and how far.
    pub files: Vec<Extent>,
    /// The chain, to read it.
    pub chain: Chain,
}

impl RecoveredTrack {
    /// The header of the file in which this track goes on.
    pub(super) fn next_header(&self) -> LogHeader {
        let mut header = self.header.clone();
        header.continues = Some(Continues {
            number: self.header.number,
            valid_until: self.valid_until,
            samples: self.samples,
            given_up: (self.safe < self.samples).then_some(self.safe),
        });
        header.number = self.newest + 1;
        header
    }
}

/// All that an earlier process left.
#[derive(Debug, Default)]
pub struct Recovery {
    /// The tracks, by id.
    pub tracks: Vec<RecoveredTrack>,
    /// Tracks whose files hold nothing readable, and why.
    pub unreadable: Vec<(TrackId, ChainError)>,
}

/// Looks through the spool with `threads` threads.
///
/// # Errors
/// Where the folder cannot be listed.
pub fn recover(disk: &dyn Disk, threads: usize) -> io::Result<Recovery> {
    recover_some(disk, threads, |_| true)
}

/// [`recover`], of the tracks that are `wanted` alone: others may be live.
///
/// # Errors
/// Where the folder cannot be listed.
pub fn recover_some(
    disk: &dyn Disk,
    threads: usize,
    wanted: impl Fn(TrackId) -> bool,
) -> io::Result<Recovery> {
    let mut files: BTreeMap<TrackId, Vec<u32>> = BTreeMap::new();
    let names = disk.names()?;
    let found = names.iter().filter_map(|name| parse_file_name(name));
    for (track, number) in found.filter(|(track, _)| wanted(*track)) {
        files.entry(track).or_default().push(number);
    }
    let named =
        disk.sync_folder().inspect_err(|error| warn!(%error, "cannot sync the spool's folder")).is_ok();
    let work = Mutex::new(files.into_iter());
    let found = Mutex::new(Recovery::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some(job) = take(&work) {
                    note(&found, job.0, recover_track(disk, named, job.0, job.1));
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    found.tracks.sort_by_key(|track| track.header.track);
    Ok(found)
}

type Job = (TrackId, Vec<u32>);

fn take(work: &Mutex<impl Iterator<Item = Job>>) -> Option<Job> {
    work.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next()
}

fn note(found: &Mutex<Recovery>, track: TrackId, result: Result<RecoveredTrack, ChainError>) {
    let mut found = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match result {
        Ok(recovered) => found.tracks.push(recovered),
        Err(error) => found.unreadable.push((track, error)),
    }
}

fn recover_track(
    disk: &dyn Disk,
    named: bool,
    track: TrackId,
    mut numbers: Vec<u32>,
) -> Result<RecoveredTrack, ChainError> {
    numbers.sort_unstable();
    let chain = Chain::open(disk, track, &numbers)?;
    let failed = |source| ChainError::Io { track, source };
    let mut bytes = 0;
    for number in &numbers {
        let file = disk.open(&super::file_name(track, *number)).map_err(failed)?;
        let sound = disk.open(&super::sound_name(track, *number)).and_then(|sound| sound.size()).unwrap_or(0);
        bytes += file.size().map_err(failed)? + sound;
    }
    let header = chain.header().clone();
    let start = header.continues.map_or(0, |before| before.samples);
    let mut recovered = RecoveredTrack {
        newest: numbers.last().copied().unwrap_or(0),
        footer: None,
        samples: start,
        safe: header.continues.and_then(|before| before.given_up).unwrap_or(u64::MAX),
        last_arrival: header.opened,
        paused: false,
        bytes,
        valid_until: chain.last().scanner.offset(),
        torn: 0,
        damaged: 0,
        files: Vec::new(),
        header,
        chain,
    };
    recovered.read_end().map_err(failed)?;
    let synced = if named && recovered.sync() { recovered.samples } else { start };
    recovered.safe = recovered.safe.min(synced);
    recovered.files = recovered.reach().map_err(failed)?;
    Ok(recovered)
}

impl RecoveredTrack {
    /// Makes an open log as durable as it is readable: what the dead process had not synced is about to be promised
    /// to a client that resumes.
    fn sync(&self) -> bool {
        let track = self.header.track;
        let failed = |error: &io::Error| {
            warn!(%track, %error, "cannot sync a recovered log: nothing more of it is acknowledged");
        };
        let Link { file, sound, .. } = self.chain.last();
        let all = || sound.as_ref().map_or(Ok(()), |sound| sound.sync()).and_then(|()| file.sync());
        self.footer.is_some() || all().inspect_err(failed).is_ok()
    }

    /// How far each file counts. Of the sound all that is there: what no record speaks of does no harm.
    fn reach(&self) -> io::Result<Vec<Extent>> {
        let reach = |link: &Link| {
            let last = link.until.is_none();
            let sound = link.sound.as_ref().map_or(Ok(0), |sound| sound.size())?;
            let log = link.until.unwrap_or(self.valid_until);
            let samples = if last { self.safe.min(self.samples) } else { 0 };
            Ok(Extent { number: link.number, log, sound, samples, payload: 0 })
        };
        self.chain.links().iter().map(reach).collect()
    }

    fn read_end(&mut self) -> io::Result<()> {
        let size = self.chain.last().file.size()?;
        let mut tail = vec![0; usize::try_from(size.min(4096)).unwrap_or(4096)];
        let from = size - tail.len() as u64;
        let filled = fill(&*self.chain.last().file, &mut tail, from)?;
        if let Some(closed) = read_closed(&self.chain.last().scanner, &tail[..filled], size) {
            self.samples = closed.footer.samples;
            self.last_arrival = closed.footer.closed;
            self.valid_until = size;
            self.footer = Some(closed.footer);
            return Ok(());
        }
        self.scan_tail(size)
    }

    fn scan_tail(&mut self, size: u64) -> io::Result<()> {
        let last = self.chain.last();
        let mut scanner = last.scanner.clone();
        let tail = if last.sound.is_some() { TAIL_BESIDE } else { TAIL };
        if size.saturating_sub(scanner.offset()) > tail {
            scanner.skip_to(size - tail);
        }
        let first = last.scanner.offset();
        self.scan(&mut scanner)?;
        if scanner.valid_until() == first && size > tail {
            // Nothing valid in the tail: then the end lies before it.
            self.torn = 0;
            scanner = self.chain.last().scanner.clone();
            self.scan(&mut scanner)?;
        }
        self.valid_until = scanner.valid_until();
        Ok(())
    }

    fn scan(&mut self, scanner: &mut Scanner) -> io::Result<()> {
        let link = self.chain.last().clone();
        read_from(scanner, &link, End::File, &mut Windows::default(), &mut |item| {
            self.see(item);
            ControlFlow::Continue(())
        })
        .map(|_| ())
    }

    fn see(&mut self, item: Item<'_>) {
        match item {
            Item::Record(Record::Packet(packet)) => {
                let samples = self.header.format.samples_in(packet.payload).unwrap_or(0);
                self.samples = self.samples.max(packet.meta.timestamp.saturating_add(samples));
                self.last_arrival = packet.meta.arrival;
                self.paused = false;
            }
            Item::Record(Record::Event(arrival, event)) => {
                if let Event::Gap { at, reason: GapReason::Discarded | GapReason::Overflow, .. } = event {
                    self.safe = self.safe.min(at);
                }
                self.samples = self.samples.max(event.end());
                self.last_arrival = arrival;
                self.paused = match event {
                    Event::Pause { .. } | Event::Gap { reason: GapReason::Paused, .. } => true,
                    Event::Resume { .. } => false,
                    Event::Gap { .. }
                    | Event::Mark { .. }
                    | Event::Turn { .. }
                    | Event::Reconnected { .. } => self.paused,
                };
            }
            // Comes as a packet, or as damage.
            Item::Record(Record::Beside(_)) => {}
            Item::Record(Record::Footer(footer)) => {
                self.samples = footer.samples;
                self.footer = Some(footer);
            }
            Item::Damage { bytes, tail: true } => self.torn += bytes,
            Item::Damage { bytes, tail: false } => {
                self.safe = self.safe.min(self.samples);
                self.damaged += bytes;
            }
        }
    }
}
