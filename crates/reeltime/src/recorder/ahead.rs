//! Peaks of what was published lately, and that were not made with it, made before anybody asks: one file at a time, the
//! newest recording first, with half of one core at most, and while hardly anybody is recorded. What is not made here is
//! made when it is asked for.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use reeltime_core::id::RecordingId;
use reeltime_core::peaks::{Bits, PeaksFormat};
use reeltime_core::time::Micros;
use tracing::debug;

use super::live::LiveRecording;
use super::media::unmixed;
use super::peaks::{BASE, PeaksSelection, Source, Zoom};
use super::selection::MediaError;
use super::{Inner, Recorder};
use crate::blocking::blocking;
use crate::error::Error;

/// Recordings that wait; beyond, the oldest is left to who asks for it.
const MOST: usize = 256;
/// Sessions; where there are as many, nothing is made.
const CALM: usize = 10;
/// How often what waits is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Recordings whose peaks are to be made, in the order in which they were published.
#[derive(Debug, Default)]
pub(crate) struct Ahead(Mutex<VecDeque<Waiting>>);

#[derive(Debug)]
struct Waiting {
    published: Micros,
    tenant: String,
    id: RecordingId,
}

impl Ahead {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, next: Waiting) {
        let mut waiting = self.lock();
        waiting.push_back(next);
        if waiting.len() > MOST {
            waiting.pop_front();
        }
    }

    /// The newest of those that were published so long ago.
    fn take(&self, now: Micros, after: Duration) -> Option<Waiting> {
        let mut waiting = self.lock();
        let newest = waiting.iter().rposition(|waiting| now.since(waiting.published) >= after)?;
        waiting.remove(newest)
    }
}

/// Makes what waits, for as long as the recorder is there.
pub(super) async fn run(recorder: Weak<Inner>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(inner) = recorder.upgrade() else { return };
        Recorder(inner).make_ahead().await;
    }
}

impl Recorder {
    /// Has the peaks of a recording made that is published now. Out of a store that lies elsewhere it would have to be
    /// fetched for it, so that there it is left to who asks.
    pub(super) fn outline_ahead(&self, recording: &LiveRecording) {
        let inner = self.inner();
        if inner.config.peaks_after.is_some() && inner.config.cache_budget > 0 && !inner.store.is_remote() {
            let (tenant, id) = (recording.tenant.clone(), recording.id);
            inner.ahead.push(Waiting { published: inner.clock.now(), tenant, id });
        }
    }

    fn is_calm(&self) -> bool {
        !self.is_leaving() && self.inner().registry.figures().1 < CALM
    }

    async fn make_ahead(&self) {
        let Some(after) = self.inner().config.peaks_after else { return };
        while self.is_calm()
            && let Some(next) = self.inner().ahead.take(self.inner().clock.now(), after)
        {
            match self.make_all_peaks(&next).await {
                Ok(true) => {}
                Ok(false) => return self.inner().ahead.push(next),
                Err(error) => {
                    debug!(recording = %next.id, %error, "its peaks are left to who asks for them");
                }
            }
        }
    }

    /// Those of each track, and of all together, that are not there yet. False where calls began meanwhile.
    async fn make_all_peaks(&self, of: &Waiting) -> Result<bool, MediaError> {
        let manifest = self.published_manifest(&of.tenant, of.id).await?;
        let tracks = manifest.tracks.iter().map(|track| Some(track.id));
        for track in tracks.chain([None]) {
            let asked = PeaksSelection { track, zoom: Zoom::SamplesPerPixel(BASE), participant: None };
            let (recorder, manifest) = (self.clone(), manifest.clone());
            let written = (Bits::Eight, PeaksFormat::Json);
            let peaks = blocking(move || recorder.stored_peaks(&manifest, &asked, written)).await?;
            if !self.make_ahead_of(peaks.source).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn make_ahead_of(&self, source: Source) -> Result<bool, Error> {
        let Source::Job(job, key) = source else { return Ok(true) };
        if self.kept_peaks(&key).await?.is_some() {
            return Ok(true);
        }
        let (part, writer) = self.part().await?;
        let prepared = job.prepare_peaks(&self.inner().store, BASE, 1.0).await.map_err(unmixed)?;
        let mut made = prepared.gently().start(Some(Box::new(writer)));
        while let Some(chunk) = made.next().await {
            chunk.map_err(Error::Spool)?;
            if !self.is_calm() {
                return Ok(false);
            }
        }
        self.keep(&key, part).await?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(number: usize) -> Waiting {
        let id = RecordingId(uuid::Uuid::from_u128(number as u128));
        Waiting { published: Micros::from_millis(number as u64), tenant: String::new(), id }
    }

    #[test]
    fn the_newest_that_is_due_comes_first_and_what_is_too_much_falls_off() {
        let ahead = Ahead::default();
        (0..MOST + 2).for_each(|number| ahead.push(waiting(number)));
        let now = Micros::from_millis(100);
        let mut taken = Vec::new();
        while let Some(next) = ahead.take(now, Duration::from_millis(90)) {
            taken.push(next.published.0 / 1_000);
        }
        assert_eq!(taken, [10, 9, 8, 7, 6, 5, 4, 3, 2], "0 and 1 fell off");
        assert_eq!(ahead.lock().len(), MOST - taken.len());
    }
}
