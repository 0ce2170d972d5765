//! One segment on its way in: received, stored, logged, entered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use metrics::Counter;
use reeltime_core::id::{RecordingId, TrackId};
use reeltime_core::keys::ObjectKey;
use reeltime_core::media::Container;
use tracing::{info, warn};
use uuid::Uuid;

use super::incoming::Incoming;
use super::sound::Sound;
use super::speakers::{Place, Placed, Turn};
use super::{Gate, ReceiveError, Receiver, lock};
use crate::blocking::blocking;
use crate::catalogue::{KeptSegment, NewObject, ObjectKind, Segment};
use crate::crash;
use crate::error::Error;
use crate::recorder::{Clock, Recorder, Refusal};
use crate::spool::TrackLog;
use crate::store::StoreError;

/// How long the store may take nothing of a segment before its client is asked to try again.
const STORED_IN: Duration = Duration::from_secs(120);
/// The most bytes that a segment may have of which none were announced.
const MOST: u64 = 512 << 20;

/// A segment that is being sent. Dropped before [`Self::finish`], nothing has come.
#[derive(Debug)]
pub struct Upload {
    recorder: Recorder,
    receiver: Arc<Receiver>,
    segment: Segment,
    incoming: Incoming,
    _claim: Claim,
}

/// Bytes that the store has taken.
#[derive(Default)]
struct Taken(Arc<AtomicU64>);

impl Taken {
    fn counter(&self) -> Counter {
        Counter::from_arc(Arc::clone(&self.0))
    }

    /// Waits for `work`; `None` where nothing was taken for too long.
    async fn while_it_grows<T>(&self, work: impl Future<Output = T>, patience: Duration) -> Option<T> {
        let mut work = std::pin::pin!(work);
        let mut before = 0;
        loop {
            if let Ok(done) = tokio::time::timeout(patience, &mut work).await {
                return Some(done);
            }
            let now = self.0.load(Ordering::Relaxed);
            if now == before {
                return None;
            }
            before = now;
        }
    }
}

/// Nobody else sends the segment meanwhile.
#[derive(Debug)]
struct Claim(Recorder, Uuid);

impl Claim {
    fn take(recorder: &Recorder, id: Uuid) -> Result<Self, ReceiveError> {
        let free = lock(&recorder.inner().segments.uploading).insert(id);
        if free { Ok(Self(recorder.clone(), id)) } else { Err(ReceiveError::Busy) }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.0.inner().segments.uploading).remove(&self.1);
    }
}

impl Recorder {
    /// Begins to take the segment whose address has this id.
    ///
    /// # Errors
    /// [`ReceiveError::UnknownUpload`], [`ReceiveError::Used`], [`ReceiveError::Busy`], [`ReceiveError::Finalized`], or
    /// what stands against taking anything now.
    pub async fn upload_segment(
        &self,
        tenant: &str,
        recording: RecordingId,
        upload: Uuid,
    ) -> Result<Upload, ReceiveError> {
        let receiver = self.open_receiver(tenant, recording).await?;
        let segment = self.inner().catalogue.segment(tenant, recording, upload).await?;
        let segment =
            segment.filter(|segment| segment.upload == upload).ok_or(ReceiveError::UnknownUpload)?;
        let claim = Claim::take(self, segment.id)?;
        // Read again: whoever had the claim before may have used the address.
        let segment = self.inner().catalogue.segment(tenant, recording, upload).await?;
        let segment =
            segment.filter(|segment| segment.upload == upload).ok_or(ReceiveError::UnknownUpload)?;
        if segment.used {
            return Err(ReceiveError::Used);
        }
        self.admit()?;
        let announced = segment.size.filter(|_| !segment.state.is_kept());
        let limit = announced.unwrap_or(MOST);
        let incoming = Incoming::create(&self.inner().config.data_dir, limit).await?;
        Ok(Upload { recorder: self.clone(), receiver, segment, incoming, _claim: claim })
    }

