//! The catalogue: which recordings there are, whose they are, and where their bytes lie.
//!
//! The order that loses nothing, and leaves nothing behind that is not known:
//!
//! ```text
//! begin ─▶ stage (row) ─▶ bytes into the store ─▶ publish (one transaction) ─▶ release the log
//! ```
//!
//! A crash between any two steps leaves either a staged row without bytes, or bytes with a staged row: both
//! are found by [`Catalogue::objects_in`]. A crash after `publish` leaves a log that the next start publishes
//! again, which changes nothing and yields the same [`Published`].
//!
//! Deleting goes the other way: [`Catalogue::delete`] hides the recording and marks its objects in one
//! transaction; then the bytes go, then [`Catalogue::forget`] takes each row. A deleted recording leaves a
//! tombstone, so that a log found later does not bring it back.
//!
//! **Every row and every query carries its tenant.** To another tenant a recording does not exist: the
//! answer is the same as for an id that was never given out.

use std::fmt;

use async_trait::async_trait;
use reeltime_core::id::{NodeId, RecordingId};
use reeltime_core::keys::ObjectKey;
use reeltime_core::time::UtcMicros;

mod error;
mod rebuild;
mod segments;
mod sqlite;
mod types;

pub use error::CatalogueError;
pub use rebuild::{Rebuilt, Unusable, rebuild};
pub use segments::{
    FileFigures, KeptSegment, NewSegment, Segment, SegmentRecording, SegmentRows, SegmentState,
    SegmentsStatus,
};
pub use sqlite::SqliteCatalogue;
pub use types::{
    Call, Claim, Filter, Listing, NewObject, NewRecording, Object, ObjectKind, ObjectState, Page,
    Publication, Recording, RecordingState, StateChange, StoredObject, Tenure, Upload, UploadedPart,
};

/// The tenant where none is named.
pub const DEFAULT_TENANT: &str = "default";

/// A catalogue. Object safe; share it as `Arc<dyn Catalogue>`. When a method that changes something returns
/// `Ok`, the change is durable.
#[async_trait]
pub trait Catalogue: SegmentRows + Send + Sync + fmt::Debug {
    /// Enters a recording in state `starting`, and its call at its first mention. Links it to the call's
    /// latest recording. Entering the same id again changes nothing, so recovery may do so without looking.
    ///
    /// # Errors
    /// [`CatalogueError::Deleted`] where it was deleted; [`CatalogueError::Conflict`] where the id belongs to
    /// another call or tenant.
    async fn begin(&self, recording: &NewRecording) -> Result<(), CatalogueError>;

    /// Moves a recording to another state. To be in it already changes nothing.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownRecording`]; [`CatalogueError::Final`] where it is in another final state.
    async fn change_state(
        &self,
        tenant: &str,
        id: RecordingId,
        change: &StateChange,
    ) -> Result<(), CatalogueError>;

    /// Enters an object as staged: before its bytes go to the store. Staging the same object again (key,
    /// recording, track and kind) while it is staged changes nothing.
    ///
    /// # Errors
    /// [`CatalogueError::KeyTaken`] where another object has the key;
    /// [`CatalogueError::UnknownRecording`]; [`CatalogueError::TakenOver`].
    async fn stage(&self, object: &NewObject) -> Result<(), CatalogueError>;

    /// Makes a recording complete and its objects visible, in one transaction: objects published, the
    /// recording's row filled in, its call's URL set. Publishing the same again changes nothing.
    ///
    /// # Errors
    /// [`CatalogueError::NotStaged`], [`CatalogueError::Incomplete`], [`CatalogueError::Deleted`],
    /// [`CatalogueError::UnknownRecording`], [`CatalogueError::TakenOver`]; then nothing has changed.
    async fn publish(&self, publication: &Publication) -> Result<Published, CatalogueError>;

