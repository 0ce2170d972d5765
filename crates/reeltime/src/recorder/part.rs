//! Files on their way: in the recorder's own folder, until they are stored, kept or not wanted any more.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use reeltime_core::id::RecordingId;

use super::Recorder;
use super::cache::CacheKey;
use crate::blocking::{blocking, remove};
use crate::encode::Made;
use crate::error::Error;
use crate::spare::Spare;
use crate::store::{ByteStream, read_path};

/// A file that is made and has no place yet; it goes when this is dropped.
#[derive(Debug)]
pub(super) struct Part(PathBuf);

/// Writes it.
pub(super) struct Writer {
    file: File,
    /// Written so far.
    pub(super) bytes: u64,
    spare: Spare,
}

impl Part {
    /// An empty file, which grows as long as its disk has more than is to `spare`.
    pub(super) fn create(path: PathBuf, spare: Spare) -> io::Result<(Self, Writer)> {
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        Ok((Self(path), Writer { file, bytes: 0, spare }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// All of it.
    pub(super) fn read(&self) -> ByteStream {
        read_path(self.0.clone())
    }
}

impl Writer {
    /// The file, to be read while it grows.
    pub(super) fn reader(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

impl Made for Writer {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.spare.check()?;
        self.bytes += bytes.len() as u64;
        self.file.bytes(bytes)
    }

    fn complete(&mut self, head: Option<Vec<u8>>) -> io::Result<()> {
        self.file.complete(head)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Gone already where it was moved to its place. Where it cannot be removed now, the next start will.
        remove(std::mem::take(&mut self.0));
    }
}

impl Recorder {
    /// A new file on its way.
    pub(super) async fn part(&self) -> Result<(Part, Writer), Error> {
        let (path, spare) = (self.inner().cache.part(), self.inner().cache.spare().clone());
        blocking(move || Part::create(path, spare).map_err(Error::Spool)).await
    }

    /// Removes what was made of a recording.
    pub(super) async fn forget_made(&self, id: RecordingId) -> Result<(), Error> {
        let recorder = self.clone();
        blocking(move || {
            recorder.inner().cache.forget(id);
            Ok(())
        })
        .await
    }

    /// Keeps what was made under this name, where there is room.
    pub(super) async fn keep(&self, key: &CacheKey, part: Part) -> Result<(), Error> {
        let (recorder, key) = (self.clone(), key.clone());
        blocking(move || {
            recorder.inner().cache.adopt(&key, part.path());
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_on_its_way_stops_before_what_is_kept_for_live_recordings() {
        let folder = tempfile::tempdir().unwrap();
        let written = |name: &str, spare: u64| {
            let spare = Spare::new(folder.path().to_owned(), spare);
            let (part, mut writer) = Part::create(folder.path().join(name), spare).unwrap();
            writer.bytes(b"sound").map(|()| std::fs::read(part.path()).unwrap())
        };
        assert_eq!(written("room", 0).unwrap(), b"sound");
        assert_eq!(written("none", u64::MAX).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "either goes with its part");
    }
}
