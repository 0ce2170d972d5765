//! The recorder: sessions in, recordings out. This is the library's front door.
//!
//! ```text
//! Recorder::open ─▶ recover what an earlier process left
//!      │
//!      ├─ open_session / resume_session ─▶ Ingest ──audio, text──▶ the track's log
//!      ├─ sweep (each 250 ms): idle sessions, clients that did not return, recordings without sessions
//!      └─ publish: layouts ─▶ render ─▶ store ─▶ catalogue ─▶ release the logs
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use reeltime_core::id::RecordingId;
use reeltime_core::keys::KeyTemplate;
use reeltime_core::media::Container;
use reeltime_core::session::Patience;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tracing::{error, info, warn};

use crate::blocking::blocking;
use crate::catalogue::{Catalogue, CatalogueError};
use crate::error::Error;
use crate::parts::Uploads;
use crate::segments::receive::{self, Receivers};
use crate::segments::send::{SegmentFigures, SegmentSender, SegmentsConfig};
use crate::ship::{self, Node, NotShipping, Shipped, Shipping};
use crate::spool::{self, FolderLock, LocalDisk, Spool, SpoolConfig, Usage};
use crate::store::{Bandwidth, Store, Throttled, Watched};
use crate::upload::Retry;

mod ahead;
mod backlog;
pub(crate) mod bell;
mod cache;
mod clock;
mod encoded;
mod events;
mod growing;
mod ingest;
mod live;
mod media;
mod orphans;
mod outlines;
mod part;
mod peaks;
mod publish;
mod publishing;
mod registry;
mod renditions;
mod resurrect;
mod scribe;
mod selection;
mod sessions;
mod sketch;
mod staging;
mod sweep;
mod tags;
mod view;

pub use backlog::{Backlog, StoreStatus};
pub use events::{RecordingEvent, WatchError};
pub use ingest::{Asked, Ingest, Taken};
pub use live::Control;
pub use media::Media;
pub use peaks::{Peaks, PeaksSelection, Zoom};
pub use selection::{MediaError, Seating, Selection, UnknownSeating};
pub use sessions::{OpenError, SessionInfo, SessionRequest};
pub use view::{BytesView, Page, RecordingView, TrackView};

pub(crate) use clock::{Clock, RecordingClock};
pub(crate) use live::LiveRecording;
pub(crate) use publish::Settled;
use registry::Registry;
pub(crate) use sessions::KeptCall;

/// What a recorder is told. [`RecorderConfig::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct RecorderConfig {
    /// The data folder: spool, lock.
    pub data_dir: PathBuf,
    /// The spool's settings.
    pub spool: SpoolConfig,
    /// How long a client that lost its connection may take to come back, and how long one may be silent.
    pub patience: Patience,
    /// How long a call without a session waits for another before its recording ends.
    pub call_linger: Duration,
    /// Where a recording's files lie in the store.
    pub key_template: KeyTemplate,
    /// Where those of the transcribe socket lie: below the store's `transcribe` mount.
    pub transcribe_template: KeyTemplate,
    /// Recordings published at the same time; `None`: 4 where the store lies elsewhere, 16 where it is a folder.
    pub upload_workers: Option<usize>,
    /// Bytes a second that all uploads may take together; 0: no limit.
    pub upload_bandwidth: u64,
    /// When what could not be published is tried again.
    pub retry: Retry,
    /// What is kept of a recording of several tracks, beside each track as received.
    pub renditions: Vec<Rendition>,
    /// Bytes of files made on demand that are kept in the data folder.
    pub cache_budget: u64,
    /// How long after a recording was published those of its peaks are made that were not made while it was recorded;
    /// `None`: all of them when they are asked for.
    pub peaks_after: Option<Duration>,
    /// Whether files are uploaded while they grow, where the store takes uploads in parts.
    pub live_uploads: bool,
    /// How far what is mixed of a live recording may stay behind: for so long a silent speaker is waited for.
    pub live_horizon: Duration,
    /// Bytes of parts on their way to the store that are held in memory; at least one part is.
    pub upload_budget: u64,
    /// When and how often live audio goes to the store.
    pub ship: Shipping,
    /// For how long this node is taken to live without a sign of life; then others may take over.
    pub node_lease: Duration,
    /// How segments are cut and sent; absent: none are.
    pub segments: Option<SegmentsConfig>,
    /// A recording of segments that its client has not finalized is finalized after so long.
    pub segments_auto_finalize: Duration,
    /// Whether segments that come in are sent to the store itself, where it signs addresses.
    pub segments_direct: bool,
    /// Files made on demand at the same time, at most: see [`Error::Busy`].
    pub render_limit: usize,
}

