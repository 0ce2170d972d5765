//! Recordings that come in as segments: what their client said of them, and what became of each segment.
//!
//! ```text
//! announce ─▶ object staged ─▶ bytes into the store ─▶ sound logged ─▶ keep (row and object, one transaction)
//! ```
//!
//! A crash before `keep` leaves a row that is `announced`: the client asks for another address of the same row, and
//! what lies in the store and in the log already is found there.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use reeltime_core::id::RecordingId;
use reeltime_core::keys::ObjectKey;
use reeltime_core::media::Container;
use reeltime_core::time::{Micros, UtcMicros};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::CatalogueError;
use super::types::{NewRecording, UnknownName, named};

named! {
    /// How far a recording of segments is.
    SegmentsStatus {
        /// Segments come.
        Live = "live",
        /// Its client said that it is over; what it needs for that is not all done.
        Finalizing = "finalizing",
        /// No segment comes any more.
        Finalized = "finalized",
    }
}

named! {
    /// What became of a segment.
    SegmentState {
        /// It was announced; nothing is known of its bytes.
        Announced = "announced",
        /// Its object is complete in the store; its sound is logged when the recording is finalized.
        Stored = "stored",
        /// Its object is complete in the store, and its sound is in a track's log.
        Logged = "logged",
        /// It never came.
        Missing = "missing",
    }
}

impl SegmentState {
    /// Whether its object is in the store.
    pub const fn is_kept(self) -> bool {
        matches!(self, Self::Stored | Self::Logged)
    }
}

/// A recording of segments, as its client described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRecording {
    /// The recording.
    pub recording: RecordingId,
    /// Its session, as its client names it.
    pub session_id: String,
    /// Where it takes place, as its client names it.
    pub guild_id: String,
    /// Where in there.
    pub channel_id: String,
    /// Whatever else was said, as JSON.
    pub details: String,
    /// How far it is.
    pub status: SegmentsStatus,
    /// Zero of its clock.
    pub begun_at: UtcMicros,
    /// When it was entered.
    pub created_at: UtcMicros,
    /// When it was finalized.
    pub finalized_at: Option<UtcMicros>,
}

/// A segment to announce. User, index, start, size and format together tell one from another, and the file's name where
/// the size is not known: announced again, it is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSegment {
    /// The id it gets if it is new.
    pub id: Uuid,
    /// The recording it belongs to.
    pub recording: RecordingId,
    /// Whose it is, by an id.
    pub user_id: String,
    /// Whose it is, by name.
    pub username: String,
    /// Its number, as its client counts.
    pub segment_index: u32,
    /// Its file, as its client names it.
    pub file_name: String,
    /// Its format: WAV, FLAC or Ogg.
    pub format: Container,
    /// Its size in bytes, where that is known.
    pub size: Option<u64>,
    /// When it begins.
    pub starts_at: UtcMicros,
    /// When it ends.
    pub ends_at: UtcMicros,
    /// Where its object is to lie; a key that is taken gets a number.
    pub key: ObjectKey,
    /// The id of the address that takes it; any other of the same segment is void from here on.
    pub upload: Uuid,
}

/// A segment, as the catalogue has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its id.
    pub id: Uuid,
    /// The recording it belongs to.
    pub recording: RecordingId,
    /// Its place among the recording's segments, from 0, in the order they were announced.
    pub number: u32,
    /// Whose it is, by an id.
    pub user_id: String,
    /// Whose it is, by name.
    pub username: String,
    /// The name of its track.
    pub participant: String,
    /// Its number, as its client counts.
    pub segment_index: u32,
    /// Its file, as its client names it.
    pub file_name: String,
    /// Its format.
    pub format: Container,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// When it begins.
    pub starts_at: UtcMicros,
    /// When it ends.
    pub ends_at: UtcMicros,
    /// Where its object lies.
    pub key: ObjectKey,
    /// What became of it.
    pub state: SegmentState,
    /// The CRC32C of its bytes, once they are in the store.
    pub crc32c: Option<u32>,
    /// The id of the one address that takes it.
    pub upload: Uuid,
    /// That address has been used.
    pub used: bool,
    /// Why it is missing.
    pub reason: Option<String>,
}

