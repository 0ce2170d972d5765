//! The end of a file: exact sizes in its head.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use reeltime_core::media::wav::{Coding, Head};

use super::place;

/// Bytes of the head of an open file; it keeps this length up to 4 GiB.
pub(super) const HEAD: u64 = 44;
/// Bytes of a sample.
pub(super) const SAMPLE: u64 = 2;

/// The head of a mono file of 16 bit samples: open, or with its size.
pub(super) fn head(rate: u32, samples: Option<u64>) -> Vec<u8> {
    Head { coding: Coding::S16le, rate, channels: 1, samples }.to_bytes()
}

/// Brings a complete file to the disk, then writes the sizes; in this order, since a head must never promise what a
/// power loss took. Half a sample at the end, which a torn write can leave, is cut. Returns the number of samples.
pub(super) fn seal(file: &File, path: &Path, rate: u32) -> io::Result<u64> {
    let bytes = file.metadata()?.len();
    let samples = bytes.saturating_sub(HEAD) / SAMPLE;
    if bytes != HEAD + samples * SAMPLE {
        file.set_len(HEAD + samples * SAMPLE)?;
    }
    file.sync_data()?;
    let head = head(rate, Some(samples));
    if head.len() as u64 == HEAD {
        file.write_all_at(&head, 0)?;
        file.sync_data()?;
    } else {
        replace(file, path, &head)?;
    }
    Ok(samples)
}

/// Past 4 GiB (37 hours at 16 kHz) the head is longer than the space it has, so the audio is copied behind it into a
/// new file that takes the old one's place.
fn replace(mut file: &File, path: &Path, head: &[u8]) -> io::Result<()> {
    let temporary = beside(path);
    let result = write_copy(&mut file, &temporary, head).and_then(|()| std::fs::rename(&temporary, path));
    if result.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    result.and_then(|()| place::sync_name(path))
}

fn write_copy(file: &mut &File, temporary: &Path, head: &[u8]) -> io::Result<()> {
    let mut copy = OpenOptions::new().write(true).create(true).truncate(true).open(temporary)?;
    copy.write_all(head)?;
    file.seek(SeekFrom::Start(HEAD))?;
    io::copy(file, &mut copy)?;
    copy.sync_all()
}

/// Where the copy of a file is made: hidden, and known by its name.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.rf64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_head_takes_its_place_before_the_same_audio() {
        let folder = tempfile::tempdir().unwrap();
        let (file, path) = place::create(folder.path(), "long", &head(16_000, None)).unwrap();
        let audio: Vec<u8> = (0..600_000_u32).map(|byte| byte as u8).collect();
        file.write_all_at(&audio, HEAD).unwrap();
        let longer = head(16_000, Some(3 << 30));
        assert_eq!(longer.len(), 80);
        replace(&file, &path, &longer).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [longer, audio].concat());
        let names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["long.wav"]);
    }

    #[test]
    fn half_a_sample_at_the_end_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let (file, path) = place::create(folder.path(), "torn", &head(8_000, None)).unwrap();
        file.write_all_at(&[1, 2, 3], HEAD).unwrap();
        assert_eq!(seal(&file, &path, 8_000).unwrap(), 1);
        assert_eq!(std::fs::read(&path).unwrap(), [head(8_000, Some(1)), vec![1, 2]].concat());
    }
}
