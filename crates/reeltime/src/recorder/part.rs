//! Files on their way: in the recorder's own folder, until they are stored, kept or not wanted any more.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::render::Made;

/// A file that is made and has no place yet; it goes when this is dropped.
#[derive(Debug)]
pub(super) struct Part(PathBuf);

/// Writes it.
pub(super) struct Writer(File);

impl Part {
    pub(super) fn create(path: PathBuf) -> io::Result<(Self, Writer)> {
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        Ok((Self(path), Writer(file)))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Writer {
    /// The file alone, for who writes it in another way.
    pub(super) fn into_file(self) -> File {
        self.0
    }

    /// The file, to be read while it grows.
    pub(super) fn reader(&self) -> io::Result<File> {
        self.0.try_clone()
    }
}

impl Made for Writer {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn complete(&mut self, head: Option<Vec<u8>>) -> io::Result<()> {
        head.map_or(Ok(()), |head| self.0.write_all_at(&head, 0))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Gone already where it was moved to its place. Where it cannot be removed now, the next start will.
        let _ = std::fs::remove_file(&self.0);
    }
}