    /// The proof for a recording that was published before, by this process or another; `None` for any other.
    ///
    /// # Errors
    /// [`CatalogueError::TakenOver`] where another node finishes it, or has; where the catalogue cannot be read.
    async fn published(&self, tenant: &str, id: RecordingId) -> Result<Option<Published>, CatalogueError> {
        if let (Some(by), Some(node)) = (self.owner(tenant, id).await?, self.node())
            && by != node
        {
            return Err(CatalogueError::TakenOver { id, by });
        }
        let recording = self.get(tenant, id).await?;
        let published = |state| matches!(state, RecordingState::Complete | RecordingState::LimitReached);
        Ok(recording
            .filter(|recording| published(recording.state))
            .map(|recording| Published { recording: recording.id }))
    }

    /// A recording, with its manifest; `None` where the tenant has none of this id.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    async fn get(&self, tenant: &str, id: RecordingId) -> Result<Option<Recording>, CatalogueError>;

    /// Recordings, newest first, without their manifests.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    async fn list(&self, tenant: &str, filter: &Filter, page: Page) -> Result<Listing, CatalogueError>;

    /// A call; `None` where the tenant never mentioned it.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    async fn call(&self, tenant: &str, id: &str) -> Result<Option<Call>, CatalogueError>;

    /// The objects of a recording, by key; also those of a deleted one, until they are forgotten.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    async fn objects(&self, tenant: &str, id: RecordingId) -> Result<Vec<Object>, CatalogueError>;

    /// Deletes a recording: hides it and marks its objects for deletion, in one transaction. Returns the proof
    /// with the keys whose bytes are still to go, also the second time; `None` where the tenant has none of
    /// this id.
    ///
    /// # Errors
    /// Where the catalogue cannot be written.
    async fn delete(&self, tenant: &str, id: RecordingId) -> Result<Option<Removed>, CatalogueError>;

    /// Marks a staged object for deletion: what the sweeper does first, so that nothing can publish it
    /// meanwhile. `false` where there is no such staged object.
    ///
    /// # Errors
    /// Where the catalogue cannot be written.
    async fn mark(&self, tenant: &str, key: &ObjectKey) -> Result<bool, CatalogueError>;

    /// Removes the row of an object marked for deletion, once its bytes are gone. Any other row stays.
    ///
    /// # Errors
    /// Where the catalogue cannot be written.
    async fn forget(&self, tenant: &str, key: &ObjectKey) -> Result<(), CatalogueError>;

