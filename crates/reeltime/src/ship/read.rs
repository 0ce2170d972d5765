//! Bundles out of the store.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use reeltime_core::bundle::{self, BundleError, Index, Name};
use reeltime_core::id::NodeId;
use reeltime_core::keys::ObjectKey;
use tracing::error;

use crate::catalogue::Tenure;
use crate::store::{ObjectMeta, Store, StoreError};

/// Indexes that are read at the same time.
const READERS: usize = 8;
/// Bytes of a bundle's end that hold the index of most.
const TAIL: u64 = 64 << 10;
/// No bundle is larger.
const LARGEST: u64 = 64 << 20;

/// A bundle in the store.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) name: Name,
    pub(super) meta: ObjectMeta,
}

/// The bundles of a node's epochs, in the order in which they were made.
pub(super) async fn list(store: &dyn Store, node: NodeId, tenure: Tenure) -> Result<Vec<Stored>, StoreError> {
    let found = store.list(&bundle::prefix(node)).await?.into_iter();
    let named = found.filter_map(|meta| Some(Stored { name: Name::parse(meta.key.as_str())?.1, meta }));
    let mut stored: Vec<_> =
        named.filter(|one| one.name.epoch > tenure.after && one.name.epoch <= tenure.epoch).collect();
    stored.sort_by_key(|one| one.name);
    Ok(stored)
}

/// The indexes of bundles, in the same order. One that cannot be read is left out, and told.
///
/// # Errors
/// Where the store cannot be read.
pub(super) async fn indexes(
    store: &Arc<dyn Store>,
    bundles: &[Stored],
) -> Result<Vec<(Name, Index)>, StoreError> {
    let reading = stream::iter(bundles.to_vec()).map(|one| index(Arc::clone(store), one)).buffered(READERS);
    let indexes: Vec<_> = reading.try_collect().await?;
    Ok(indexes.into_iter().flatten().collect())
}

async fn index(store: Arc<dyn Store>, one: Stored) -> Result<Option<(Name, Index)>, StoreError> {
    let (key, size) = (&one.meta.key, one.meta.size);
    let mut read = Index::read(&tail(&*store, key, size, TAIL).await?, size);
    if let Err(BundleError::Tail { need }) = read {
        read = Index::read(&tail(&*store, key, size, need as u64).await?, size);
    }
    Ok(read.map_err(|error| spoiled(key, &error)).ok().map(|index| (one.name, index)))
}

async fn tail(store: &dyn Store, key: &ObjectKey, size: u64, length: u64) -> Result<Vec<u8>, StoreError> {
    read(store, key, size.saturating_sub(length)..size).await
}

/// A whole bundle with its index; nothing where it is none, which is told.
///
/// # Errors
/// Where the store cannot be read.
pub(super) async fn whole(
    store: Arc<dyn Store>,
    one: Stored,
) -> Result<Option<(ObjectKey, Index, Vec<u8>)>, StoreError> {
    let bytes = read(&*store, &one.meta.key, 0..one.meta.size.min(LARGEST)).await?;
    let index = Index::read(&bytes, one.meta.size).map_err(|error| spoiled(&one.meta.key, &error));
    Ok(index.ok().map(|index| (one.meta.key, index, bytes)))
}

/// Bytes of an object.
pub(super) async fn read(
    store: &dyn Store,
    key: &ObjectKey,
    range: std::ops::Range<u64>,
) -> Result<Vec<u8>, StoreError> {
    let failed = |source| StoreError::Body { key: key.clone(), source };
    let most = usize::try_from(range.end - range.start).unwrap_or(0);
    let mut bytes = Vec::new();
    let mut body = store.get(key, Some(range)).await?;
    while let Some(chunk) = body.try_next().await.map_err(failed)? {
        let room = most.saturating_sub(bytes.len()).min(chunk.len());
        bytes.extend_from_slice(&chunk[..room]);
    }
    Ok(bytes)
}

/// What is spoiled costs what it held.
pub(super) fn spoiled(key: &ObjectKey, cause: &BundleError) {
    error!(bundle = %key, error = %cause, "a bundle, or a part of it, cannot be used");
    metrics::counter!("reeltime_bundles_spoiled_total").increment(1);
}