    /// Counts bytes of sound that were heard.
    pub(super) fn received(&self, bytes: usize) {
        self.inner().received.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Upload {
    /// The format that was announced.
    pub const fn format(&self) -> Container {
        self.segment.format
    }

    /// Takes bytes.
    ///
    /// # Errors
    /// [`ReceiveError::TooLarge`]; [`ReceiveError::Refused`] where what is left of the disk is for live recordings; or where
    /// the disk does not take them.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ReceiveError> {
        self.recorder.inner().spool.admit().map_err(Refusal::from)?;
        self.incoming.write(bytes).await
    }

    /// All bytes have come. When it returns, the object is complete in the store, and the sound is on the disk or, where
    /// it came out of turn, waits in the store for its end.
    ///
    /// # Errors
    /// [`ReceiveError`]; then the address is still good.
    pub async fn finish(self) -> Result<Segment, ReceiveError> {
        // In a task of its own: the client may go away in the middle.
        let finishing = tokio::spawn(self.complete());
        finishing.await.map_err(|_| Error::Spool(std::io::Error::other("taking a segment died")))?
    }

    async fn complete(mut self) -> Result<Segment, ReceiveError> {
        self.incoming.flush().await?;
        let again = self.segment.state.is_kept();
        if let Some(announced) = self.segment.size.filter(|&announced| announced != self.incoming.size) {
            if again {
                return Err(ReceiveError::Differs);
            }
            return Err(ReceiveError::TooShort { received: self.incoming.size, announced });
        }
        self.check_sound().await?;
        let gate = self.receiver.gate.read().await;
        if *gate == Gate::Shut {
            return Err(ReceiveError::Finalized);
        }
        let mut kept = KeptSegment {
            id: self.segment.id,
            key: self.segment.key.clone(),
            size: self.incoming.size,
            crc32c: Some(self.incoming.crc32c),
            logged: false,
        };
        if again && self.segment.crc32c != kept.crc32c {
            return Err(ReceiveError::Differs);
        }
        if !again {
            kept.key = self.store().await?;
            crash::point("segment_stored");
            let turn = Turn::Live;
            kept.logged =
                self.recorder.log_segment(&self.receiver, &self.segment, &self.incoming, turn).await?;
            crash::point("segment_logged");
        }
        let tenant = &self.receiver.recording.tenant;
        self.recorder.inner().catalogue.keep_segment(tenant, &kept).await?;
        metrics::counter!("reeltime_segments_received_total").increment(u64::from(!again));
        self.segment.key = kept.key;
        Ok(self.segment.clone())
    }

    /// A file of which nothing can be heard is not taken.
    async fn check_sound(&self) -> Result<(), ReceiveError> {
        let (file, container) = (self.incoming.handle().await?, self.segment.format);
        blocking(move || Ok(Sound::open(file, container).map(drop)?)).await
    }

    /// A store that is slow, or of which others have a share, is waited for as long as it takes.
    async fn store(&self) -> Result<ObjectKey, ReceiveError> {
        let taken = Taken::default();
        taken.while_it_grows(self.put(&taken), STORED_IN).await.unwrap_or(Err(ReceiveError::StoreAway))
    }

    /// Stores the bytes under the first form of the segment's key that is free, or that has them already: what an
    /// earlier attempt left.
    async fn put(&self, taken: &Taken) -> Result<ObjectKey, ReceiveError> {
        let store = &*self.recorder.inner().store;
        let wanted = staged_for(&self.receiver.recording.tenant, &self.segment);
        let mut form = 1;
        loop {
            let staged = self.recorder.stage_free(&wanted, form).await?;
            let object = NewObject { key: staged.key.clone(), ..wanted.clone() };
            let stored = match store.adopt(&object.key, self.incoming.path()).await.transpose() {
                Some(adopted) => adopted,
                None => store.put(&object.key, self.incoming.body().await?.counted(taken.counter())).await,
            };
            match stored {
                Ok(_) => return Ok(object.key),
                Err(StoreError::AlreadyExists { .. }) if self.is_stored(&object.key).await? => {
                    return Ok(object.key);
                }
                Err(StoreError::AlreadyExists { .. }) => {
                    form = self.recorder.make_way(&object, &staged).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the object has these very bytes.
    async fn is_stored(&self, key: &ObjectKey) -> Result<bool, ReceiveError> {
        let mut body = self.recorder.inner().store.get(key, None).await?;
        let (mut size, mut crc) = (0, 0);
        while let Some(chunk) = body.next().await {
            let chunk = chunk?;
            size += chunk.len() as u64;
            crc = crc32c::crc32c_append(crc, &chunk);
        }
        Ok((size, crc) == (self.incoming.size, self.incoming.crc32c))
    }
}

/// A segment's object. The segment stands for the track, so that no two share one.
pub(super) fn staged_for(tenant: &str, segment: &Segment) -> NewObject {
    NewObject {
        tenant: tenant.to_owned(),
        recording: segment.recording,
        track: Some(TrackId(segment.id)),
        kind: ObjectKind::Master,
        key: segment.key.clone(),
        mime_type: segment.format.mime().to_owned(),
        created_at: Clock::utc(),
    }
}

impl Recorder {
    /// Logs a segment's sound and has it synced; false where that is to be done later.
    pub(super) async fn log_segment(
        &self,
        receiver: &Receiver,
        segment: &Segment,
        incoming: &Incoming,
        turn: Turn,
    ) -> Result<bool, ReceiveError> {
        let _turn = self.inner().segments.logging.acquire().await;
        let (file, container) = (incoming.handle().await?, segment.format);
        let (recorder, speakers) = (self.clone(), Arc::clone(&receiver.speakers));
        let (recording, participant) = (Arc::clone(&receiver.recording), segment.participant.clone());
        let at = receiver.at(segment.starts_at);
        let log = move || {
            let mut sound = Sound::open(file, container)?;
            let place = Place { participant: &participant, at, turn };
            Ok::<_, ReceiveError>(lock(&speakers).log(&recorder, &recording, &place, &mut sound)?)
        };
        match blocking(log).await? {
            Placed::Logged(Some((log, end))) => Ok(is_synced(&log, end).await),
            Placed::Logged(None) => Ok(true),
            Placed::Deferred => {
                let (id, index) = (receiver.recording.id, segment.segment_index);
                info!(recording = %id, participant = segment.participant, index, "a segment came out of turn: it is logged at the end");
                Ok(false)
            }
        }
    }
}

/// Syncs a log; whether that has all before `end`.
async fn is_synced(log: &TrackLog, end: u64) -> bool {
    let synced = log.sync().await && *log.synced().borrow() >= end;
    if !synced {
        warn!(track = %log.id(), "the disk did not take all of a segment: it is logged again from the store at the end");
    }
    synced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_that_goes_on_taking_is_waited_for_and_one_that_stopped_is_not() {
        let (taken, patience) = (Taken::default(), Duration::from_millis(20));
        let slowly = async {
            for _ in 0..10 {
                tokio::time::sleep(patience / 2).await;
                taken.counter().increment(1);
            }
        };
        assert_eq!(taken.while_it_grows(slowly, patience).await, Some(()));
        let half = async {
            taken.counter().increment(1);
            std::future::pending::<()>().await;
        };
        assert_eq!(taken.while_it_grows(half, patience).await, None);
    }
}
