//! A node's life: its id, kept in the data folder, and its lease, kept in the catalogue.

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use reeltime_core::id::NodeId;
use reeltime_core::time::{Micros, UtcMicros};
use tracing::{error, warn};
use uuid::Uuid;

use crate::catalogue::{Catalogue, CatalogueError, Tenure};
use crate::recorder::{Clock, Inner, Recorder};

const FILE: &str = "node";

/// This process as a node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    lease: Duration,
    epoch: AtomicU64,
    after: AtomicU64,
}

impl Node {
    /// Begins on the data folder's node.
    pub(crate) async fn start(
        folder: &Path,
        lease: Duration,
        catalogue: &dyn Catalogue,
    ) -> Result<Self, crate::Error> {
        let id = id_of(folder).map_err(crate::Error::Node)?;
        let node = Self { id, lease, epoch: AtomicU64::new(0), after: AtomicU64::new(0) };
        node.begin(catalogue).await?;
        Ok(node)
    }

    async fn begin(&self, catalogue: &dyn Catalogue) -> Result<(), CatalogueError> {
        let tenure = catalogue.start_node(self.id, self.until()).await?;
        self.after.store(tenure.after, Ordering::Release);
        self.epoch.store(tenure.epoch, Ordering::Release);
        Ok(())
    }

    /// This process's epoch, and up to which one others have taken over.
    pub(crate) fn tenure(&self) -> Tenure {
        Tenure { epoch: self.epoch.load(Ordering::Acquire), after: self.after.load(Ordering::Acquire) }
    }

    fn until(&self) -> UtcMicros {
        Clock::utc().plus(Micros(self.lease.as_micros() as u64))
    }
}

/// The id in the data folder; made where there is none.
fn id_of(folder: &Path) -> io::Result<NodeId> {
    let path = folder.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let unreadable = |_| io::Error::other(format!("{} holds no node id: remove it", path.display()));
            return text.trim().parse().map_err(unreadable);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let id = NodeId(Uuid::now_v7());
    let part = folder.join("node.part");
    let mut file = std::fs::File::create(&part)?;
    writeln!(file, "{id}")?;
    file.sync_all()?;
    std::fs::rename(&part, &path)?;
    std::fs::File::open(folder)?.sync_all()?;
    Ok(id)
}

/// Renews the lease each third of its time, for as long as the recorder lives.
pub(crate) async fn keep(recorder: Weak<Inner>, lease: Duration) {
    let mut beat = tokio::time::interval(lease / 3);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let Some(inner) = recorder.upgrade() else { return };
        renew(&Recorder(inner)).await;
    }
}

async fn renew(recorder: &Recorder) {
    let (node, catalogue) = (&recorder.inner().node, &recorder.inner().catalogue);
    match catalogue.renew_node(node.id, node.tenure().epoch, node.until()).await {
        Ok(true) | Err(CatalogueError::Closed) => {}
        Ok(false) => lost(recorder).await,
        Err(error) => warn!(%error, "cannot renew this node's lease; it goes on recording, trying again"),
    }
}

/// Somebody took this node for dead. What they have taken over is theirs; everything else goes on under a new epoch.
async fn lost(recorder: &Recorder) {
    let inner = recorder.inner();
    error!(node = %inner.node.id, "this node's lease ran out and another has taken over; it goes on recording");
    metrics::counter!("reeltime_node_lost_leases_total").increment(1);
    if let Err(error) = inner.node.begin(&*inner.catalogue).await {
        warn!(%error, "cannot begin anew; trying again");
        return;
    }
    for recording in inner.registry.recordings() {
        let owner = inner.catalogue.owner(&recording.tenant, recording.id).await;
        if owner.is_ok_and(|owner| owner.is_some_and(|owner| owner != inner.node.id)) {
            warn!(recording = %recording.id, "another node finishes this recording; what it gets from here on stays in the spool");
            recording.leave_to_another();
        }
        recording.tracks().iter().for_each(|log| log.ship_again());
    }
}

/// For those who hold the recorder weakly.
pub(crate) fn start(recorder: &Arc<Inner>) {
    let lease = recorder.config.node_lease;
    tokio::spawn(keep(Arc::downgrade(recorder), lease));
    tokio::spawn(super::takeover::watch(Arc::downgrade(recorder), lease));
}
