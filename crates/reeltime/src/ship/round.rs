//! One round: what is synced and not yet shipped, bundle after bundle, until nothing is left behind.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use reeltime_core::bundle::{self, File, Name, Owner, Writer};
use reeltime_core::id::{NodeId, TrackId};
use tokio::task::JoinHandle;
use tracing::{Instrument, warn};

use super::ledger::Ledger;
use super::read;
use super::recall::{Recalled, recall};
use crate::catalogue::Tenure;
use crate::crash;
use crate::error::Error;
use crate::recorder::{Inner, Recorder};
use crate::spans;
use crate::spool::{Shippable, TrackLog};
use crate::store::{ByteStream, Store, StoreError};

/// Of each track at least so much goes into a bundle, if it has it.
const SHARE: u64 = 16 << 10;
/// Bundles that are deleted in a round, and at the same time.
const DELETED: usize = 32;
const DELETERS: usize = 8;

/// A track that is shipped.
#[derive(Clone, Debug)]
struct Track {
    owner: Owner,
    log: Arc<TrackLog>,
}

/// What a bundle takes of a track, and where that leads.
#[derive(Clone, Debug)]
struct Portion {
    track: Track,
    next: Shippable,
}

/// A bundle that is made and not yet known to be in the store.
#[derive(Debug)]
struct Made {
    name: Name,
    bytes: Bytes,
    /// Its last ones, the whole index among them.
    tail: std::ops::Range<u64>,
    owners: Vec<Owner>,
    portions: Vec<Portion>,
    at: Instant,
}

/// The one who ships.
#[derive(Debug, Default)]
pub(super) struct Shipper {
    tenure: Option<Tenure>,
    number: u64,
    held: Option<Made>,
    ledger: Ledger,
    doomed: Vec<Name>,
    recalling: Option<JoinHandle<Result<Recalled, StoreError>>>,
    recalled: bool,
    /// The track with which the next bundle begins.
    turn: usize,
    /// Tracks that cannot be read, which was told.
    unreadable: HashSet<TrackId>,
}

impl Shipper {
    /// Ships what there is, and tidies up.
    pub(super) async fn round(&mut self, recorder: &Recorder) -> Result<(), Error> {
        let inner = recorder.inner();
        self.begin(inner.node.tenure());
        self.recall(recorder).await;
        let shipped = self.ship(recorder).await;
        inner.ship.bundles.store(self.ledger.len() as u64, Ordering::Relaxed);
        shipped?;
        self.tidy(inner).await
    }

    /// Under a new epoch everything begins anew: what lies below the others is not ours any more.
    fn begin(&mut self, tenure: Tenure) {
        if self.tenure != Some(tenure) {
            *self = Self { tenure: Some(tenure), ..Self::default() };
        }
    }

    /// Learns in the background what earlier processes of this node have shipped.
    async fn recall(&mut self, recorder: &Recorder) {
        if self.recalled {
            return;
        }
        let Some(tenure) = self.tenure else { return };
        let recalling = self.recalling.get_or_insert_with(|| tokio::spawn(recall(recorder.shared(), tenure)));
        if !recalling.is_finished() {
            return;
        }
        let found = recalling.await;
        self.recalling = None;
        match found {
            Ok(Ok(recalled)) => {
                recalled.enter(&mut self.ledger);
                for track in tracks(recorder.inner()).iter().filter(|track| !track.log.is_ours()) {
                    track.log.skip_shipped(|number, kind| {
                        let file = File { track: track.log.id(), number, kind };
                        recalled.held.get(&file).copied().unwrap_or(0)
                    });
                }
                self.recalled = true;
                self.doomed.extend(self.ledger.take_free());
            }
            Ok(Err(error)) => warn!(%error, "cannot read this node's earlier bundles yet; trying again"),
            Err(error) => warn!(%error, "reading this node's earlier bundles died; trying again"),
        }
    }

