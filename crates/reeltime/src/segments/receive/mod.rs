//! Recordings that come in as segments: each segment is kept in the store as it came, and its sound is logged like that
//! of any other source, at its absolute time on the recording's clock.
//!
//! ```text
//! begin ─▶ announce ─▶ upload ─▶ object in the store ─▶ sound in its speaker's log, synced ─▶ row ─▶ answer
//!                                                        └─ out of turn: when the recording is finalized
//! ```
//!
//! - **One instant of a speaker is logged once**, from the segment that came first. What a later one has besides is
//!   logged; so segments may overlap, come again after a crash, or come in any order, and nothing is heard twice.
//! - A log is in order. A segment that begins before what its speaker has logged, and fills a hole there, waits in
//!   the store; at the end those are logged in their order, as one more track of the speaker.
//! - A crash between two steps leaves a row that is announced. The client asks for another address and gets the same
//!   row; the object and the sound that are there already are found, and neither is made twice.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reeltime_core::id::RecordingId;
use reeltime_core::keys::{KeyError, ObjectKey, safe_name};
use reeltime_core::log::Purpose;
use reeltime_core::media::Container;
use reeltime_core::time::{Micros, UtcMicros};
use uuid::Uuid;

use crate::blocking::blocking;
use crate::catalogue::{
    CatalogueError, NewRecording, NewSegment, RecordingState, Segment, SegmentRecording, SegmentsStatus,
    StateChange,
};
use crate::error::Error;
use crate::recorder::{Clock, LiveRecording, Recorder, RecordingClock, Refusal};
use crate::store::StoreError;

mod cover;
mod direct;
mod files;
mod finalize;
mod gaps;
mod incoming;
mod sound;
mod speakers;
mod told;
mod upload;

pub use files::StoredFile;
pub use finalize::Named;
pub(crate) use finalize::run;
pub(crate) use incoming::clear;
pub use sound::SoundError;
pub use upload::Upload;

use speakers::Speakers;

/// A segment begins at most so long after its recording, in microseconds: 48 hours. What lies beyond is a clock that is
/// wrong, and would be that much silence.
const MOST: i64 = 48 * 3_600 * 1_000_000;
/// The longest name that a client may give to anything, in bytes.
const MOST_NAME: usize = 1_024;

/// A recording to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSegments {
    /// Its session, as its client names it.
    pub session_id: String,
    /// Where it takes place.
    pub guild_id: String,
    /// Where in there.
    pub channel_id: String,
    /// Whatever else is known of it, as JSON.
    pub details: String,
    /// Zero of its clock.
    pub begun_at: UtcMicros,
}

/// A segment to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
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
}

/// Why a segment, or what is said of one, is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The tenant has no such recording of segments.
    #[error("Recording not found")]
    UnknownRecording,
    /// No segment has this id, or its address was replaced by a newer one.
    #[error("this upload URL is not valid, or a newer one was asked for: ask for a new one")]
    UnknownUpload,
    /// The address was used.
    #[error("this upload URL was used: ask for a new one")]
    Used,
    /// Somebody is sending the same segment at this moment.
    #[error("this segment is being uploaded at this moment: try again")]
    Busy,
    /// No segment comes any more.
    #[error("the recording is finalized: no segment is taken any more")]
    Finalized,
    /// More bytes than were announced, or than are taken.
    #[error("the segment is larger than the {limit} bytes that it may have")]
    TooLarge {
        /// Bytes.
        limit: u64,
    },
    /// Fewer bytes than were announced.
    #[error("the segment ended after {received} bytes, and {announced} were announced: send it again")]
    TooShort {
        /// Bytes that came.
        received: u64,
        /// Bytes announced.
        announced: u64,
    },
    /// The same segment, with other bytes than it had.
    #[error("this segment is in the store already, with other bytes: nothing is overwritten")]
    Differs,
    /// Its times cannot be.
    #[error(
        "the times of the segment are not possible: it is to begin within 48 hours of its recording's recordedAt, and not to end before it begins"
    )]
    Times,
    /// A name is too long, or absent where there must be one.
    #[error("the {field} is to have 1 to 1,024 bytes")]
    Name {
        /// The field.
        field: &'static str,
    },
    /// What is said to be of this recording is another's.
    #[error("{place} is a segment of another recording")]
    Foreign {
        /// As it was named.
        place: String,
    },
    /// Nothing can be heard of it.
    #[error(transparent)]
    Sound(#[from] SoundError),
    /// Nothing new is taken now.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store does not answer in time.
    #[error("the store cannot be reached now: nothing was kept, try again in a moment")]
    StoreAway,
    /// It is over for its client; what is still to be done about it waits for the store, and is tried again each minute.
    #[error(
        "the recording is finalized, and no segment is taken any more; the store cannot be reached now, and what is there is put together once it is back: ask again in a moment"
    )]
    Unfinished,
    /// The library failed.
    #[error(transparent)]
    Failed(Error),
}

