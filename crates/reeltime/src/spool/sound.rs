//! A sound file that is a whole recording as it lies there: nothing has to be copied to publish it.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

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
        let ordered = header.counting != Counting::Timestamps;
        let whole = counters.duplicates + counters.trimmed_samples == 0
            && (!filled || layout.samples == counters.media_samples);
        let (Some(written), true, true) = (log.sound_written(), ordered, whole) else { return Ok(None) };
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
