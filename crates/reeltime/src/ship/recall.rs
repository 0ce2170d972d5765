//! After a restart: what this node's earlier bundles hold, so that it is not shipped again, and goes in the end.

use std::collections::HashMap;
use std::sync::Arc;

use reeltime_core::bundle::{File, Name, Owner};

use super::ledger::Ledger;
use super::read;
use crate::catalogue::Tenure;
use crate::recorder::Inner;
use crate::store::StoreError;

/// What is in the store already.
#[derive(Debug, Default)]
pub(super) struct Recalled {
    pub(super) bundles: Vec<(Name, Vec<Owner>)>,
    /// Bytes of each file, from its beginning, without a hole.
    pub(super) held: HashMap<File, u64>,
}

/// Reads the ends of the bundles of this node's earlier epochs.
pub(super) async fn recall(inner: Arc<Inner>, tenure: Tenure) -> Result<Recalled, StoreError> {
    let earlier = Tenure { epoch: tenure.epoch.saturating_sub(1), after: tenure.after };
    let stored = read::list(&*inner.store, inner.node.id, earlier).await?;
    let mut recalled = Recalled::default();
    for (name, index) in read::indexes(&inner.store, &stored).await? {
        for range in &index.ranges {
            let held = recalled.held.entry(range.file).or_default();
            if range.offset <= *held {
                *held = range.end().max(*held);
            }
        }
        recalled.bundles.push((name, index.owners));
    }
    // One whose index cannot be read holds nothing that can be used.
    let known = recalled.bundles.len();
    let read: std::collections::HashSet<_> = recalled.bundles.iter().map(|(name, _)| *name).collect();
    recalled
        .bundles
        .extend(stored.into_iter().filter(|one| !read.contains(&one.name)).map(|one| (one.name, Vec::new())));
    if !recalled.bundles.is_empty() {
        tracing::info!(bundles = known, "bundles of this node's earlier life are in the store");
    }
    Ok(recalled)
}

impl Recalled {
    pub(super) fn enter(&self, ledger: &mut Ledger) {
        for (name, owners) in &self.bundles {
            ledger.note(*name, owners.iter().cloned());
        }
    }
}