impl From<Error> for ReceiveError {
    fn from(error: Error) -> Self {
        if let Error::Store(error) = &error
            && error.is_passing()
        {
            tracing::warn!(%error, "a segment cannot be stored now");
            return Self::StoreAway;
        }
        Self::Failed(error)
    }
}

impl From<CatalogueError> for ReceiveError {
    fn from(error: CatalogueError) -> Self {
        if matches!(error, CatalogueError::UnknownRecording { .. } | CatalogueError::Deleted { .. }) {
            return Self::UnknownRecording;
        }
        Self::Failed(error.into())
    }
}

impl From<StoreError> for ReceiveError {
    fn from(error: StoreError) -> Self {
        Error::from(error).into()
    }
}

impl From<std::io::Error> for ReceiveError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(Error::Spool(error))
    }
}

impl From<KeyError> for ReceiveError {
    fn from(error: KeyError) -> Self {
        Self::Failed(error.into())
    }
}

/// The recordings that segments come for.
#[derive(Debug)]
pub(crate) struct Receivers {
    live: Mutex<HashMap<RecordingId, Arc<Receiver>>>,
    /// Segments whose bytes are on their way.
    uploading: Mutex<HashSet<Uuid>>,
    /// One recording begins at a time, so that one session does not begin two.
    beginning: tokio::sync::Mutex<()>,
    /// Decoding and logging takes a thread for as long as the disk makes it wait.
    logging: tokio::sync::Semaphore,
}

impl Default for Receivers {
    fn default() -> Self {
        Self {
            live: Mutex::default(),
            uploading: Mutex::default(),
            beginning: tokio::sync::Mutex::default(),
            logging: tokio::sync::Semaphore::new(4),
        }
    }
}