    /// At most `limit` objects in `state` that were staged before `before`, oldest first: the sweeper's list.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    async fn objects_in(
        &self,
        tenant: &str,
        state: ObjectState,
        before: UtcMicros,
        limit: u32,
    ) -> Result<Vec<Object>, CatalogueError>;

    /// The node that this catalogue speaks for, once one was [begun](Self::start_node).
    fn node(&self) -> Option<NodeId>;

    /// Whether any object has this key, in any state, of any tenant: they share one store. Only a hint, since
    /// it may be taken the moment after; [`stage`](Self::stage) decides.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    async fn key_taken(&self, key: &ObjectKey) -> Result<bool, CatalogueError>;

    /// Enters an upload in parts that the store has begun, before any byte of it is sent: so that one that nobody goes
    /// on with is found.
    ///
    /// # Errors
    /// [`CatalogueError::NotStaged`] where the recording has no such staged object; [`CatalogueError::KeyTaken`] where
    /// an upload to it is known already.
    async fn begin_upload(&self, upload: &Upload) -> Result<(), CatalogueError>;

    /// Notes that the store has taken part `number` of an upload; the last one noted under a number counts. Of an upload
    /// that is not known (any more) nothing is noted.
    ///
    /// # Errors
    /// Where the catalogue cannot be written.
    async fn note_part(
        &self,
        upload: &Upload,
        number: u32,
        part: &UploadedPart,
    ) -> Result<(), CatalogueError>;

    /// The upload to the object `key` that was begun and whose object is not published, with its parts in order.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    async fn upload(
        &self,
        tenant: &str,
        key: &ObjectKey,
    ) -> Result<Option<(Upload, Vec<(u32, UploadedPart)>)>, CatalogueError>;

    /// All such uploads but those of other nodes' recordings, oldest first: the sweeper's list.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    async fn uploads(&self, tenant: &str) -> Result<Vec<Upload>, CatalogueError>;

    /// Removes an upload that is aborted, with its parts; [`publish`](Self::publish) removes those of its objects.
    ///
    /// # Errors
    /// Where the catalogue cannot be written.
    async fn end_upload(&self, tenant: &str, key: &ObjectKey) -> Result<(), CatalogueError>;

    /// Begins a process's life on a node, with a lease until then. Its epoch is higher than that of any before. From
    /// here on this catalogue speaks for the node: recordings that it enters are the node's, and what another node
    /// records or has taken over it neither stages, publishes, nor lists to be swept.
    ///
    /// # Errors
    /// Where the catalogue cannot be written.
    async fn start_node(&self, node: NodeId, until: UtcMicros) -> Result<Tenure, CatalogueError>;

    /// Renews a node's lease. `false`: it was taken over, or another process has begun on it.
    ///
    /// # Errors
    /// Where the catalogue cannot be written.
    async fn renew_node(&self, node: NodeId, epoch: u64, until: UtcMicros) -> Result<bool, CatalogueError>;

    /// Takes over every other node whose lease has run out at `now`, each by one caller alone. All that `by` has taken
    /// over and not settled, also before.
    ///
    /// # Errors
    /// Where the catalogue cannot be written.
    async fn claim(&self, by: NodeId, now: UtcMicros) -> Result<Vec<Claim>, CatalogueError>;

    /// Whether `by` has taken over anything that is not settled.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    async fn has_claims(&self, by: NodeId) -> Result<bool, CatalogueError>;

    /// Everything in a claim's bundles is finished, and they are gone. With `lost`, what else the node had begun has
    /// failed, unless the node is back: nothing of it was in any bundle.
    ///
    /// # Errors
    /// Where the catalogue cannot be written.
    async fn settle(&self, claim: Claim, lost: Option<UtcMicros>) -> Result<(), CatalogueError>;

    /// Makes a recording `by`'s own to finish. `false` where it is finished or deleted, or its node has its lease at
    /// `now`. Of one that is unknown here nobody else is the owner. What its node had staged is not used again; which of
    /// its segments are logged is to be found out anew.
    ///
    /// # Errors
    /// Where the catalogue cannot be written.
    async fn take_recording(
        &self,
        tenant: &str,
        id: RecordingId,
        by: NodeId,
        now: UtcMicros,
    ) -> Result<bool, CatalogueError>;

    /// The node that records it or has taken it over, where that is known.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    async fn owner(&self, tenant: &str, id: RecordingId) -> Result<Option<NodeId>, CatalogueError>;

    /// Whether a node was ever entered.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    async fn knows_node(&self, node: NodeId) -> Result<bool, CatalogueError>;

    /// Enters a node of which only its bundles are known, without a lease: the next to look takes it over. `false`
    /// where it is known.
    ///
    /// # Errors
    /// Where the catalogue cannot be written.
    async fn enter_node(&self, node: NodeId, epoch: u64) -> Result<bool, CatalogueError>;

    /// Writes out what is queued and closes the catalogue; later calls fail with [`CatalogueError::Closed`].
    /// Dropping it is safe too, since every answered change is durable.
    async fn close(&self);
}

/// Proof that a recording is published: its bytes lie in the store and its row says so. Only a catalogue
/// makes one; releasing a recording's logs takes one.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the logs of a published recording can be released with this"]
pub struct Published {
    recording: RecordingId,
}

impl Published {
    /// The recording.
    pub const fn recording(&self) -> RecordingId {
        self.recording
    }
}

/// Proof that a recording was deleted by its owner, with what of it is still to be removed. Only a catalogue
/// makes one; its logs can be released with it, since nobody may see them any more.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the bytes of the keys in it are still to be deleted"]
pub struct Removed {
    recording: RecordingId,
    keys: Vec<ObjectKey>,
}

impl Removed {
    /// The recording.
    pub const fn recording(&self) -> RecordingId {
        self.recording
    }

    /// The objects whose bytes are still to go; then each is to be [forgotten](Catalogue::forget).
    pub fn keys(&self) -> &[ObjectKey] {
        &self.keys
    }
}
