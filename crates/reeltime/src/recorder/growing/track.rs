//! A track's file that is made of its log while that grows: Opus in Ogg, and samples of which something is missing.

use std::sync::Arc;

use reeltime_core::render::{Output, Sizes, TrackRenderer};

use super::file::GrowingFile;
use crate::catalogue::{NewObject, StoredObject};
use crate::error::Error;
use crate::parts::PartUpload;
use crate::recorder::Recorder;
use crate::recorder::publish::{Settled, master, master_of};
use crate::render::TrackGrowth;
use crate::spool::TrackLog;
use crate::store::PART;

/// The file, and how far the log was read for it.
#[derive(Debug)]
pub(super) struct GrowingTrack {
    file: GrowingFile,
    /// `None` once it is not what the track's file will be.
    growth: Option<Box<TrackGrowth>>,
    /// Bytes of the log when it was last read.
    read: u64,
}

impl GrowingTrack {
    /// Of a log that was not read yet.
    ///
    /// # Errors
    /// Where the folder takes no file.
    pub(super) async fn begin(
        recorder: &Recorder,
        log: &Arc<TrackLog>,
        sent: Option<PartUpload>,
    ) -> Result<Self, Error> {
        let growth = TrackGrowth::new(recorder.inner().spool.disk(), log, open(master_of(&log.header())));
        let file = GrowingFile::create(recorder, sent).await?;
        Ok(Self { file, growth: growth.map(Box::new).ok(), read: 0 })
    }

    /// Whether a log of so many bytes is worth to be read on.
    pub(super) const fn is_due(&self, bytes: u64) -> bool {
        self.growth.is_some() && bytes.saturating_sub(self.read) >= PART as u64
    }

    /// Makes what there is of the file, and sends its whole parts.
    ///
    /// # Errors
    /// Where the log cannot be read, or the store does not take a part.
    pub(super) async fn go_on(
        &mut self,
        recorder: &Recorder,
        log: &TrackLog,
        object: impl Fn() -> Result<NewObject, Error>,
    ) -> Result<(), Error> {
        let bytes = log.bytes();
        log.flush().await;
        self.make(recorder, &object, None).await?;
        self.read = bytes;
        self.file.send(recorder, object).await
    }

    /// Writes what the log gives, and sends the parts that become whole on the way; to its end where that is known.
    async fn make(
        &mut self,
        recorder: &Recorder,
        object: &impl Fn() -> Result<NewObject, Error>,
        end: Option<&Settled>,
    ) -> Result<(), Error> {
        loop {
            let Some(growth) = self.growth.take() else { return Ok(()) };
            let (growth, bytes) =
                growth.step(end.map(|track| track.layout.clone())).await.map_err(Error::Spool)?;
            let more = !bytes.is_empty();
            // What cannot be written is missing in the file: it is not gone on with.
            self.file.write(bytes).await?;
            self.growth = growth.is_steady().then_some(growth);
            if !more {
                return Ok(());
            }
            self.file.send(recorder, object).await?;
        }
    }

    /// Finishes the file of a track that is over; `None` where it is not what is made of the track now, or nothing of it
    /// was sent.
    ///
    /// # Errors
    /// Where the log cannot be read, or the store does not take the rest.
    pub(super) async fn finish(
        mut self,
        recorder: &Recorder,
        track: &Settled,
        object: NewObject,
    ) -> Result<Option<StoredObject>, Error> {
        if !self.file.is_uploaded() {
            return Ok(None);
        }
        self.make(recorder, &|| Ok(object.clone()), Some(track)).await?;
        match (self.growth.take(), ends(track, self.file.size())) {
            (Some(_), Some((head, tail))) => self.file.finish(recorder, object, head, tail).await,
            _ => Ok(None),
        }
    }
}

/// The output while nobody knows its sizes.
const fn open(output: Output) -> Output {
    match output {
        Output::Wav { samples, gaps, .. } => Output::Wav { samples, gaps, sizes: Sizes::Open },
        Output::Ogg { .. } => output,
    }
}

/// The head that the file of a track has to have, and what is missing at its end; `None` where so many bytes are no file
/// of it.
fn ends(track: &Settled, size: u64) -> Option<(Option<Vec<u8>>, Vec<u8>)> {
    let (format, counting, output) = (track.header.format, track.header.counting, master(track));
    let of = |output| TrackRenderer::new(format, counting, &track.layout, output).ok();
    let (mut whole, mut growing) = (of(output)?, of(open(output))?);
    let Some(len) = whole.wav_len() else { return Some((None, Vec::new())) };
    let (mut head, mut before) = (Vec::new(), Vec::new());
    whole.head(&mut head);
    growing.head(&mut before);
    // Of an odd number of bytes there is one more.
    let missing = len.checked_sub(size).filter(|missing| *missing <= 1)?;
    (head.len() == before.len()).then(|| (Some(head), vec![0; missing as usize]))
}
