//! A conversation that is recorded by library calls and leaves in segments.

use std::collections::HashMap;
use std::io;

use futures_util::future::join_all;
use reeltime_core::id::RecordingId;
use reeltime_core::log::{Counting, Purpose};
use reeltime_core::media::Format;

use super::send::{Following, SentSegment};
use crate::recorder::{Asked, Control, Ingest, KeptCall, OpenError, Recorder, SessionRequest, Taken};

/// Records a conversation, each speaker's sound as it comes, whose segments leave while it lasts: to where
/// [`RecorderConfig::segments`](crate::RecorderConfig::segments) says, cut as it says. What is recorded besides is an
/// ordinary recording.
///
/// Sound is placed by when it is written. Who is silent need not be written: what is more than a second late is
/// silence. Dropping it is losing the connection: the recording ends once nobody has come back for a while
/// ([`RecorderConfig::patience`](crate::RecorderConfig::patience)), and its segments are sent all the same.
///
/// ```no_run
/// use reeltime::segments::SegmentRecorder;
/// use reeltime::segments::send::{SegmentsConfig, Target};
/// use reeltime::{Recorder, RecorderConfig};
/// use reeltime_core::media::{Codec, Format};
///
/// # async fn run(folder: reeltime::spool::FolderLock, catalogue: std::sync::Arc<dyn reeltime::catalogue::Catalogue>,
/// # store: std::sync::Arc<dyn reeltime::store::Store>, heard: Vec<i16>, packet: &[u8])
/// # -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = RecorderConfig::new("data");
/// config.segments = Some(SegmentsConfig::new(Target::Store));
/// let recorder = Recorder::open(config, folder, catalogue, store).await?;
///
/// let mut call = SegmentRecorder::begin(&recorder, "default", "voice-channel").await?;
/// let pcm: Vec<u8> = heard.into_iter().flat_map(i16::to_le_bytes).collect();
/// call.write("alice", Format { codec: Codec::S16le, rate: 48_000, channels: 2 }, &pcm).await?;
/// call.write("bob", Format { codec: Codec::Opus, rate: 48_000, channels: 2 }, packet).await?;
/// call.leave("alice").await;
/// for segment in call.close().await?.segments {
///     println!("{} {}: {} ms", segment.participant, segment.index, segment.end_ms - segment.start_ms);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SegmentRecorder {
    recorder: Recorder,
    tenant: String,
    name: String,
    call: KeptCall,
    segments: Following,
    speakers: HashMap<String, Ingest>,
    stopped: bool,
}

/// What became of a conversation's segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// The recording, as the store and an API's `sessionId` name it.
    pub recording: RecordingId,
    /// The segments, in the order in which they were cut.
    pub segments: Vec<SentSegment>,
    /// How many more the target has refused: their files stay in the data folder.
    pub refused: u64,
}

/// Why a conversation's segments cannot be recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// Its recording is not cut.
    #[error(
        "no segments are cut of this call: set `RecorderConfig::segments`, or raise its `max_recordings` if as many are cut already"
    )]
    NotCut,
    /// A speaker cannot be recorded now.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its owner stopped the recording, or deleted it.
    #[error("the recording was stopped or deleted: close it, and begin another to go on")]
    Stopped,
    /// All is sent, and what was sent cannot be read.
    #[error("the journal of the segments cannot be read: {0}")]
    Journal(#[source] io::Error),
}

impl SegmentRecorder {
    /// Begins a conversation, or goes on with the one that is recorded under this name.
    ///
    /// # Errors
    /// [`SegmentError::NotCut`]; [`SegmentError::Open`] while nothing new is taken.
    pub async fn begin(recorder: &Recorder, tenant: &str, call: &str) -> Result<Self, SegmentError> {
        if recorder.inner().config.segments.is_none() {
            return Err(SegmentError::NotCut);
        }
        let kept = recorder.keep_call(tenant, call).await?;
        let Some(segments) = recorder.inner().segment_sender.following(kept.recording.id) else {
            kept.end();
            return Err(SegmentError::NotCut);
        };
        Ok(Self {
            recorder: recorder.clone(),
            tenant: tenant.to_owned(),
            name: call.to_owned(),
            call: kept,
            segments,
            speakers: HashMap::new(),
            stopped: false,
        })
    }

    /// The recording.
    pub fn recording(&self) -> RecordingId {
        self.call.recording.id
    }

    /// Takes what a speaker has just said: whole samples of PCM, or one packet of Opus. Who was not there joins. Waits
    /// only while the disk is slower than the source; not cancel safe.
    ///
    /// # Errors
    /// [`SegmentError::Stopped`]; [`SegmentError::Open`] where a speaker cannot join now.
    pub async fn write(
        &mut self,
        speaker: &str,
        format: Format,
        audio: &[u8],
    ) -> Result<Taken, SegmentError> {
        let goes_on = self.speakers.get_mut(speaker).is_none_or(|ingest| {
            let asked_to_end = ends(ingest);
            self.stopped |= asked_to_end == Some(Control::Stop);
            asked_to_end.is_none() && ingest.format() == format
        });
        if !goes_on {
            self.leave(speaker).await;
        }
        if self.stopped || self.call.recording.is_deleted() {
            return Err(SegmentError::Stopped);
        }
        if !self.speakers.contains_key(speaker) {
            let ingest = self.join(speaker, format).await?;
            self.speakers.insert(speaker.to_owned(), ingest);
        }
        let ingest = self.speakers.get_mut(speaker).ok_or(SegmentError::Stopped)?;
        ingest.audio(audio).await.map_err(|_| SegmentError::Stopped)
    }

    /// A speaker leaves, and what was said is safe on the disk. Who is written again is back.
    pub async fn leave(&mut self, speaker: &str) {
        if let Some(ingest) = self.speakers.remove(speaker) {
            ingest.stop("left").await;
        }
    }

    /// Ends the conversation and waits until its segments have arrived, for as long as that takes. Who does not wait
    /// loses the summary alone: they are sent all the same, if need be after the next start.
    ///
    /// # Errors
    /// [`SegmentError::Journal`].
    pub async fn close(self) -> Result<SegmentSummary, SegmentError> {
        let recording = self.recording();
        join_all(self.speakers.into_values().map(|ingest| ingest.stop("closed"))).await;
        self.call.end();
        let (segments, refused) = self.segments.arrived().await.map_err(SegmentError::Journal)?;
        Ok(SegmentSummary { recording, segments, refused })
    }

    async fn join(&self, speaker: &str, format: Format) -> Result<Ingest, OpenError> {
        let request = SessionRequest {
            tenant: self.tenant.clone(),
            call: Some(self.name.clone()),
            participant: Some(speaker.to_owned()),
            format,
            counting: Counting::Arrival,
            purpose: Purpose::Plain,
            speaks_v1: false,
        };
        Ok(self.recorder.open_session(request).await?.0)
    }
}

/// Whether a speaker's session was asked to end. Pauses are heeded on the way.
fn ends(ingest: &mut Ingest) -> Option<Control> {
    loop {
        match ingest.next_asked()? {
            Asked::Control(control @ (Control::Stop | Control::Idle)) => return Some(control),
            Asked::TakenOver | Asked::Leave => return Some(Control::Idle),
            Asked::Control(_) | Asked::Synced | Asked::Ping => {}
        }
    }
}
