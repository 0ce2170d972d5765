//! Recordings as the API shows them: published ones from the catalogue, live ones from memory.

use std::sync::Arc;

use reeltime_core::id::{RecordingId, SessionId, TrackId};
use reeltime_core::log::Purpose;
use reeltime_core::manifest::{self, Manifest};
use reeltime_core::timeline::{Gap, Mark, Pause};
use serde::Serialize;

use super::live::LiveRecording;
use super::publish::{Settled, describe, manifest_of, seconds};
use super::selection::MediaError;
use super::{Recorder, publish};
use crate::catalogue::{self, Filter, ObjectState, Recording, RecordingState};
use crate::error::Error;

/// A recording. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecordingView {
    /// Its id.
    pub id: RecordingId,
    /// The call it belongs to: the source's name for it, or the recording's own id.
    pub call_id: String,
    /// When it was entered.
    pub created_at: String,
    /// Length in seconds; of a live one, so far.
    pub duration_seconds: f64,
    /// Where it is in its life.
    pub state: RecordingState,
    /// Why, where there is something to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When its first packet arrived.
    pub started_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Size of its main file in bytes, once it is published.
    pub size_bytes: Option<u64>,
    /// Media type of its main file.
    pub mime_type: Option<String>,
    /// The call's recording before this one.
    pub previous_id: Option<RecordingId>,
    /// Its participants' names, as far as they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub participants: Option<Vec<String>>,
    /// Its tracks; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracks: Option<Vec<TrackView>>,
    /// Where its bytes are; in lists, only of those that are not published yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<BytesView>,
}

/// Where the bytes of a recording are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BytesView {
    /// Of its logs, on the local disk.
    pub spool: u64,
    /// Of these, shipped: in the store as well, as parts of bundles.
    pub shipped: u64,
    /// Of its files, in the store.
    pub published: u64,
}

/// A track. Positions and lengths are in samples per channel at `rate`, on the track's timeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrackView {
    /// Its id.
    pub id: TrackId,
    /// Whose media it is.
    pub participant: String,
    /// The session that brought it.
    pub session_id: SessionId,
    /// `s16le`, `mulaw`, `alaw` or `opus`.
    pub codec: String,
    /// Samples per second and channel.
    pub rate: u32,
    /// Channels.
    pub channels: u8,
    /// Where it begins on the recording's clock, in seconds.
    pub start_seconds: f64,
    /// Its length.
    pub samples: u64,
    /// What is missing, and why.
    pub gaps: Vec<Gap>,
    /// What was deliberately not recorded.
    pub pauses: Vec<Pause>,
    /// Named moments.
    pub marks: Vec<Mark>,
}

/// One page of recordings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Page {
    /// Newest first.
    pub items: Vec<RecordingView>,
    /// This page's number, from 1.
    pub page: u32,
    /// The most items a page has.
    pub page_size: u32,
    /// Recordings on all pages.
    pub total: u64,
}