/// A file that is kept of a recording of several tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rendition {
    /// The file.
    pub format: Container,
    /// Who is heard where.
    pub layout: Seating,
}

impl Rendition {
    /// The most channels that a recording may have to be kept like this; `None` where it may have any number.
    pub const fn most_channels(self) -> Option<u8> {
        match (self.layout, reeltime_codec::most_channels(self.format)) {
            (Seating::Mono | Seating::Stereo, _) | (Seating::Tracks, u8::MAX) => None,
            (Seating::Tracks, most) => Some(most),
        }
    }
}

/// Where files lie unless a template says otherwise.
pub const DEFAULT_KEY_TEMPLATE: &str = "recordings/{yyyy}/{mm}/{dd}/{recording}-{participant}.{ext}";
/// The prefix of keys that the transcribe socket's own folder holds.
pub const TRANSCRIBE_MOUNT: &str = "transcribe";

impl RecorderConfig {
    /// The defaults, for a data folder.
    ///
    /// # Panics
    /// Never: the default templates are tested.
    #[expect(clippy::unwrap_used, reason = "the two texts are constants, and a test parses them")]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            spool: SpoolConfig::default(),
            patience: Patience { idle: Duration::from_secs(300), resume_window: Duration::from_secs(30) },
            call_linger: Duration::from_secs(2),
            key_template: DEFAULT_KEY_TEMPLATE.parse().unwrap(),
            transcribe_template: "transcribe/session_{session}_{unix}.{ext}".parse().unwrap(),
            upload_workers: None,
            upload_bandwidth: 0,
            retry: Retry::default(),
            renditions: vec![Rendition { format: Container::Wav, layout: Seating::Mono }],
            cache_budget: 2 << 30,
            peaks_after: Some(Duration::from_secs(30)),
            live_uploads: true,
            live_horizon: Duration::from_secs(5),
            upload_budget: 64 << 20,
            ship: Shipping::default(),
            node_lease: Duration::from_secs(15),
            segments: None,
            segments_auto_finalize: Duration::from_secs(24 * 3_600),
            segments_direct: false,
            render_limit: 32,
        }
    }
}

/// Records sessions and serves recordings. Cheap to clone; all clones are one recorder.
#[derive(Clone, Debug)]
pub struct Recorder(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: RecorderConfig,
    pub(crate) clock: Clock,
    pub(crate) spool: Spool,
    pub(crate) catalogue: Arc<dyn Catalogue>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) uploads: Arc<Uploads>,
    pub(crate) registry: Registry,
    pub(crate) watched: Arc<Watched>,
    publishing: publishing::Publishing,
    orphans: orphans::Orphans,
    draining_rate: backlog::Rate,
    /// Told whenever a recording has left the registry, or its logs the spool.
    pub(crate) settled: Notify,
    /// Held while logs are removed.
    pub(crate) releasing: Semaphore,
    /// Published recordings whose logs are still there.
    pub(crate) unreleased: AtomicUsize,
    pub(crate) quiet: crate::source::low_water::Marks,
    pub(crate) cache: cache::Cache,
    pub(crate) outlines: outlines::Outlines,
    scribe: scribe::Scribe,
    ahead: ahead::Ahead,
    pub(crate) node: Node,
    pub(crate) ship: Arc<ship::State>,
    pub(crate) segment_sender: SegmentSender,
    pub(crate) segments: Receivers,
    /// Room for files that are made on demand.
    renders: Arc<Semaphore>,
    /// Room for those who watch recordings.
    watchers: Arc<Semaphore>,
    /// Bytes of audio heard since the start.
    pub(crate) received: AtomicU64,
    /// Bytes of objects published since the start.
    pub(crate) published: AtomicU64,
    draining: AtomicBool,
    leaving: AtomicBool,
    /// Counts the connections that are there: each holds a receiver.
    connections: watch::Sender<()>,
    _folder: FolderLock,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("data_dir", &self.config.data_dir).finish_non_exhaustive()
    }
}

