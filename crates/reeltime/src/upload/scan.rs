//! Files in a folder that wait to be uploaded: what a crash, a full queue or an outage left there.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fs::{DirEntry, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use reeltime_core::time::UtcMicros;

use super::{RecordingJob, build_key};
use crate::file::{Outcome, repair};

/// What is uploaded; everything else in the folder is left alone.
const FORMATS: [&str; 6] = ["wav", "flac", "ogg", "mp3", "webm", "mp4"];
/// A file that was written to more recently may not be complete.
const QUIET: Duration = Duration::from_secs(1);

/// A folder to look through, at the start and again and again.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The folder; those inside it are not looked into.
    pub folder: PathBuf,
    /// What keys begin with; a file's key is [`build_key`] of its name and the day on which it was last written.
    pub base: String,
    /// How often.
    pub interval: Duration,
}

impl Scan {
    /// Of `folder`, each minute.
    pub fn new(folder: impl Into<PathBuf>, base: impl Into<String>) -> Self {
        Self { folder: folder.into(), base: base.into(), interval: Duration::from_secs(60) }
    }

    /// The `most` oldest files that are complete and that `wanted` takes. WAV files that a crash left open are finished
    /// first; those that are being recorded, links and hidden files are passed over.
    pub(super) fn look(&self, most: usize, wanted: impl Fn(&Path) -> bool) -> io::Result<Vec<RecordingJob>> {
        let open = unfinished(&self.folder)?;
        let mut oldest = BinaryHeap::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let Some(found) = Found::new(&entry?)? else { continue };
            if open.contains(&found.path) || !wanted(&found.path) {
                continue;
            }
            oldest.push(found);
            if oldest.len() > most {
                oldest.pop();
            }
        }
        Ok(oldest.into_sorted_vec().into_iter().filter_map(|found| found.job(&self.base)).collect())
    }
}

/// Files that cannot be finished, or are not to be yet.
fn unfinished(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let repairs = repair(folder).map_err(io::Error::other)?;
    let open = repairs.into_iter().filter(|repair| !matches!(repair.outcome, Outcome::Finished { .. }));
    Ok(open.map(|repair| repair.path).collect())
}

#[derive(Debug, PartialEq, Eq)]
struct Found {
    written: SystemTime,
    path: PathBuf,
}

impl Found {
    fn new(entry: &DirEntry) -> io::Result<Option<Self>> {
        let path = entry.path();
        let format = path.extension().and_then(|ext| ext.to_str());
        let hidden = entry.file_name().as_encoded_bytes().first() == Some(&b'.');
        // Of a link, not of what it leads to.
        let about = entry.metadata()?;
        if hidden || !about.is_file() || !format.is_some_and(|format| FORMATS.contains(&format)) {
            return Ok(None);
        }
        Ok(quiet_since(&about)?.map(|written| Self { written, path }))
    }

    /// `None` where its name is no text, or `base` begins no key.
    fn job(self, base: &str) -> Option<RecordingJob> {
        let since = self.written.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let time = UtcMicros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
        let (name, format) = (self.path.file_stem()?.to_str()?, self.path.extension()?.to_str()?);
        let key = build_key(base, name, format, time).ok()?;
        Some(RecordingJob { local_path: self.path, key })
    }
}

fn quiet_since(about: &Metadata) -> io::Result<Option<SystemTime>> {
    let written = about.modified()?;
    // A time to come is a clock that was wrong.
    let quiet = written.elapsed().map_or(true, |for_| for_ >= QUIET);
    Ok(quiet.then_some(written))
}

impl Ord for Found {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.written, &self.path).cmp(&(other.written, &other.path))
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