    async fn ship(&mut self, recorder: &Recorder) -> Result<(), Error> {
        let mut tracks = tracks(recorder.inner());
        // What an earlier process began may be in its bundles.
        tracks.retain(|track| self.recalled || track.log.is_ours());
        let live: HashSet<_> = tracks.iter().map(|track| track.log.id()).collect();
        self.unreadable.retain(|id| live.contains(id));
        loop {
            let mut more = true;
            if self.held.is_none() {
                let (portions, busy) = self.plan(&tracks);
                more = busy;
                self.held = self.make(recorder, portions, &mut tracks).await?;
            }
            if let Some(made) = self.held.take() {
                match self.put(recorder.inner(), &made).instrument(spans::ship(made.bytes.len())).await {
                    Ok(true) => self.commit(recorder.inner(), made),
                    // The name is taken by something else: another one.
                    Ok(false) => self.held = Some(Made { name: self.next_name(), ..made }),
                    Err(error) => {
                        self.held = Some(made);
                        return Err(error);
                    }
                }
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// What goes into the next bundle, of all tracks in turn; whether that is not all there is.
    fn plan(&mut self, tracks: &[Track]) -> (Vec<Portion>, bool) {
        let count = tracks.len();
        let share = (bundle::MOST / count.max(1)).max(SHARE as usize) as u64;
        let (mut left, mut portions, mut seen) = (bundle::MOST as u64, Vec::new(), 0);
        for at in 0..count {
            if left == 0 {
                break;
            }
            seen += 1;
            let track = &tracks[(self.turn + at) % count];
            let Some(next) = track.log.to_ship(share.min(left)) else { continue };
            left -= size(&next);
            portions.push(Portion { track: track.clone(), next });
        }
        self.turn = (self.turn + seen) % count.max(1);
        let busy = seen < count || portions.iter().any(|portion| portion.next.more);
        (portions, busy)
    }

    /// Reads the portions into a bundle; nothing where there is nothing to read. A track that cannot be read is left
    /// out of this round: others do not wait for it.
    async fn make(
        &mut self,
        recorder: &Recorder,
        portions: Vec<Portion>,
        tracks: &mut Vec<Track>,
    ) -> Result<Option<Made>, Error> {
        let (inner, at) = (recorder.shared(), Instant::now());
        let read = tokio::task::spawn_blocking(move || read_portions(&inner, portions)).await;
        let Read { writer, portions, failed } =
            read.map_err(|_| Error::Spool(io::Error::other("reading the logs died")))?;
        for (id, error) in failed {
            tracks.retain(|track| track.log.id() != id);
            // Its recording may have been published meanwhile.
            if error.kind() != io::ErrorKind::NotFound && self.unreadable.insert(id) {
                warn!(track = %id, %error, "a log cannot be read, so it is not shipped; trying again");
            }
        }
        if writer.is_empty() {
            // Their files are in the store already: only the positions move.
            portions.iter().for_each(|portion| commit(recorder.inner(), portion, at));
            return Ok(None);
        }
        let start = writer.len() as u64;
        let (bytes, index) = writer.finish();
        let tail = start..bytes.len() as u64;
        Ok(Some(Made {
            name: self.next_name(),
            bytes: bytes.into(),
            tail,
            owners: index.owners,
            portions,
            at,
        }))
    }

    fn next_name(&mut self) -> Name {
        self.number += 1;
        Name { epoch: self.tenure.map_or(0, |tenure| tenure.epoch), number: self.number }
    }

    /// Whether the bundle is in the store under its name; false where something else is.
    async fn put(&self, inner: &Inner, made: &Made) -> Result<bool, Error> {
        let key = made.name.key(inner.node.id)?;
        match inner.store.put(&key, ByteStream::from_bytes(made.bytes.clone())).await {
            // An earlier attempt, whose answer was lost; the index has the checksums of all there is.
            Err(StoreError::AlreadyExists { .. }) => {
                let size = made.bytes.len() as u64;
                let there = inner.store.head(&key).await?.is_some_and(|there| there.size == size);
                let tail = made.tail.clone();
                let expected = made.bytes.slice(tail.start as usize..tail.end as usize);
                Ok(there && read::read(&*inner.store, &key, tail).await? == expected)
            }
            Err(error) => Err(error.into()),
            Ok(_) => Ok(true),
        }
    }

    fn commit(&mut self, inner: &Inner, made: Made) {
        crash::point("bundle_put");
        self.ledger.note(made.name, made.owners);
        for portion in &made.portions {
            commit(inner, portion, made.at);
        }
        metrics::counter!("reeltime_bundles_total").increment(1);
        metrics::counter!("reeltime_bundle_bytes_total").increment(made.bytes.len() as u64);
        crash::point("shipped");
    }

    /// Deletes bundles that nobody needs any more, some in each round.
    async fn tidy(&mut self, inner: &Inner) -> Result<(), Error> {
        if finish(inner, &mut self.ledger).await? {
            self.doomed.extend(self.ledger.take_free());
        }
        delete(inner, inner.node.id, &mut self.doomed).await
    }
}

/// For how long what is synced has waited, at the worst of all tracks.
pub(super) fn lag(inner: &Inner) -> Duration {
    let since = tracks(inner).into_iter().filter_map(|track| track.log.waits_since());
    since.map(|since| since.elapsed()).max().unwrap_or_default()
}

/// Every track of a recording that is not published, but those that another node finishes.
fn tracks(inner: &Inner) -> Vec<Track> {
    let mut tracks = Vec::new();
    for recording in inner.registry.recordings() {
        if recording.is_anothers() {
            continue;
        }
        let owner = Owner { tenant: recording.tenant.clone(), recording: recording.id };
        tracks.extend(recording.tracks().into_iter().map(|log| Track { owner: owner.clone(), log }));
    }
    tracks
}

fn size(next: &Shippable) -> u64 {
    next.pieces.iter().map(|piece| piece.bytes.end - piece.bytes.start).sum()
}

/// Of what was planned by `at`.
fn commit(inner: &Inner, Portion { track, next }: &Portion, at: Instant) {
    let then = (!next.more).then_some(at);
    track.log.set_shipped(next.to, size(next), then, |payload| {
        inner.ship.payload.fetch_add(payload, Ordering::Release);
    });
}

struct Read {
    writer: Writer,
    portions: Vec<Portion>,
    failed: Vec<(TrackId, io::Error)>,
}

fn read_portions(inner: &Inner, portions: Vec<Portion>) -> Read {
    let mut done = Read { writer: Writer::default(), portions: Vec::new(), failed: Vec::new() };
    for portion in portions {
        let id = portion.track.log.id();
        let pieces = portion.next.pieces.iter().map(|piece| inner.spool.read_piece(id, piece));
        match pieces.collect::<io::Result<Vec<_>>>() {
            Ok(read) => {
                for (piece, bytes) in portion.next.pieces.iter().zip(read) {
                    let file = File { track: id, number: piece.number, kind: piece.kind };
                    done.writer.add(&portion.track.owner, file, piece.bytes.start, &bytes);
                }
                done.portions.push(portion);
            }
            Err(error) => done.failed.push((id, error)),
        }
    }
    done
}

/// Looks which recordings of a ledger are finished by now; whether any is.
pub(super) async fn finish(inner: &Inner, ledger: &mut Ledger) -> Result<bool, Error> {
    let live = |owner: &&Owner| inner.registry.recording(&owner.tenant, owner.recording).is_some();
    let gone: Vec<_> = ledger.unfinished().filter(|owner| !live(owner)).cloned().collect();
    let mut any = false;
    for owner in gone {
        let row = inner.catalogue.get(&owner.tenant, owner.recording).await?;
        if row.is_none_or(|row| row.state.is_final()) {
            ledger.finish(&owner);
            any = true;
        }
    }
    Ok(any)
}

/// Deletes some of the bundles that nobody needs any more; those that are still there stay in the list.
pub(super) async fn delete(inner: &Inner, node: NodeId, doomed: &mut Vec<Name>) -> Result<(), Error> {
    let some = doomed.split_off(doomed.len().saturating_sub(DELETED));
    let deleting = stream::iter(some).map(|name| {
        let store = Arc::clone(&inner.store);
        async move { (name, delete_one(store, node, name).await) }
    });
    let deleted: Vec<_> = deleting.buffer_unordered(DELETERS).collect().await;
    let mut failed = Ok(());
    for (name, result) in deleted {
        if let Err(error) = result {
            doomed.push(name);
            failed = Err(error);
        }
    }
    failed
}

async fn delete_one(store: Arc<dyn Store>, node: NodeId, name: Name) -> Result<(), Error> {
    Ok(store.delete(&name.key(node)?).await?)
}
