//! A closed WAV file made anew in another format, in its place.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use reeltime_core::codec::Spec;
use reeltime_core::media::{Codec, Container};
use rustix::fs::{CWD, RenameFlags};

use super::{place, seal};
use crate::encode::{Encoding, WavSamples, nearest};

/// Bytes read at a time.
const PIECE: usize = 64 * 1024;

/// Encodes the WAV file, which is mono, and removes it once the new file is on the disk under its own name, which is
/// free. Where anything fails, the WAV stays as it is.
pub(super) fn encode(wav: &Path, rate: u32, format: Container, bitrate: u32) -> io::Result<PathBuf> {
    let temporary =
        wav.with_file_name(format!(".{}.{format}", wav.file_name().unwrap_or_default().to_string_lossy()));
    let made = make(wav, &temporary, rate, format, bitrate).and_then(|()| name(&temporary, wav, format));
    if made.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    let path = made?;
    place::sync_name(&path)?;
    std::fs::remove_file(wav)?;
    Ok(path)
}

fn make(wav: &Path, temporary: &Path, rate: u32, format: Container, bitrate: u32) -> io::Result<()> {
    let mut wav = File::open(wav)?;
    let samples = wav.metadata()?.len().saturating_sub(seal::HEAD) / seal::SAMPLE;
    let head = seal::head(rate, Some(samples)).len();
    let spec = Spec { rate, channels: 1, bitrate: Some(bitrate), ..Spec::default() };
    let encoder = nearest(format, &spec).map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(temporary)?;
    let mut encoding = Encoding::begin(encoder, file);
    let mut samples = WavSamples::new(Codec::S16le, head);
    let mut piece = vec![0; PIECE];
    loop {
        match wav.read(&mut piece)? {
            0 => break,
            read => samples.each(&piece[..read], |samples| encoding.push(samples))?,
        }
    }
    encoding.finish()?.sync_all()
}

/// Gives the file the WAV's name with its own ending, or the next that is free.
fn name(temporary: &Path, wav: &Path, format: Container) -> io::Result<PathBuf> {
    let stem = wav.file_stem().unwrap_or_default().to_string_lossy();
    for number in 1.. {
        let path = wav.with_file_name(place::numbered(&stem, number, format.name()));
        match rustix::fs::renameat_with(CWD, temporary, CWD, &path, RenameFlags::NOREPLACE) {
            Err(rustix::io::Errno::EXIST) => {}
            done => return done.map(|()| path).map_err(io::Error::from),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
