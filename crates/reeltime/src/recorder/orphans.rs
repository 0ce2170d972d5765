//! What is in the store or the catalogue and belongs to nothing: objects that were staged and never published, and what
//! is left of deleted recordings.
//!
//! A row comes before its bytes and goes after them, so every byte in the store has a row that leads here. Staged rows
//! of recordings that nobody works on are marked, so that nothing can publish them; then bytes and rows of what is marked
//! go, a few a second. What cannot be deleted now is tried again at the next sweep.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reeltime_core::id::RecordingId;
use reeltime_core::keys::ObjectKey;
use tracing::{debug, error, warn};

use super::Recorder;
use super::clock::Clock;
use crate::catalogue::{DEFAULT_TENANT, Filter, Object, ObjectState, Page, RecordingState, Removed};
use crate::crash;
use crate::error::Error;
use crate::store::StoreError;

/// How often it is swept.
pub(super) const EVERY: Duration = Duration::from_secs(60);
/// Between two deletes: twenty a second at most.
const PACE: Duration = Duration::from_millis(50);
/// Rows looked at in one sweep, and so deletes.
const MOST: u32 = 1_000;
/// Refusals in a row after which this sweep asks no more.
const REFUSALS: u32 = 8;

/// What the sweeps remember.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    /// A log that cannot be read may be of any recording: what is staged is left alone.
    keeps_staged: AtomicBool,
    sweeping: tokio::sync::Mutex<()>,
    refusal_said: AtomicBool,
}

impl Orphans {
    pub(super) fn keep_staged(&self) {
        self.keeps_staged.store(true, Ordering::Release);
    }
}

impl Recorder {
    /// Sweeps, unless the sweep before is still at it.
    pub(super) async fn sweep_orphans(&self) {
        let Ok(_sweeping) = self.inner().orphans.sweeping.try_lock() else { return };
        if let Err(error) = self.mark_and_remove().await {
            debug!(%error, "cannot remove left-over objects now; trying again in a minute");
        }
    }

    async fn mark_and_remove(&self) -> Result<(), Error> {
        let (catalogue, inner) = (&self.inner().catalogue, self.inner());
        let segments = inner.segment_sender.sweep(&inner.config.data_dir, &*inner.store).await;
        if !self.inner().orphans.keeps_staged.load(Ordering::Acquire) {
            let uploads = &self.inner().uploads;
            uploads.sweep(DEFAULT_TENANT, |upload| !self.is_nobodys(upload.recording)).await?;
            // Those of long calls are staged for hours: there may be many of them before the first that is left over.
            let staged =
                catalogue.objects_in(DEFAULT_TENANT, ObjectState::Staged, Clock::utc(), 10_000).await?;
            for object in staged.iter().filter(|object| self.is_nobodys(object.recording)) {
                catalogue.mark(DEFAULT_TENANT, &object.key).await?;
            }
        }
        let marked =
            catalogue.objects_in(DEFAULT_TENANT, ObjectState::MarkedForDeletion, Clock::utc(), MOST).await?;
        self.remove_marked(&marked).await.and(segments)
    }

    /// Whether nobody works on the recording that something was staged for.
    fn is_nobodys(&self, recording: RecordingId) -> bool {
        self.inner().registry.recording(DEFAULT_TENANT, recording).is_none()
    }

    async fn remove_marked(&self, marked: &[Object]) -> Result<(), Error> {
        let mut refusals = 0;
        for object in marked {
            match self.inner().store.delete(&object.key).await {
                Ok(()) => {
                    crash::point("deleted");
                    self.inner().catalogue.forget(DEFAULT_TENANT, &object.key).await?;
                    refusals = 0;
                    self.inner().orphans.refusal_said.store(false, Ordering::Release);
                    metrics::counter!("reeltime_swept_objects_total").increment(1);
                }
                Err(error) if error.is_passing() => return Err(error.into()),
                Err(error) => {
                    refusals += 1;
                    self.say_refused(&error, marked.len());
                }
            }
            if refusals == REFUSALS {
                break;
            }
            tokio::time::sleep(PACE).await;
        }
        Ok(())
    }

    fn say_refused(&self, error: &StoreError, waiting: usize) {
        if !self.inner().orphans.refusal_said.swap(true, Ordering::AcqRel) {
            error!(
                %error, waiting,
                "the store does not let go of objects that are to be deleted: give the right to delete; they are tried again each minute"
            );
        }
    }

    /// Hides a recording for good; the proof, where there was one.
    pub(super) async fn bury(&self, tenant: &str, id: RecordingId) -> Result<Option<Removed>, Error> {
        let removed = self.inner().catalogue.delete(tenant, id).await?;
        if removed.is_some() {
            self.forget_made(id).await?;
        }
        Ok(removed)
    }

    /// Removes the bytes of a buried recording, then their rows. What cannot go now, the sweep removes.
    pub(super) async fn remove_bytes(&self, tenant: &str, removed: &Removed) {
        let (id, inner) = (removed.recording(), self.inner());
        let uploads = inner.uploads.sweep(tenant, |upload| upload.recording != id).await;
        let segments = inner.segment_sender.remove(id, &inner.config.data_dir, &*inner.store).await;
        let objects = self.remove_objects(tenant, removed.keys()).await;
        if let Err(error) = uploads.and(segments).and(objects) {
            warn!(recording = %id, %error, "cannot remove all of a deleted recording yet; trying again");
        }
    }

    async fn remove_objects(&self, tenant: &str, keys: &[ObjectKey]) -> Result<(), Error> {
        for key in keys {
            self.inner().store.delete(key).await?;
            crash::point("deleted");
            self.inner().catalogue.forget(tenant, key).await?;
        }
        Ok(())
    }

    /// Buries the recordings that an earlier process entered and has no log of: nothing was recorded. Not while something is
    /// taken over, whose logs may still be in the store.
    pub(super) async fn abandon_unlogged(&self) -> Result<(), Error> {
        let node = self.inner().catalogue.node();
        if let Some(node) = node
            && self.inner().catalogue.has_claims(node).await?
        {
            return Ok(());
        }
        let states = vec![RecordingState::Starting, RecordingState::Active, RecordingState::Ending];
        let filter = Filter { states, ..Filter::default() };
        let mut unlogged = Vec::new();
        for number in 1.. {
            let page = Page { number, size: 100 };
            let listing = self.inner().catalogue.list(DEFAULT_TENANT, &filter, page).await?;
            let ids = listing.items.iter().map(|recording| recording.id);
            unlogged.extend(ids.filter(|&id| self.inner().registry.recording(DEFAULT_TENANT, id).is_none()));
            if listing.items.len() < 100 {
                break;
            }
        }
        for id in unlogged {
            // Another node records it.
            if self
                .inner()
                .catalogue
                .owner(DEFAULT_TENANT, id)
                .await?
                .is_some_and(|owner| Some(owner) != node)
            {
                continue;
            }
            if let Some(row) = self.inner().catalogue.segment_recording(DEFAULT_TENANT, id).await? {
                let tenant = DEFAULT_TENANT;
                let recording = self.receiving(tenant, id, &row.session_id, row.created_at, row.begun_at);
                let _ = self.publish_empty(&recording).await?;
                continue;
            }
            warn!(recording = %id, "nothing was recorded before the recorder went down: there is no recording");
            let _ = self.bury(DEFAULT_TENANT, id).await?;
        }
        Ok(())
    }
}
