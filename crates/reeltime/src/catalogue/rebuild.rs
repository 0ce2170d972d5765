//! A catalogue out of the store alone: manifests tell of recordings, bundles of nodes that have not finished.

mod segments;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use reeltime_core::bundle::{self, Name};
use reeltime_core::id::{NodeId, RecordingId, TrackId};
use reeltime_core::keys::{KeyError, ObjectKey};
use reeltime_core::manifest::{self, Manifest};
use reeltime_core::time::{Micros, UtcMicros};

use super::{Catalogue, CatalogueError, NewObject, NewRecording, ObjectKind, Publication, StoredObject};
use crate::crash;
use crate::error::Error;
use crate::store::{ObjectMeta, Store, StoreError};

/// Where manifests lie.
pub(crate) const MANIFESTS: &str = "_reeltime/manifests/";
/// No manifest is longer: one names its tracks, gaps and segments.
const LONGEST: u64 = 64 << 20;
/// Characters of a recording's id, with which a manifest's name begins.
const ID: usize = 36;

/// A manifest of which no recording could be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// The manifest.
    pub key: ObjectKey,
    /// What is wrong with it, in words.
    pub why: String,
}

/// What was found in the store, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Recordings that were entered, or would be.
    pub entered: u64,
    /// Recordings that the catalogue has already.
    pub known: u64,
    /// Recordings that were deleted: they stay so.
    pub deleted: u64,
    /// Manifests of which nothing could be made.
    pub unusable: Vec<Unusable>,
    /// Nodes with bundles that were entered, or would be: the next start takes them over.
    pub nodes: u64,
}

/// One step.
enum Became {
    Entered,
    Known,
    Deleted,
}

/// Enters what the store has and the catalogue has not; doing it again changes nothing. `dry`: only looks. `progress` is
/// told how many manifests are done, and how many there are.
///
/// # Errors
/// Where the store cannot be read, or the catalogue not written. One manifest that makes no sense is no error.
pub async fn rebuild(
    catalogue: &dyn Catalogue,
    store: &dyn Store,
    dry: bool,
    progress: impl Fn(u64, u64),
) -> Result<Rebuilt, Error> {
    let mut rebuilt = Rebuilt::default();
    let mut manifests = store.list(MANIFESTS).await?;
    manifests.sort_by(|one, other| order(one).cmp(&order(other)));
    let total = manifests.len() as u64;
    for (done, meta) in (1..).zip(&manifests) {
        match recording(catalogue, store, meta, dry).await {
            Ok(Became::Entered) => rebuilt.entered += 1,
            Ok(Became::Known) => rebuilt.known += 1,
            Ok(Became::Deleted) => rebuilt.deleted += 1,
            Err(Failed::Unusable(why)) => rebuilt.unusable.push(Unusable { key: meta.key.clone(), why }),
            Err(Failed::Error(error)) => return Err(error),
        }
        progress(done, total);
    }
    rebuilt.nodes = nodes(catalogue, store, dry).await?;
    Ok(rebuilt)
}

/// Recordings as they began, so that each finds the one before it in its call. Of each the last manifest first: an earlier one
/// may be a lost node's that was never published.
fn order(manifest: &ObjectMeta) -> (&str, Reverse<&str>) {
    let name = manifest.key.as_str().strip_prefix(MANIFESTS).unwrap_or_default();
    (name.get(..ID).unwrap_or(name), Reverse(name))
}

enum Failed {
    Unusable(String),
    Error(Error),
}

impl From<CatalogueError> for Failed {
    fn from(error: CatalogueError) -> Self {
        let of_itself = matches!(
            error,
            CatalogueError::KeyTaken { .. }
                | CatalogueError::Conflict { .. }
                | CatalogueError::TakenOver { .. }
                | CatalogueError::Incomplete { .. }
        );
        if of_itself { Self::Unusable(error.to_string()) } else { Self::Error(error.into()) }
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Error(error.into())
    }
}

impl From<KeyError> for Failed {
    fn from(error: KeyError) -> Self {
        Self::Unusable(error.to_string())
    }
}

async fn recording(
    catalogue: &dyn Catalogue,
    store: &dyn Store,
    meta: &ObjectMeta,
    dry: bool,
) -> Result<Became, Failed> {
    let manifest = read(store, meta).await?;
    let known = catalogue.get(&manifest.tenant, manifest.id).await?;
    if known.is_some_and(|known| known.state.is_final()) {
        return Ok(Became::Known);
    }
    let objects = objects(store, meta, &manifest).await?;
    let (new, publication) = (new_recording(&manifest)?, publication(&manifest, &objects)?);
    if dry {
        return Ok(Became::Entered);
    }
    let told = manifest.segments.as_ref();
    // Of one that a rebuilding before this one had begun, the rows are there.
    let begun = match told {
        Some(told) if catalogue.segment_recording(&new.tenant, new.id).await?.is_none() => {
            segments::begin(catalogue, &new, told, time(&told.begun_at)?).await
        }
        _ => catalogue.begin(&new).await,
    };
    match begun {
        Err(CatalogueError::Deleted { .. }) => return Ok(Became::Deleted),
        begun => begun?,
    }
    if let Some(told) = told {
        segments::enter(catalogue, &new, told, publication.ended_at).await?;
        crash::point("segments_entered");
    }
    for found in objects {
        let object = NewObject {
            tenant: manifest.tenant.clone(),
            recording: manifest.id,
            track: found.track,
            kind: found.kind,
            key: found.stored.key,
            mime_type: found.mime,
            created_at: new.created_at,
        };
        catalogue.stage(&object).await?;
    }
    let _ = catalogue.publish(&publication).await?;
    Ok(Became::Entered)
}

