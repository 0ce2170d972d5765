//! Writing the ranges of a lost node's bundles back as logs.
//!
//! Under other names first, so that what a crash leaves half way is never taken for a log: the next attempt begins anew.
//! A file that is there already stays as it is.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use reeltime_core::bundle::{File, Kind};
use reeltime_core::id::TrackId;

use super::disk::{Disk, DiskFile};
use super::{file_name, sound_name};

const PART: &str = ".part";

/// Files that are being written back.
pub(crate) struct Restore {
    disk: Arc<dyn Disk>,
    /// `None`: it is there already.
    files: HashMap<File, Option<Arc<dyn DiskFile>>>,
}

impl Restore {
    /// Begins, and clears away what an earlier attempt left.
    pub(crate) fn begin(disk: Arc<dyn Disk>) -> io::Result<Self> {
        for name in disk.names()?.iter().filter(|name| name.ends_with(PART)) {
            disk.remove(name)?;
        }
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
        // A log tells that there is something: its sound has to be there before it.
        for kind in [Kind::Sound, Kind::Log] {
            let written = self.files.iter().filter(|(file, part)| file.kind == kind && part.is_some());
            for (file, _) in written {
                self.disk.rename(&(name(*file) + PART), &name(*file))?;
            }
            self.disk.sync_folder()?;
        }
        Ok(self.files.keys().map(|file| file.track).collect())
    }
}

fn name(file: File) -> String {
    match file.kind {
        Kind::Log => file_name(file.track, file.number),
        Kind::Sound => sound_name(file.track, file.number),
    }
}
