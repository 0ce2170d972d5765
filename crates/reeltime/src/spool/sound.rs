//! A sound file that is a whole recording as it lies there: nothing has to be copied to publish it.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use reeltime_core::log::LogHeader;
use reeltime_core::media::wav;
use reeltime_core::timeline::{Counting, Layout};

use super::{Spool, TrackLog, sound_name};

/// A WAV file with exact sizes. It stays where it is until the log is released; what takes it links to it.
#[derive(Debug)]
pub struct FinishedSound {
    /// Where it lies.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
}

impl Spool {
    /// The sound of a closed track as a finished file, where this process has written all of it into one file in the
    /// order in which it is to be heard, with nothing missing in between (where `filled` is false, what is missing
    /// makes no difference). Its head is given its sizes.
    ///
    /// # Errors
    /// Where the file cannot be read or written.
    pub fn finished_sound(
        &self,
        log: &TrackLog,
        layout: &Layout,
        filled: bool,
    ) -> io::Result<Option<FinishedSound>> {
        let (header, counters) = (log.header(), layout.counters);
        let whole = is_whole(&header, layout, filled);
        let (Some(written), true) = (log.sound_written(), whole) else { return Ok(None) };
        let (Some(open), Some(head)) =
            (wav::Head::of(header.format, None), wav::Head::of(header.format, Some(counters.media_samples)))
        else {
            return Ok(None);
        };
        let (open, sizes) = (open.to_bytes().len(), head.to_bytes());
        // Past 4 GiB a head takes more room than the one that was written.
        let fits = sizes.len() == open && head.data_len() == Some(written - open as u64);
        let name = sound_name(log.id(), header.number);
        match self.disk().path(&name) {
            Some(path) if fits => finish(path, &head, written),
            _ => Ok(None),
        }
    }

    /// Where the sound of a track lies that is being recorded, once its first `bytes` bytes are synced, if as far as is
    /// known they are the beginning of its [finished file](Self::finished_sound).
    pub(crate) fn growing_sound(&self, log: &TrackLog, bytes: u64) -> GrowingSound {
        let header = log.header();
        let Some(head) = wav::Head::of(header.format, None).filter(|_| header.number == 0) else {
            return GrowingSound::Never;
        };
        // With nothing missing, a position is also a number of bytes.
        let synced = head.to_bytes().len() as u64 + *log.synced().borrow() * head.block_align();
        if synced < bytes {
            return GrowingSound::NotYet;
        }
        let whole = log.layout().is_some_and(|layout| is_whole(&header, &layout, true));
        let path = self.disk().path(&sound_name(log.id(), header.number)).filter(|_| whole);
        path.map_or(GrowingSound::Never, GrowingSound::At)
    }
}

/// Where the sound of a track lies while it is being recorded.
#[derive(Debug)]
pub(crate) enum GrowingSound {
    /// There is not so much of it yet.
    NotYet,
    /// In this file.
    At(PathBuf),
    /// In none that will be the track's: it has to be made of the log.
    Never,
}

/// Whether the packets, one behind the other as they were logged, are what is to be heard.
fn is_whole(header: &LogHeader, layout: &Layout, filled: bool) -> bool {
    let counters = layout.counters;
    header.counting != Counting::Timestamps
        && counters.duplicates + counters.trimmed_samples == 0
        && (!filled || layout.samples == counters.media_samples)
}

fn finish(path: PathBuf, head: &wav::Head, written: u64) -> io::Result<Option<FinishedSound>> {
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let length = file.metadata()?.len();
    let size = written + head.padding();
    // What an earlier attempt has padded already is as good.
    if length != written && length != size {
        return Ok(None);
    }
    file.write_all_at(&head.to_bytes(), 0)?;
    if head.padding() > 0 {
        file.write_all_at(&[0], written)?;
    }
    Ok(Some(FinishedSound { path, size }))
}