async fn read(store: &dyn Store, meta: &ObjectMeta) -> Result<Manifest, Failed> {
    if meta.size > LONGEST {
        return Err(Failed::Unusable(format!("{} bytes are too many for a manifest", meta.size)));
    }
    let body = store.get(&meta.key, Some(0..meta.size)).await?;
    let failed = |source| StoreError::Body { key: meta.key.clone(), source };
    let chunks: Vec<_> = body.try_collect().await.map_err(failed)?;
    serde_json::from_slice(&chunks.concat())
        .map_err(|error| Failed::Unusable(format!("is no manifest: {error}")))
}

/// An object of a recording, with its size as the store has it.
struct Found {
    stored: StoredObject,
    track: Option<TrackId>,
    kind: ObjectKind,
    mime: String,
}

/// In the order in which they were published: tracks, renditions, the manifest.
async fn objects(store: &dyn Store, meta: &ObjectMeta, manifest: &Manifest) -> Result<Vec<Found>, Failed> {
    let mut found = Vec::new();
    for track in &manifest.tracks {
        if let Some(object) = &track.object {
            found.push(look(store, object, Some(track.id), ObjectKind::Master).await?);
        }
    }
    for rendition in &manifest.renditions {
        found.push(look(store, &rendition.object, None, ObjectKind::Rendition).await?);
    }
    let stored = StoredObject { key: meta.key.clone(), size: meta.size, crc32c: None };
    let mime = "application/json".to_owned();
    found.push(Found { stored, track: None, kind: ObjectKind::Manifest, mime });
    Ok(found)
}

async fn look(
    store: &dyn Store,
    object: &manifest::Object,
    track: Option<TrackId>,
    kind: ObjectKind,
) -> Result<Found, Failed> {
    let key = ObjectKey::new(object.key.clone())?;
    let there = store.head(&key).await?;
    let there =
        there.ok_or_else(|| Failed::Unusable(format!("{key}, which it names, is not in the store")))?;
    let stored = StoredObject { key, size: there.size, crc32c: None };
    Ok(Found { stored, track, kind, mime: object.mime.clone() })
}

fn new_recording(manifest: &Manifest) -> Result<NewRecording, Failed> {
    Ok(NewRecording {
        id: manifest.id,
        tenant: manifest.tenant.clone(),
        call: manifest.call_id.clone().unwrap_or_else(|| manifest.id.to_string()),
        created_at: created(manifest.id).map_or_else(|| time(&manifest.started_at), Ok)?,
    })
}

/// When an id was given, to the millisecond.
fn created(id: RecordingId) -> Option<UtcMicros> {
    let (seconds, nanos) = id.0.get_timestamp()?.to_unix();
    Some(UtcMicros(i64::try_from(seconds).ok()? * 1_000_000 + i64::from(nanos / 1_000)))
}

fn publication(manifest: &Manifest, objects: &[Found]) -> Result<Publication, Failed> {
    let first = |kind| objects.iter().find(|found| found.kind == kind).map(|found| found.stored.key.clone());
    let main = first(ObjectKind::Rendition).or_else(|| first(ObjectKind::Master));
    let started = time(&manifest.started_at)?;
    // A file that somebody has written may say anything.
    let seconds = manifest.duration_seconds.clamp(0.0, 1e9);
    let duration = Micros((seconds * 1e6).round() as u64);
    let names: std::collections::BTreeSet<_> =
        manifest.tracks.iter().map(|track| &track.participant).collect();
    let text = serde_json::to_string(manifest);
    Ok(Publication {
        tenant: manifest.tenant.clone(),
        recording: manifest.id,
        state: manifest.state,
        reason: None,
        started_at: Some(started),
        ended_at: started.plus(duration),
        duration,
        participants: u32::try_from(names.len()).unwrap_or(u32::MAX),
        manifest: text.map_err(|error| Failed::Unusable(error.to_string()))?,
        objects: objects.iter().map(|found| found.stored.clone()).collect(),
        url: main.is_some().then(|| format!("/api/v1/recordings/{}/stream", manifest.id)),
        main,
    })
}

fn time(text: &str) -> Result<UtcMicros, Failed> {
    let time: Result<jiff::Timestamp, _> = text.parse();
    let time = time.map_err(|_| Failed::Unusable(format!("{text:?} in it is no time")))?;
    Ok(UtcMicros(time.as_microsecond()))
}

/// Nodes that have bundles and are not known: without a lease, so the next to look takes them over.
async fn nodes(catalogue: &dyn Catalogue, store: &dyn Store, dry: bool) -> Result<u64, Error> {
    let mut newest: BTreeMap<NodeId, u64> = BTreeMap::new();
    for meta in store.list(bundle::PREFIX).await? {
        if let Some((node, Name { epoch, .. })) = Name::parse(meta.key.as_str()) {
            let known = newest.entry(node).or_default();
            *known = epoch.max(*known);
        }
    }
    let mut unknown = 0;
    for (node, epoch) in newest {
        let new = match dry {
            true => !catalogue.knows_node(node).await?,
            false => catalogue.enter_node(node, epoch).await?,
        };
        unknown += u64::from(new);
    }
    Ok(unknown)
}