/// Why no new session is taken now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The recorder is going down.
    #[error("the recorder is shutting down: connect again in a moment")]
    Draining,
    /// The disk is full, or the spool's budget is spent.
    #[error(transparent)]
    NoRoom(#[from] spool::NoRoom),
}

/// Whether the recorder can record, and how much room it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// What stands against it; empty when ready.
    pub refusal: Option<Refusal>,
    /// The spool's figures.
    pub usage: Usage,
    /// Sessions now.
    pub sessions: usize,
    /// Recordings not yet published.
    pub recordings: usize,
    /// Files that are made on demand now.
    pub renders: usize,
    /// Bytes a second that live sessions log at most: what the room is divided by.
    pub bytes_per_second: u64,
    /// Bytes of audio heard since the start: never less than the spool's `appended`.
    pub received: u64,
    /// Bytes of objects published since the start.
    pub published: u64,
    /// What is in the store of what is not published yet.
    pub shipped: Shipped,
}

impl Recorder {
    /// Recovers what lies in the data folder's spool, and starts. `folder` says that it is ours: take it before
    /// anything in it is opened.
    ///
    /// # Errors
    /// Where the spool cannot be read or written.
    pub async fn open(
        config: RecorderConfig,
        folder: FolderLock,
        catalogue: Arc<dyn Catalogue>,
        store: Arc<dyn Store>,
    ) -> Result<Self, Error> {
        let node = Node::start(&config.data_dir, config.node_lease, &*catalogue).await?;
        let logs = spool::folder(&config.data_dir).map_err(Error::Spool)?;
        let disk = Arc::new(LocalDisk::open(&logs).map_err(Error::Spool)?);
        let spool = Spool::start(disk, config.spool.clone()).map_err(Error::Spool)?;
        // New sessions are refused where less than the reserve is free.
        let spare = config.spool.reserve.saturating_mul(2);
        let bandwidth = (config.upload_bandwidth > 0).then(|| Bandwidth::new(config.upload_bandwidth));
        let store = match &bandwidth {
            None => store,
            Some(bandwidth) => Arc::new(Throttled::sharing(store, bandwidth.clone())),
        };
        let watched = Arc::new(Watched::new(store));
        let store: Arc<dyn Store> = Arc::<Watched>::clone(&watched);
        let segments = config.segments.clone();
        let segment_sender = SegmentSender::open(segments, &config.data_dir, &store, bandwidth, spare)
            .map_err(Error::Spool)?;
        let (scribe, lines) = scribe::Scribe::new();
        let recorder = Self(Arc::new(Inner {
            clock: Clock::start(),
            spool,
            uploads: Uploads::new(Arc::clone(&catalogue), Arc::clone(&store), config.upload_budget),
            catalogue,
            store,
            registry: Registry::default(),
            watched,
            publishing: publishing::Publishing::new(config.retry),
            orphans: orphans::Orphans::default(),
            draining_rate: backlog::Rate::default(),
            settled: Notify::new(),
            releasing: Semaphore::new(1),
            unreleased: AtomicUsize::new(0),
            quiet: crate::source::low_water::Marks::default(),
            cache: cache::Cache::open(config.data_dir.join("cache"), config.cache_budget, spare),
            outlines: outlines::Outlines::new(),
            scribe,
            ahead: ahead::Ahead::default(),
            node,
            ship: Arc::default(),
            segment_sender,
            segments: Receivers::default(),
            renders: Arc::new(Semaphore::new(config.render_limit.max(1))),
            watchers: Arc::new(Semaphore::new(events::MOST)),
            received: AtomicU64::new(0),
            published: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            connections: watch::Sender::new(()),
            config,
            _folder: folder,
        }));
        let data_dir = recorder.0.config.data_dir.clone();
        blocking(move || receive::clear(&data_dir)).await.map_err(Error::Spool)?;
        recorder.resurrect().await?;
        recorder.start_publishing();
        recorder.follow_revived().await;
        recorder.0.segment_sender.go_on(|id| recorder.0.registry.is_live(id));
        tokio::spawn(sweep::run(Arc::downgrade(&recorder.0)));
        tokio::spawn(scribe::run(lines, Arc::downgrade(&recorder.0)));
        tokio::spawn(ahead::run(Arc::downgrade(&recorder.0)));
        tokio::spawn(receive::run(Arc::downgrade(&recorder.0)));
        ship::start(&recorder.0);
        Ok(recorder)
    }