/// A recording that segments come for.
#[derive(Debug)]
pub(super) struct Receiver {
    recording: Arc<LiveRecording>,
    /// Read while a segment is stored and logged, written by who finalizes.
    gate: tokio::sync::RwLock<Gate>,
    speakers: Arc<Mutex<Speakers>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    Shut,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Receivers {
    fn insert(&self, recording: &Arc<LiveRecording>, speakers: Speakers) {
        let receiver = Receiver {
            recording: Arc::clone(recording),
            gate: tokio::sync::RwLock::new(Gate::Open),
            speakers: Arc::new(Mutex::new(speakers)),
        };
        lock(&self.live).insert(recording.id, Arc::new(receiver));
    }

    fn has(&self, id: RecordingId) -> bool {
        lock(&self.live).contains_key(&id)
    }

    fn get(&self, tenant: &str, id: RecordingId) -> Option<Arc<Receiver>> {
        let receiver = lock(&self.live).get(&id).cloned();
        receiver.filter(|receiver| receiver.recording.tenant == tenant && !receiver.recording.is_deleted())
    }
}

impl Receiver {
    /// A time on the recording's clock; what lies before its beginning is placed there.
    fn at(&self, time: UtcMicros) -> Micros {
        let epoch = self.recording.clock().map_or(self.recording.created, |clock| clock.epoch);
        Micros(u64::try_from(time.0.saturating_sub(epoch.0)).unwrap_or(0))
    }
}

impl Recorder {
    /// Begins a recording that comes in as segments; of a session that is being recorded, gives that recording.
    ///
    /// # Errors
    /// [`ReceiveError::Refused`], [`ReceiveError::Name`], [`ReceiveError::Unfinished`], or where the catalogue cannot be
    /// written.
    pub async fn begin_segments(&self, tenant: &str, new: NewSegments) -> Result<RecordingId, ReceiveError> {
        check_name("sessionId", &new.session_id)?;
        let _one = self.inner().segments.beginning.lock().await;
        self.admit()?;
        let (id, utc) = (RecordingId(Uuid::now_v7()), Clock::utc());
        let recording = self.receiving(tenant, id, &new.session_id, utc, new.begun_at);
        let row =
            NewRecording { id, tenant: tenant.to_owned(), call: new.session_id.clone(), created_at: utc };
        let segments = SegmentRecording {
            recording: id,
            session_id: new.session_id,
            guild_id: new.guild_id,
            channel_id: new.channel_id,
            details: new.details,
            status: SegmentsStatus::Live,
            begun_at: new.begun_at,
            created_at: utc,
            finalized_at: None,
        };
        let known = self.inner().catalogue.begin_segments(&row, &segments).await?;
        if known == id {
            let active = StateChange { state: RecordingState::Active, at: new.begun_at, reason: None };
            self.inner().catalogue.change_state(tenant, id, &active).await?;
            self.receive(&recording, Speakers::default());
            return Ok(id);
        }
        match self.segments_of(tenant, known).await? {
            Some(row) if row.status == SegmentsStatus::Finalizing => Err(ReceiveError::Unfinished),
            _ => Ok(known),
        }
    }

    pub(crate) fn receiving(
        &self,
        tenant: &str,
        id: RecordingId,
        session: &str,
        created: UtcMicros,
        begun_at: UtcMicros,
    ) -> Arc<LiveRecording> {
        let clock = RecordingClock::go_on(begun_at, Micros(0), self.inner().clock.now(), Clock::utc());
        let call = Some(session.to_owned());
        Arc::new(LiveRecording::new(id, tenant.to_owned(), call, Purpose::Plain, created, Some(clock)))
    }

    /// From here on the recording is live until it is finalized.
    fn receive(&self, recording: &Arc<LiveRecording>, speakers: Speakers) {
        recording.note_entered();
        recording.session_opened();
        self.inner().registry.insert(recording, false);
        self.inner().segments.insert(recording, speakers);
    }

    /// Takes up the recordings that segments came for when an earlier process ended, and that are not taken up yet:
    /// nothing of them is logged.
    pub(crate) async fn revive_segments(&self) -> Result<(), Error> {
        let tenant = crate::catalogue::DEFAULT_TENANT;
        for row in self.inner().catalogue.open_segment_recordings(tenant).await? {
            if self.inner().segments.has(row.recording) {
                continue;
            }
            let known = self.inner().registry.recording(tenant, row.recording);
            let fresh =
                || self.receiving(tenant, row.recording, &row.session_id, row.created_at, row.begun_at);
            self.receive_again(&known.unwrap_or_else(fresh)).await?;
        }
        Ok(())
    }

    /// Whether segments come for a recording: it is not finalized.
    pub(crate) async fn comes_in_segments(&self, recording: &LiveRecording) -> Result<bool, Error> {
        let row = self.inner().catalogue.segment_recording(&recording.tenant, recording.id).await?;
        Ok(row.is_some_and(|row| row.status != SegmentsStatus::Finalized) && !recording.is_deleted())
    }

    /// As [`Self::receive`], behind what its logs hold.
    pub(crate) async fn receive_again(&self, recording: &Arc<LiveRecording>) -> Result<(), Error> {
        let (recorder, found) = (self.clone(), Arc::clone(recording));
        let speakers = blocking(move || Speakers::recover(&recorder, &found)).await?;
        self.receive(recording, speakers);
        Ok(())
    }

    fn receiver(&self, tenant: &str, id: RecordingId) -> Result<Arc<Receiver>, ReceiveError> {
        self.inner().segments.get(tenant, id).ok_or(ReceiveError::UnknownRecording)
    }

