//! Sends one recording's segments while they are cut, several at a time, and says when that was all. What fails stays
//! on the disk and is tried again for as long as it takes.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use reeltime_core::keys::ObjectKey;
use reeltime_core::media::Container;
use serde_json::Value;
use tokio::task::JoinSet;
use tracing::{error, warn};

use super::api::{Api, Place, summary};
use super::batch::Batch;
use super::error::SendError;
use super::journal::{Begun, Entry, Journal, Line, Segment, Sent, Way};
use super::outgoing::Outgoing;
use super::{Shared, Way as To};
use crate::blocking::blocking;
use crate::crash;
use crate::store::{ByteStream, StoreError, read_file};

/// What finalize would have said, beside the files, until it could be said.
const EXPORT: &str = "finalize.json";
/// How often an API that asks for patience is asked whether it takes recordings while they last.
const ASKED: u32 = 3;

/// Sends all there is, and all that comes, to the end.
pub(super) async fn send(shared: Arc<Shared>, outgoing: Arc<Outgoing>) {
    let (shared, outgoing) = (&shared, &outgoing);
    let mut tries = 0;
    let way = loop {
        match introduce(shared, outgoing).await {
            Ok(way) => break way,
            Err(error) => tokio::time::sleep(shared.failed(outgoing, &error.into(), tries)).await,
        }
        tries += 1;
    };
    if way == Way::Batch {
        outgoing.until_cut().await;
    } else {
        send_each(shared, outgoing, &way).await;
    }
    let (mut batch, mut tries) = (Batch::default(), 0);
    while let Err(error) = finish(shared, outgoing, &way, &mut batch).await {
        if tries == 0 {
            export(outgoing).await;
        }
        tokio::time::sleep(shared.failed(outgoing, &error, tries)).await;
        tries += 1;
    }
    shared.settle(outgoing).await;
}

/// Has an API begin the recording. One that cannot takes it at the end.
async fn introduce(shared: &Shared, outgoing: &Arc<Outgoing>) -> io::Result<Way> {
    let (begun, way) = outgoing.ask(|journal| Ok((journal.begun.clone(), journal.way.clone()))).await?;
    let To::Api(api) = &shared.to else { return Ok(way) };
    if way != Way::Unknown {
        return Ok(way);
    }
    let mut asked = 0;
    let (way, entry) = loop {
        asked += 1;
        match api.init_live(&begun).await {
            Ok(id) => break (Way::Live(id.clone()), Entry::Live { id }),
            Err(busy @ SendError::Busy { .. }) if asked < ASKED => {
                tokio::time::sleep(shared.failed(outgoing, &busy, asked)).await;
            }
            Err(error) => {
                shared.failed(outgoing, &error, 0);
                warn!(recording = %outgoing.id, "its segments are kept here and sent when it is over");
                break (Way::Batch, Entry::Batch);
            }
        }
    };
    outgoing.note(entry).await?;
    Ok(way)
}

/// Sends segments as they come, until no more will come.
async fn send_each(shared: &Arc<Shared>, outgoing: &Arc<Outgoing>, way: &Way) {
    let mut under_way = JoinSet::new();
    let mut tries = 0;
    loop {
        // In this order: what was cut before the end is seen, is also taken.
        let all_cut = outgoing.is_all_cut();
        while under_way.len() < shared.config.parallel {
            let Ok(Some(line)) = outgoing.ask(|journal| Ok(journal.take())).await else { break };
            let (shared, outgoing, way) = (Arc::clone(shared), Arc::clone(outgoing), way.clone());
            under_way.spawn(async move {
                let done = send_one(&shared, &outgoing, &way, line).await;
                (line, done)
            });
        }
        if under_way.is_empty() && all_cut {
            return;
        }
        tokio::select! {
            Some(done) = under_way.join_next() => match done {
                Ok((line, Err(error))) => {
                    wait(shared, outgoing, &mut under_way, (line, error), tries).await;
                    tries += 1;
                }
                Ok((_, Ok(()))) | Err(_) => tries = 0,
            },
            () = outgoing.changed.notified() => {}
        }
    }
}

/// One failed: what fails with it waits with it, once.
async fn wait(
    shared: &Shared,
    outgoing: &Arc<Outgoing>,
    under_way: &mut JoinSet<(Line, Result<(), SendError>)>,
    (line, error): (Line, SendError),
    tries: u32,
) {
    let mut failed = vec![line];
    let mut longest = shared.failed(outgoing, &error, tries);
    while let Some(done) = under_way.join_next().await {
        if let Ok((line, Err(error))) = done {
            failed.push(line);
            longest = longest.max(shared.failed(outgoing, &error, tries));
        }
    }
    let back = move |journal: &mut Journal| {
        failed.into_iter().rev().for_each(|line| journal.put_back(line));
        Ok(())
    };
    // Where even that cannot be done, the next start finds them in the journal.
    let _ = outgoing.ask(back).await;
    tokio::time::sleep(longest).await;
}

async fn send_one(shared: &Shared, outgoing: &Arc<Outgoing>, way: &Way, line: Line) -> Result<(), SendError> {
    let _turn = shared.turns.acquire().await;
    let segment = outgoing.ask(move |journal| journal.segment(line)).await?;
    let arrived = match arrive(shared, outgoing, way, &segment).await {
        Err(error) if error.is_of_the_segment() => {
            return Ok(refuse(outgoing, &segment, &error).await?);
        }
        arrived => arrived?,
    };
    crash::point("segment_uploaded");
    outgoing.note(Entry::Sent(arrived)).await?;
    crash::point("segment_noted");
    shared.counts.sent.fetch_add(1, Ordering::Relaxed);
    shared.counts.sent_bytes.fetch_add(segment.bytes, Ordering::Relaxed);
    if !shared.config.keep_local {
        let file = outgoing.folder.join(&segment.file);
        // What cannot be removed now goes with the folder.
        let _ = blocking(move || fs::remove_file(file)).await;
    }
    Ok(())
}