    pub(crate) const fn of(inner: Arc<Inner>) -> Self {
        Self(inner)
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(crate) fn shared(&self) -> Arc<Inner> {
        Arc::clone(&self.0)
    }

    /// Whether what is received now will be in the store as it comes, so that `ack=store` can be promised.
    ///
    /// # Errors
    /// [`NotShipping`], with what stands against it.
    pub fn ships(&self) -> Result<(), NotShipping> {
        self.0.ship.check()
    }

    /// Bytes of a recording's logs that were shipped; `None` where it is not being recorded here.
    pub fn shipped_bytes(&self, tenant: &str, id: RecordingId) -> Option<u64> {
        Some(self.0.registry.recording(tenant, id)?.shipped_bytes())
    }

    /// Whether a new session would be taken now.
    ///
    /// # Errors
    /// [`Refusal`], with what stands against it.
    pub fn admit(&self) -> Result<(), Refusal> {
        if self.0.draining.load(Ordering::Acquire) {
            return Err(Refusal::Draining);
        }
        Ok(self.0.spool.admit()?)
    }

    /// Whether it can record, and its figures.
    pub fn readiness(&self) -> Readiness {
        let (recordings, sessions, bytes_per_second) = self.0.registry.figures();
        // Before what it is never more than.
        let shipped = self.0.ship.figures();
        Readiness {
            shipped,
            refusal: self.admit().err(),
            usage: self.0.spool.usage(),
            received: self.0.received.load(Ordering::Acquire),
            published: self.0.published.load(Ordering::Acquire),
            sessions,
            recordings,
            renders: self.0.config.render_limit.max(1) - self.0.renders.available_permits(),
            bytes_per_second,
        }
    }

    /// How the sending of segments stands.
    pub fn segment_figures(&self) -> SegmentFigures {
        self.0.segment_sender.figures()
    }

    /// Has a recording that begins, or goes on, cut into segments where that is wished.
    pub(crate) async fn follow_segments(&self, recording: &Arc<LiveRecording>) {
        self.0.segment_sender.follow(self.0.spool.disk(), self.0.clock, recording).await;
    }

    /// Has what earlier processes began cut on; not what came here as segments.
    async fn follow_revived(&self) {
        for recording in self.0.registry.recordings() {
            match self.segments_of(&recording.tenant, recording.id).await {
                Ok(None) => self.follow_segments(&recording).await,
                Ok(Some(_)) => {}
                Err(error) => {
                    warn!(recording = %recording.id, %error, "no segments are cut of it until the next start")
                }
            }
        }
    }

    /// Room for a file that is made on demand, for as long as it is held.
    pub(crate) fn render_room(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.0.renders).try_acquire_owned().map_err(|_| {
            metrics::counter!("reeltime_renders_refused_total").increment(1);
            Error::Busy { limit: self.0.config.render_limit.max(1) }
        })
    }

