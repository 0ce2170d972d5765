//! Writing the ranges of a lost node's bundles back as logs.
//!
//! Under other names first, so that what a crash leaves half way is never taken for a log: the next attempt begins anew.
//! Once all of them are whole, a mark says so, and the next one gives them their names: of a recording's tracks all are
//! there, or none. A file that is there already stays as it is.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use reeltime_core::bundle::{File, Kind};
use reeltime_core::id::TrackId;

use super::disk::{Disk, DiskFile};
use super::{file_name, parse_file_name, sound_name};
use crate::crash;

const PART: &str = ".part";
/// Where it lies, all parts are whole.
const WHOLE: &str = "restored";

/// Files that are being written back.
pub(crate) struct Restore {
    disk: Arc<dyn Disk>,
    /// `None`: it is there already.
    files: HashMap<File, Option<Arc<dyn DiskFile>>>,
}

impl Restore {
    /// Begins, once what an earlier attempt left is [settled](settle_restored).
    pub(crate) fn begin(disk: Arc<dyn Disk>) -> io::Result<Self> {
        settle_restored(&*disk)?;
        Ok(Self { disk, files: HashMap::new() })
    }

    /// Writes a range where it was.
    pub(crate) fn write(&mut self, file: File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if !self.files.contains_key(&file) {
            let opened = self.create(file)?;
            self.files.insert(file, opened);
        }
        match self.files.get(&file) {
            Some(Some(part)) => part.write_at(bytes, offset),
            Some(None) | None => Ok(()),
        }
    }

    fn create(&self, file: File) -> io::Result<Option<Arc<dyn DiskFile>>> {
        match self.disk.open(&name(file)) {
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.disk.create(&(name(file) + PART)).map(Some)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes all of it durable, under its names; the tracks of which there is something.
    pub(crate) fn finish(self) -> io::Result<BTreeSet<TrackId>> {
        for part in self.files.values().flatten() {
            part.sync()?;
        }
        self.disk.create(WHOLE)?.sync()?;
        self.disk.sync_folder()?;
        settle_restored(&*self.disk)?;
        Ok(self.files.keys().map(|file| file.track).collect())
    }
}

/// Gives what an earlier attempt left its names, where all of it is whole; else it goes.
pub(crate) fn settle_restored(disk: &dyn Disk) -> io::Result<()> {
    let names = disk.names()?;
    let whole = names.iter().any(|name| name == WHOLE);
    let parts = names.iter().filter_map(|name| name.strip_suffix(PART));
    // A log tells that there is something: its sound has to be there before it.
    let (logs, sounds): (Vec<_>, Vec<_>) = parts.partition(|name| parse_file_name(name).is_some());
    for group in [sounds, logs] {
        for name in group {
            let part = name.to_owned() + PART;
            if whole {
                disk.rename(&part, name)?
            } else {
                disk.remove(&part)?
            }
            crash::point("takeover_named");
        }
        disk.sync_folder()?;
    }
    if whole {
        disk.remove(WHOLE)?;
        disk.sync_folder()?;
    }
    Ok(())
}

fn name(file: File) -> String {
    match file.kind {
        Kind::Log => file_name(file.track, file.number),
        Kind::Sound => sound_name(file.track, file.number),
    }
}