/// The target will never take a segment.
pub(super) async fn refuse(outgoing: &Arc<Outgoing>, segment: &Segment, error: &SendError) -> io::Result<()> {
    error!(recording = %outgoing.id, file = %segment.file, %error, "a segment is refused; it stays on this machine");
    outgoing.note(Entry::Refused { number: segment.number, why: error.to_string() }).await
}

async fn arrive(
    shared: &Shared,
    outgoing: &Outgoing,
    way: &Way,
    segment: &Segment,
) -> Result<Sent, SendError> {
    let file = outgoing.folder.join(&segment.file);
    match &shared.to {
        To::Store(store) => {
            let key = key(outgoing, &segment.file)?;
            put_file(&**store, &key, &file, segment.bytes).await?;
            Ok(Sent { number: segment.number, url: key.to_string(), path: key.to_string() })
        }
        To::Api(api) => {
            let Way::Live(id) = way else {
                return Err(SendError::Answer { what: "the journal", lacks: "the recording's id" });
            };
            api.await_share(segment).await;
            let place = api.place(id, segment).await?;
            put_segment(api, segment, &place, &file).await
        }
    }
}

pub(super) async fn put_segment(
    api: &Api,
    segment: &Segment,
    place: &Place,
    file: &Path,
) -> Result<Sent, SendError> {
    let mime = segment.format().parse::<Container>().unwrap_or_default().mime();
    let url = api.put(place, file, mime).await?;
    let path = if place.path.is_empty() { segment.file.clone() } else { place.path.clone() };
    Ok(Sent { number: segment.number, url, path })
}

/// Stores a file. One that is there under its key, as long as it is, came there before its arrival could be noted.
async fn put_file(
    store: &dyn crate::store::Store,
    key: &ObjectKey,
    file: &Path,
    bytes: u64,
) -> Result<(), SendError> {
    let file = file.to_owned();
    let opened = Arc::new(blocking(move || fs::File::open(file)).await?);
    match store.put(key, read_file(opened, 0..bytes)).await {
        Err(StoreError::AlreadyExists { key }) => match store.head(&key).await? {
            Some(there) if there.size == bytes => Ok(()),
            _ => Err(StoreError::AlreadyExists { key }.into()),
        },
        done => Ok(done.map(drop)?),
    }
}

fn key(outgoing: &Outgoing, file: &str) -> Result<ObjectKey, SendError> {
    let key = ObjectKey::new(format!("{}{file}", prefix(outgoing.id)));
    key.map_err(|error| SendError::File(io::Error::other(error)))
}

/// What the keys of a recording's segments begin with.
pub(super) fn prefix(recording: reeltime_core::id::RecordingId) -> String {
    format!("recordings/{recording}/")
}

/// Says that this was all.
async fn finish(
    shared: &Shared,
    outgoing: &Arc<Outgoing>,
    way: &Way,
    batch: &mut Batch,
) -> Result<(), SendError> {
    let told = told(outgoing).await?;
    match (&shared.to, way) {
        (To::Store(store), _) => {
            let body = serde_json::to_vec_pretty(&told.summary()).map_err(io::Error::from)?;
            let key = key(outgoing, "segments.json")?;
            match store.put(&key, ByteStream::from_bytes(Bytes::from(body))).await {
                Err(StoreError::AlreadyExists { .. }) => {}
                done => drop(done?),
            }
        }
        (To::Api(api), Way::Live(id)) => api.finalize(id, &told.summary()).await?,
        (To::Api(api), Way::Batch | Way::Unknown) => batch.send(shared, outgoing, api, told).await?,
    }
    crash::point("segments_finalized");
    Ok(outgoing.note(Entry::Done).await?)
}

/// The journal's tale.
pub(super) struct Told {
    pub(super) begun: Begun,
    ended_ms: i64,
    pub(super) segments: Vec<(Segment, Option<Sent>)>,
}

async fn told(outgoing: &Arc<Outgoing>) -> io::Result<Told> {
    let read = |journal: &mut Journal| {
        let (begun, segments) = (journal.begun.clone(), journal.segments()?);
        let last = segments.iter().map(|(segment, _)| segment.end_ms).max();
        let ended_ms = journal.all_cut.or(last).unwrap_or(begun.started_ms);
        Ok(Told { begun, ended_ms, segments })
    };
    outgoing.ask(read).await
}

impl Told {
    fn summary(&self) -> Value {
        summary(&self.begun, self.ended_ms, &self.segments)
    }
}

/// Leaves what would have been said beside the files, for whoever has to do it by hand.
async fn export(outgoing: &Arc<Outgoing>) {
    let Ok(told) = told(outgoing).await else { return };
    let text = serde_json::to_vec_pretty(&told.summary()).unwrap_or_default();
    let file = outgoing.folder.join(EXPORT);
    let to = file.clone();
    match blocking(move || fs::write(to, text)).await {
        Ok(()) => {
            warn!(recording = %outgoing.id, file = %file.display(), "what it should have been told is kept here, and tried again")
        }
        Err(error) => {
            warn!(recording = %outgoing.id, %error, "what it should have been told cannot be written down")
        }
    }
}

impl Shared {
    /// Counts and tells a failure; how long to wait.
    pub(super) fn failed(&self, outgoing: &Outgoing, error: &SendError, tries: u32) -> Duration {
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
        let wait = error.wait(tries, fastrand::f64());
        warn!(recording = %outgoing.id, %error, again_in_ms = wait.as_millis() as u64, "segments do not get through");
        wait
    }
}