    /// Whether connections are to leave.
    pub(crate) fn is_leaving(&self) -> bool {
        self.0.leaving.load(Ordering::Acquire)
    }

    /// Refuses new sessions, waits up to `timeout` for the live ones to end, then has the rest leave: everything
    /// received is synced, and a client that knows the protocol may resume at the next start. Last, what has
    /// ended gets a moment to be published; what does not make it is published after the next start.
    pub async fn drain(&self, timeout: Duration) {
        self.0.draining.store(true, Ordering::Release);
        let deadline = tokio::time::Instant::now() + timeout;
        info!(sessions = self.0.registry.sessions().len(), "draining");
        while tokio::time::Instant::now() < deadline && self.0.registry.has_connected_sessions() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.0.leaving.store(true, Ordering::Release);
        self.0.registry.sessions().iter().for_each(|session| session.bell.ring(bell::LEAVE));
        let leaving = tokio::time::timeout(Duration::from_millis(1_000), self.all_left());
        if leaving.await.is_err() {
            warn!("some connections did not leave in time; what they sent is in the spool");
        }
        let last = tokio::time::timeout(Duration::from_millis(200), self.published());
        let _ = last.await;
        self.0.catalogue.close().await;
    }

    /// Until every connection has said what it had to say, and is closed.
    async fn all_left(&self) {
        self.0.connections.closed().await;
    }

    /// Held by a connection for as long as it lives.
    pub(crate) fn connection(&self) -> watch::Receiver<()> {
        self.0.connections.subscribe()
    }

    /// Waits until every recording that has ended is published, and its logs are removed.
    pub async fn published(&self) {
        loop {
            let settled = self.0.settled.notified();
            if !self.0.registry.has_ending() && self.0.unreleased.load(Ordering::Acquire) == 0 {
                return;
            }
            settled.await;
        }
    }

    /// Pauses, resumes or stops every session of a recording. False where it is not being recorded.
    pub async fn control(&self, tenant: &str, id: RecordingId, control: Control) -> bool {
        let sessions = self.0.registry.sessions_of(tenant, id);
        for session in &sessions {
            self.control_session(session, control).await;
        }
        !sessions.is_empty()
    }

    /// Deletes a recording, with all its bytes; one that is still recorded is stopped first. Deleting what is not
    /// there is a success.
    ///
    /// # Errors
    /// Where the catalogue or the store cannot be written; then the call can be repeated.
    pub async fn delete(&self, tenant: &str, id: RecordingId) -> Result<(), Error> {
        let live = self.0.registry.recording(tenant, id);
        if let Some(recording) = &live {
            self.0.registry.delete(recording);
            self.control(tenant, id, Control::Stop).await;
            self.give_up_segments(recording).await;
        }
        // In a task of its own: whoever asked may go away, the bytes go all the same.
        let (recorder, tenant) = (self.clone(), tenant.to_owned());
        let removing = tokio::spawn(async move {
            let _files = match &live {
                Some(recording) => Some(recording.files.lock().await),
                None => None,
            };
            let Some(removed) = recorder.bury(&tenant, id).await? else { return Ok(false) };
            recorder.remove_bytes(&tenant, &removed).await.map(|()| true)
        });
        let removed = removing.await.map_err(|_| Error::Spool(std::io::Error::other("the removal died")))?;
        if removed? {
            info!(recording = %id, "deleted");
        }
        Ok(())
    }

    /// Enters a recording in the catalogue. A catalogue that is away does not keep anyone from recording: it is
    /// entered again when the recording is published.
    pub(crate) async fn enter(&self, recording: &live::LiveRecording) {
        match self.0.catalogue.begin(&publish::new_recording(recording)).await {
            Ok(()) => recording.note_entered(),
            Err(CatalogueError::Deleted { .. }) => self.0.registry.delete(recording),
            Err(error) => {
                error!(recording = %recording.id, %error, "cannot enter the recording in the catalogue yet");
            }
        }
    }
}
