//! A segment's file while it is cut: encoded as it comes, named once it is whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use reeltime_core::codec::{Encoder, Spec};
use reeltime_core::media::Container;

/// Bytes that are gathered before they are written.
const GATHERED: usize = 16 << 10;

/// A file under a name that nobody looks for.
pub(super) struct SegmentFile {
    path: PathBuf,
    file: File,
    encoder: Box<dyn Encoder>,
    gathered: Vec<u8>,
    written: u64,
    /// Bytes that the encoder may still have in hand.
    held: u64,
}

impl SegmentFile {
    /// Begins the file in `format`, over whatever a process before this left there.
    ///
    /// # Errors
    /// Where the file cannot be made, or the format not be had of this sound.
    pub(super) fn begin(path: PathBuf, format: Container, rate: u32, channels: u8) -> io::Result<Self> {
        let spec = Spec { rate, channels, ..Spec::default() };
        let mut encoder = reeltime_codec::encoder(format, &spec).map_err(io::Error::other)?;
        let file = File::create(&path)?;
        let mut gathered = Vec::new();
        encoder.start(&mut gathered);
        // A block of 4,096 samples as they are, and its frame; or a page.
        let held = if format == Container::Wav { 0 } else { 4_096 * 2 * u64::from(channels) + (64 << 10) };
        Ok(Self { path, file, encoder, gathered, written: 0, held })
    }

    /// Takes samples; the most bytes that the file has if this was all.
    ///
    /// # Errors
    /// Where the encoder fails, or the disk.
    pub(super) fn push(&mut self, samples: &[i16]) -> io::Result<u64> {
        self.encoder.push(samples, &mut self.gathered).map_err(io::Error::other)?;
        if self.gathered.len() >= GATHERED {
            self.write()?;
        }
        Ok(self.written + self.gathered.len() as u64 + self.held)
    }

    /// Completes the file and syncs it; its bytes.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub(super) fn finish(&mut self) -> io::Result<u64> {
        self.encoder.finish(&mut self.gathered).map_err(io::Error::other)?;
        self.write()?;
        if let Some(head) = self.encoder.head() {
            self.file.write_all_at(&head, 0)?;
        }
        self.file.sync_all()?;
        Ok(self.written)
    }

    /// Gives a finished file its name.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub(super) fn rename(&self, to: &Path) -> io::Result<()> {
        let folder = to.parent().unwrap_or(to);
        fs::create_dir_all(folder)?;
        fs::rename(&self.path, to)?;
        File::open(folder)?.sync_all()?;
        // The participant's folder may be new as well.
        folder.parent().map_or(Ok(()), |above| File::open(above)?.sync_all())
    }

    /// Removes what there is of it. It may stay: the next one of its track is written over it.
    pub(super) fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_all(&self.gathered)?;
        self.written += self.gathered.len() as u64;
        self.gathered.clear();
        Ok(())
    }
}

/// The format of a track's segments: the one wished for, where it can hold them, else FLAC, which holds every sound.
pub(super) fn format_for(wished: Container, rate: u32, channels: u8) -> Container {
    let spec = Spec { rate, channels, ..Spec::default() };
    if reeltime_codec::encoder(wished, &spec).is_ok() { wished } else { Container::Flac }
}