    /// As [`Self::receiver`], which tells of one that is finalized.
    async fn open_receiver(&self, tenant: &str, id: RecordingId) -> Result<Arc<Receiver>, ReceiveError> {
        match self.receiver(tenant, id) {
            Err(_) if self.segments_of(tenant, id).await?.is_some() => Err(ReceiveError::Finalized),
            receiver => receiver,
        }
    }

    /// Announces a segment: it gets a key of its own and the id of an address that takes it once. The same segment
    /// again gets another address; the one before is void.
    ///
    /// # Errors
    /// [`ReceiveError`], with what is not possible.
    pub async fn announce_segment(
        &self,
        tenant: &str,
        id: RecordingId,
        announcement: Announcement,
    ) -> Result<Segment, ReceiveError> {
        let receiver = self.open_receiver(tenant, id).await?;
        let row = self.segments_of(tenant, id).await?.ok_or(ReceiveError::UnknownRecording)?;
        let new = new_segment(&row, announcement)?;
        // The gate of an earlier process was shut as well.
        if *receiver.gate.read().await == Gate::Shut || row.status != SegmentsStatus::Live {
            return Err(ReceiveError::Finalized);
        }
        Ok(self.inner().catalogue.announce_segment(tenant, &new).await?)
    }

    /// What was said of a recording of segments; `None` where the tenant has none of this id, or deleted it.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    pub async fn segments_of(
        &self,
        tenant: &str,
        id: RecordingId,
    ) -> Result<Option<SegmentRecording>, ReceiveError> {
        let Some(row) = self.inner().catalogue.segment_recording(tenant, id).await? else { return Ok(None) };
        let there = self.inner().catalogue.get(tenant, id).await?.is_some();
        Ok(there.then_some(row))
    }

    /// The segments of a recording, by number.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    pub async fn segments(&self, tenant: &str, id: RecordingId) -> Result<Vec<Segment>, ReceiveError> {
        Ok(self.inner().catalogue.segments(tenant, id).await?)
    }

    /// A segment of a recording, by its id.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    pub async fn segment(
        &self,
        tenant: &str,
        recording: RecordingId,
        id: Uuid,
    ) -> Result<Option<Segment>, ReceiveError> {
        Ok(self.inner().catalogue.segment(tenant, recording, id).await?)
    }

    /// The recordings that segments come for, or that could not be finalized yet, oldest first.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    pub async fn open_segments(&self, tenant: &str) -> Result<Vec<SegmentRecording>, ReceiveError> {
        Ok(self.inner().catalogue.open_segment_recordings(tenant).await?)
    }
}

fn new_segment(row: &SegmentRecording, of: Announcement) -> Result<NewSegment, ReceiveError> {
    check_name("userId", &of.user_id)?;
    for (field, name) in [("username", &of.username), ("fileName", &of.file_name)] {
        if name.len() > MOST_NAME {
            return Err(ReceiveError::Name { field });
        }
    }
    let late = of.starts_at.0.saturating_sub(row.begun_at.0);
    let long = of.ends_at.0.saturating_sub(of.starts_at.0);
    if !(-MOST..=MOST).contains(&late) || !(0..=MOST).contains(&long) {
        return Err(ReceiveError::Times);
    }
    let name = if of.username.is_empty() { &of.user_id } else { &of.username };
    let (session, name, index) = (safe_name(&row.session_id), safe_name(name), of.segment_index);
    let key = format!("recordings/{session}/{name}/segment_{index:03}.{}", of.format.name());
    Ok(NewSegment {
        id: Uuid::now_v7(),
        recording: row.recording,
        key: ObjectKey::new(key)?,
        upload: Uuid::new_v4(),
        user_id: of.user_id,
        username: of.username,
        segment_index: of.segment_index,
        file_name: of.file_name,
        format: of.format,
        size: of.size,
        starts_at: of.starts_at,
        ends_at: of.ends_at,
    })
}

fn check_name(field: &'static str, name: &str) -> Result<(), ReceiveError> {
    if (1..=MOST_NAME).contains(&name.len()) { Ok(()) } else { Err(ReceiveError::Name { field }) }
}
