//! Taking over from a node whose lease has run out: its bundles become logs in our spool, and the ordinary recovery
//! does the rest. Once every recording in them is finished, by whomever, the bundles go.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use reeltime_core::bundle::{Index, Name, Owner};
use reeltime_core::id::TrackId;
use tracing::{debug, info, warn};

use super::ledger::Ledger;
use super::read::{self, Stored};
use super::round::{delete, finish};
use crate::catalogue::{CatalogueError, Claim, Upload};
use crate::crash;
use crate::error::Error;
use crate::parts::Uploads;
use crate::recorder::{Clock, Inner, Recorder};
use crate::spool::{Disk, Restore, recover_some};

/// Looked for this often at least, and within each third of a lease.
const LOOK: Duration = Duration::from_secs(5);
/// Bundles that are fetched ahead.
const AHEAD: usize = 2;

/// What is left to do for a claim.
#[derive(Debug, Default)]
struct Taken {
    ledger: Ledger,
    doomed: Vec<Name>,
    /// There were bundles.
    any: bool,
}

/// Looks for lost nodes for as long as the recorder lives.
pub(super) async fn watch(recorder: Weak<Inner>, lease: Duration) {
    let mut taken = HashMap::new();
    let beat = LOOK.min(lease / 3);
    loop {
        let Some(inner) = recorder.upgrade() else { return };
        match look(&Recorder(inner), &mut taken).await {
            Ok(()) | Err(Error::Catalogue(CatalogueError::Closed)) => {}
            Err(error) => warn!(%error, "cannot take over from lost nodes now; trying again"),
        }
        // Several nodes should not all look at the same moment.
        tokio::time::sleep(beat.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
    }
}

async fn look(recorder: &Recorder, taken: &mut HashMap<Claim, Taken>) -> Result<(), Error> {
    let inner = recorder.inner();
    let claims = inner.catalogue.claim(inner.node.id, Clock::utc()).await?;
    let new: Vec<_> = claims.into_iter().filter(|claim| !taken.contains_key(claim)).collect();
    if !new.is_empty() {
        crash::point("takeover_claimed");
        taken.extend(take(recorder, new).await?);
    }
    let mut settled = Vec::new();
    for (claim, left) in &mut *taken {
        let claim = *claim;
        finish(inner, &mut left.ledger).await?;
        left.doomed.extend(left.ledger.take_free());
        delete(inner, claim.node, &mut left.doomed).await?;
        if left.doomed.is_empty() && left.ledger.len() == 0 {
            let lost = left.any.then(Clock::utc);
            inner.catalogue.settle(claim, lost).await?;
            settled.push(claim);
        }
    }
    taken.retain(|claim, _| !settled.contains(claim));
    Ok(())
}

/// Takes over what is in the bundles of these claims, all of it or nothing.
async fn take(recorder: &Recorder, claims: Vec<Claim>) -> Result<Vec<(Claim, Taken)>, Error> {
    let inner = recorder.inner();
    let (mut all, mut bundles) = (Vec::new(), Vec::new());
    let mut owners = HashSet::new();
    for claim in claims {
        let stored = read::list(&*inner.store, claim.node, claim.tenure).await?;
        let indexes = read::indexes(&inner.store, &stored).await?;
        owners.extend(indexes.iter().flat_map(|(_, index)| index.owners.iter().cloned()));
        all.push((claim, entered(&stored, indexes)));
        bundles.extend(stored);
    }
    let ours = ours(inner, owners).await?;
    crash::point("takeover_taken");
    if ours.is_empty() {
        return Ok(all);
    }
    info!(bundles = bundles.len(), recordings = ours.len(), "taking over from lost nodes");
    // Before anything is recovered: what is begun from then on is ours.
    let begun = begun_uploads(inner, &ours).await?;
    let tracks = restore(recorder, &bundles, &ours).await?;
    crash::point("takeover_written");
    recover(recorder, tracks).await?;
    tokio::spawn(give_up(Arc::clone(&inner.uploads), begun));
    metrics::counter!("reeltime_taken_over_recordings_total").increment(ours.len() as u64);
    Ok(all)
}

fn entered(stored: &[Stored], indexes: Vec<(Name, Index)>) -> Taken {
    let mut taken = Taken { any: !stored.is_empty(), ..Taken::default() };
    // Those that cannot be read hold nothing that is of use.
    stored.iter().for_each(|one| taken.ledger.note(one.name, []));
    indexes.into_iter().for_each(|(name, index)| taken.ledger.note(name, index.owners));
    taken
}

/// The recordings that are ours to finish from here on.
async fn ours(inner: &Inner, owners: HashSet<Owner>) -> Result<HashSet<Owner>, Error> {
    let mut ours = HashSet::new();
    for owner in owners {
        let (tenant, id, node) = (&owner.tenant, owner.recording, inner.node.id);
        // One that is here already was taken over by an earlier process.
        if inner.registry.recording(tenant, id).is_none()
            && inner.catalogue.take_recording(tenant, id, node, Clock::utc()).await?
        {
            ours.insert(owner);
        }
    }
    Ok(ours)
}

/// What the lost nodes were sending in parts of these recordings.
async fn begun_uploads(inner: &Inner, ours: &HashSet<Owner>) -> Result<Vec<Upload>, Error> {
    let mut begun = Vec::new();
    for tenant in ours.iter().map(|owner| &owner.tenant).collect::<HashSet<_>>() {
        begun.extend(inner.catalogue.uploads(tenant).await?);
    }
    let is_ours = |upload: &Upload| {
        ours.contains(&Owner { tenant: upload.tenant.clone(), recording: upload.recording })
    };
    begun.retain(is_ours);
    Ok(begun)
}

/// Nobody goes on with them: their keys are not used again, and who lost them may still be sending. What cannot be
/// given up now, the sweep gives up once the recording is published.
async fn give_up(uploads: Arc<Uploads>, begun: Vec<Upload>) {
    for upload in begun {
        if let Err(error) = uploads.abort(&upload).await {
            debug!(%error, key = %upload.key, "cannot give up an upload of a lost node now");
        }
    }
}

/// Writes what the bundles hold of these recordings into the spool; the tracks.
async fn restore(
    recorder: &Recorder,
    bundles: &[Stored],
    ours: &HashSet<Owner>,
) -> Result<std::collections::BTreeSet<TrackId>, Error> {
    let inner = recorder.inner();
    let disk = Arc::clone(inner.spool.disk());
    let mut restore = blocking(move || Restore::begin(disk)).await?;
    let store = &inner.store;
    let fetching = stream::iter(bundles.to_vec()).map(|one| read::whole(Arc::clone(store), one));
    let mut fetched = fetching.buffered(AHEAD);
    while let Some(whole) = fetched.try_next().await? {
        let Some((key, mut index, bytes)) = whole else { continue };
        let wanted: Vec<_> = index.owners.iter().map(|owner| ours.contains(owner)).collect();
        index.ranges.retain(|range| wanted.get(range.owner as usize) == Some(&true));
        restore = blocking(move || {
            for range in &index.ranges {
                match index.bytes(range, &bytes) {
                    Ok(bytes) => restore.write(range.file, range.offset, bytes)?,
                    Err(error) => read::spoiled(&key, &error),
                }
            }
            Ok(restore)
        })
        .await?;
    }
    blocking(move || restore.finish()).await
}

/// The ordinary recovery, of these tracks.
async fn recover(recorder: &Recorder, tracks: std::collections::BTreeSet<TrackId>) -> Result<(), Error> {
    let disk: Arc<dyn Disk> = Arc::clone(recorder.inner().spool.disk());
    let found = blocking(move || recover_some(&*disk, 2, |track| tracks.contains(&track))).await?;
    for (track, cause) in &found.unreadable {
        warn!(%track, error = %cause, "a log that was taken over cannot be read; it is left as it is");
    }
    let mut recordings = BTreeMap::new();
    for track in found.tracks {
        recordings.entry(track.header.recording).or_insert_with(Vec::new).push(track);
    }
    for (id, tracks) in recordings {
        recorder.take_up(id, tracks, true).await;
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    crate::blocking::blocking(work).await.map_err(Error::Spool)
}