impl Recorder {
    /// Recordings of a tenant, newest first.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    pub async fn recordings(
        &self,
        tenant: &str,
        filter: &Filter,
        page: catalogue::Page,
    ) -> Result<Page, Error> {
        let mut filter = filter.clone();
        if let Some(text) = &filter.text {
            filter.also = self.inner().registry.with_participant(tenant, text);
        }
        let listing = self.inner().catalogue.list(tenant, &filter, page).await?;
        let mut items = Vec::with_capacity(listing.items.len());
        for row in listing.items {
            let mut view = from_row(&row);
            if let Some(live) = self.inner().registry.recording(tenant, row.id) {
                view.state = live.state();
                view.duration_seconds = self.seconds_so_far(&live);
                view.participants = Some(live.participants());
                view.bytes = Some(bytes_of(&live));
            }
            items.push(view);
        }
        Ok(Page { items, page: page.number.max(1), page_size: page.size, total: listing.total })
    }

    /// A recording with its tracks; `None` where the tenant has none of this id.
    ///
    /// # Errors
    /// Where the catalogue or a log cannot be read.
    pub async fn recording(&self, tenant: &str, id: RecordingId) -> Result<Option<RecordingView>, Error> {
        if let Some((live, tracks)) = self.live_tracks(tenant, id).await? {
            return Ok(Some(self.live_view(&live, &tracks)));
        }
        let Some(row) = self.inner().catalogue.get(tenant, id).await? else { return Ok(None) };
        let mut view = from_row(&row);
        let mut tracks = manifest_in(&row).map(|manifest| manifest.tracks).unwrap_or_default();
        if tracks.iter().any(|track| track.object.as_ref().is_some_and(is_flat)) {
            tracks = without_gaps(tracks);
        }
        set_tracks(&mut view, &tracks);
        let objects = self.inner().catalogue.objects(tenant, id).await?;
        let published = objects.iter().filter(|object| object.state == ObjectState::Published);
        let published = published.filter_map(|object| object.size).sum();
        view.bytes = Some(BytesView { published, ..BytesView::default() });
        Ok(Some(view))
    }

    /// A recording's manifest as JSON; of a live one, as of now.
    ///
    /// # Errors
    /// Where the catalogue or a log cannot be read.
    pub async fn manifest(&self, tenant: &str, id: RecordingId) -> Result<Option<serde_json::Value>, Error> {
        if let Some((live, tracks)) = self.live_tracks(tenant, id).await? {
            let described = tracks.iter().map(|track| describe(track, None)).collect();
            return Ok(serde_json::to_value(manifest_of(&live, live.state(), described)).ok());
        }
        let row = self.inner().catalogue.get(tenant, id).await?;
        Ok(row.and_then(|row| row.manifest).and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// The manifest of a recording that is published.
    pub(super) async fn published_manifest(
        &self,
        tenant: &str,
        id: RecordingId,
    ) -> Result<Manifest, MediaError> {
        let row = self.inner().catalogue.get(tenant, id).await.map_err(Error::from)?;
        manifest_in(&row.ok_or(MediaError::NotFound)?).ok_or(MediaError::Empty)
    }

    pub(super) fn live(&self, tenant: &str, id: RecordingId) -> Option<Arc<LiveRecording>> {
        self.inner().registry.recording(tenant, id).filter(|recording| !recording.is_deleted())
    }

    /// A live recording and its tracks; `None` where it is none, or was published meanwhile.
    pub(super) async fn live_tracks(
        &self,
        tenant: &str,
        id: RecordingId,
    ) -> Result<Option<(Arc<LiveRecording>, Vec<Settled>)>, Error> {
        let Some(live) = self.live(tenant, id) else { return Ok(None) };
        match self.flushed(&live).await {
            Ok(tracks) => Ok(Some((live, tracks))),
            Err(_) if self.live(tenant, id).is_none() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The tracks of a live recording, with everything received so far in their files.
    async fn flushed(&self, live: &LiveRecording) -> Result<Vec<Settled>, Error> {
        let tracks = self.settled(live).await?;
        for track in tracks.iter().filter(|track| !track.log.is_empty()) {
            track.log.flush().await;
        }
        Ok(tracks)
    }

    fn seconds_so_far(&self, live: &LiveRecording) -> f64 {
        let settled = |log: Arc<crate::spool::TrackLog>| {
            let (header, layout) = (log.header(), log.layout());
            // Of a track from an earlier process only its count is at hand.
            let fallback = reeltime_core::timeline::Layout { samples: log.samples(), ..Default::default() };
            Settled { header, layout: layout.unwrap_or(fallback), log }
        };
        let tracks: Vec<_> = live.tracks().into_iter().map(settled).collect();
        seconds(live.purpose, &tracks)
    }

    fn live_view(&self, live: &LiveRecording, tracks: &[Settled]) -> RecordingView {
        let mut view = RecordingView {
            id: live.id,
            call_id: live.call_name(),
            created_at: live.created.to_string(),
            duration_seconds: seconds(live.purpose, tracks),
            state: live.state(),
            reason: None,
            started_at: live.clock().map(|clock| clock.epoch.to_string()),
            ended_at: None,
            size_bytes: None,
            mime_type: tracks.first().map(|track| publish::master(track).mime().to_owned()),
            previous_id: None,
            participants: None,
            tracks: None,
            bytes: Some(bytes_of(live)),
        };
        let mut described: Vec<_> = tracks.iter().map(|track| describe(track, None)).collect();
        if live.purpose != Purpose::Plain {
            described = without_gaps(described);
        }
        set_tracks(&mut view, &described);
        view
    }
}

/// As the catalogue has it, which knows nothing of what a live one holds by now.
impl From<&Recording> for RecordingView {
    fn from(row: &Recording) -> Self {
        from_row(row)
    }
}

fn bytes_of(live: &LiveRecording) -> BytesView {
    BytesView { spool: live.bytes(), shipped: live.shipped_bytes(), published: 0 }
}

fn from_row(row: &Recording) -> RecordingView {
    RecordingView {
        id: row.id,
        call_id: row.call.clone(),
        created_at: row.created_at.to_string(),
        duration_seconds: row.duration.map_or(0.0, |duration| duration.0 as f64 / 1e6),
        state: row.state,
        reason: row.reason.clone(),
        started_at: row.started_at.map(|at| at.to_string()),
        ended_at: row.ended_at.map(|at| at.to_string()),
        size_bytes: row.size,
        mime_type: row.mime_type.clone(),
        previous_id: row.previous,
        participants: Some(row.names.clone()),
        tracks: None,
        bytes: None,
    }
}

pub(super) fn manifest_in(row: &Recording) -> Option<Manifest> {
    serde_json::from_str(row.manifest.as_deref()?).ok()
}

fn set_tracks(view: &mut RecordingView, tracks: &[manifest::Track]) {
    let mut names: Vec<_> = tracks.iter().map(|track| track.participant.clone()).collect();
    names.sort();
    names.dedup();
    view.participants = Some(names);
    view.tracks = Some(tracks.iter().map(track_view).collect());
}

/// The transcribe socket's files have no gaps: what is missing stands in the manifest alone.
fn without_gaps(tracks: Vec<manifest::Track>) -> Vec<manifest::Track> {
    let flat = |mut track: manifest::Track| {
        track.layout.gaps.clear();
        track.layout.samples = track.layout.counters.media_samples;
        track
    };
    tracks.into_iter().map(flat).collect()
}

/// Whether the object lies in the transcribe socket's own folder.
pub(super) fn is_flat(object: &manifest::Object) -> bool {
    object.key.strip_prefix(super::TRANSCRIBE_MOUNT).is_some_and(|rest| rest.starts_with('/'))
}

fn track_view(track: &manifest::Track) -> TrackView {
    TrackView {
        id: track.id,
        participant: track.participant.clone(),
        session_id: track.session_id,
        codec: track.format.codec.to_string(),
        rate: track.format.rate,
        channels: track.format.channels,
        start_seconds: track.layout.start.0 as f64 / 1e6,
        samples: track.layout.samples,
        gaps: track.layout.gaps.clone(),
        pauses: track.layout.pauses.clone(),
        marks: track.layout.marks.clone(),
    }
}