/// A segment whose bytes are in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSegment {
    /// The segment.
    pub id: Uuid,
    /// Where its object lies: staged for it.
    pub key: ObjectKey,
    /// The object's size in bytes.
    pub size: u64,
    /// The CRC32C of its bytes, where it was made.
    pub crc32c: Option<u32>,
    /// Whether its sound is logged.
    pub logged: bool,
}

/// What there is of a recording's files: of one that comes as segments these, of any other its tracks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileFigures {
    /// How far it is, where it comes as segments.
    pub status: Option<SegmentsStatus>,
    /// Files that are complete in the store.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The users of whom a segment is there; of any other recording none.
    pub users: usize,
    /// The segments that never came, by number.
    pub missing: Vec<Segment>,
    /// Where the last of those ends, on the recording's clock.
    pub missing_until: Micros,
}

/// The rows of segments. Part of every [catalogue](super::Catalogue).
#[async_trait]
pub trait SegmentRows: Send + Sync {
    /// Enters a recording and that it comes in as segments; gives its id. Where its session is being recorded already,
    /// nothing changes, and the id is that recording's.
    ///
    /// # Errors
    /// Where the catalogue cannot be written.
    async fn begin_segments(
        &self,
        recording: &NewRecording,
        segments: &SegmentRecording,
    ) -> Result<RecordingId, CatalogueError>;

    /// What was said of a recording of segments, deleted or not; `None` where the tenant has no such recording.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    async fn segment_recording(
        &self,
        tenant: &str,
        id: RecordingId,
    ) -> Result<Option<SegmentRecording>, CatalogueError>;

    /// The recordings of segments that are not finalized and not deleted, oldest first: those of this node, and those of
    /// none. Another node's are that node's to finalize, for as long as it is not taken over.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    async fn open_segment_recordings(&self, tenant: &str) -> Result<Vec<SegmentRecording>, CatalogueError>;

    /// Moves a recording of segments on; never back.
    ///
    /// # Errors
    /// [`CatalogueError::TakenOver`], or where the catalogue cannot be written.
    async fn advance_segments(
        &self,
        tenant: &str,
        id: RecordingId,
        status: SegmentsStatus,
        at: UtcMicros,
    ) -> Result<(), CatalogueError>;

    /// Announces a segment under a key of its own; one that is announced already gets the new address.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownRecording`]; [`CatalogueError::KeyTaken`] after a thousand tries.
    async fn announce_segment(&self, tenant: &str, new: &NewSegment) -> Result<Segment, CatalogueError>;

    /// The segment of a recording whose id or whose address's id this is.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    async fn segment(
        &self,
        tenant: &str,
        recording: RecordingId,
        id: Uuid,
    ) -> Result<Option<Segment>, CatalogueError>;

    /// The recording that has a segment under this key.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    async fn segment_key(&self, tenant: &str, key: &str) -> Result<Option<RecordingId>, CatalogueError>;

    /// All segments of a recording, by number.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    async fn segments(&self, tenant: &str, recording: RecordingId) -> Result<Vec<Segment>, CatalogueError>;

    /// What there is of each of these recordings; nothing of those that the tenant has not, or that have no files.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    async fn file_figures(
        &self,
        tenant: &str,
        recordings: &[RecordingId],
    ) -> Result<HashMap<RecordingId, FileFigures>, CatalogueError>;

    /// A segment's bytes are in the store: its object is published, its address used, in one transaction. To say so
    /// again changes nothing, but that what was not logged may be now.
    ///
    /// # Errors
    /// [`CatalogueError::NotStaged`] where the object is not staged for its recording; [`CatalogueError::TakenOver`].
    /// Then nothing has changed.
    async fn keep_segment(&self, tenant: &str, kept: &KeptSegment) -> Result<(), CatalogueError>;

    /// Says of segments of a recording that they never came, each with its reason; those that did are left as they are.
    ///
    /// # Errors
    /// Where the catalogue cannot be written.
    async fn miss_segments(
        &self,
        tenant: &str,
        recording: RecordingId,
        missing: &[(Uuid, String)],
    ) -> Result<(), CatalogueError>;
}
