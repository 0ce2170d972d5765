//! Making a file so that nobody ever meets it without its head, and locking it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// Makes `{stem}.wav` in `directory`, or the next of `{stem}-2.wav`, `{stem}-3.wav`, … that is free, with `head` in
/// it and locked.
pub(super) fn create(directory: &Path, stem: &str, head: &[u8]) -> io::Result<(File, PathBuf)> {
    let directory = folder(directory);
    std::fs::create_dir_all(directory)?;
    let mut number = 1_u64;
    loop {
        let path = directory.join(numbered(stem, number, "wav"));
        match place(directory, &path, head) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            done => return Ok((done?, path)),
        }
    }
}

/// The name of a file that is the `number`th of its stem.
pub(super) fn numbered(stem: &str, number: u64, extension: &str) -> String {
    if number == 1 { format!("{stem}.{extension}") } else { format!("{stem}-{number}.{extension}") }
}

/// Takes the lock of an open file: false where someone has it.
pub(super) fn lock(file: &File) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Lets go of the lock.
pub(super) fn unlock(file: &File) {
    // The lock ends with the file's last descriptor at the latest.
    let _ = rustix::fs::flock(file, FlockOperation::Unlock);
}

/// A folder's path; the empty one is the current folder.
pub(super) fn folder(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// Makes the name of a file durable.
pub(super) fn sync_name(path: &Path) -> io::Result<()> {
    File::open(folder(path.parent().unwrap_or(Path::new("/"))))?.sync_all()
}

/// Where the file system, or a missing /proc, rules the first way out, the second one works, or says why not.
fn place(directory: &Path, path: &Path, head: &[u8]) -> io::Result<File> {
    match named_last(directory, path, head) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => named_first(path, head),
        done => done,
    }
}

/// A file that gets its name when its head is in it: nobody meets it empty, and a crash before leaves nothing.
fn named_last(directory: &Path, path: &Path, head: &[u8]) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file: File = rustix::fs::openat(CWD, directory, flags, Mode::from_raw_mode(0o644))?.into();
    begin(&file, head)?;
    let by_descriptor = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    rustix::fs::linkat(CWD, by_descriptor, CWD, path, AtFlags::SYMLINK_FOLLOW)?;
    Ok(file)
}

/// For file systems that have no files without names: for an instant the file is empty.
fn named_first(path: &Path, head: &[u8]) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    begin(&file, head).inspect_err(|_| {
        let _ = std::fs::remove_file(path);
    })?;
    Ok(file)
}

fn begin(mut file: &File, head: &[u8]) -> io::Result<()> {
    lock(file)?;
    file.write_all(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_make_the_same_file_and_refuse_a_taken_name() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let files = [named_last(folder.path(), &a, b"head").unwrap(), named_first(&b, b"head").unwrap()];
        for (path, file) in [&a, &b].into_iter().zip(&files) {
            assert_eq!(std::fs::read(path).unwrap(), b"head");
            assert!(!lock(&File::open(path).unwrap()).unwrap(), "it is locked");
            unlock(file);
            assert!(lock(&File::open(path).unwrap()).unwrap());
            let taken = [place(folder.path(), path, b"other"), named_first(path, b"other")];
            for error in taken.map(|result| result.unwrap_err().kind()) {
                assert_eq!(error, io::ErrorKind::AlreadyExists);
            }
            assert_eq!(std::fs::read(path).unwrap(), b"head");
        }
    }
}
