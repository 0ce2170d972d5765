//! A store that takes no more bytes a second than it may.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use reeltime_core::keys::ObjectKey;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{ByteStream, ObjectMeta, PartStore, PartTag, Signed, Store, StoreError, UploadId};

/// What is asked for at once: so small that those who send side by side each get their share.
const PIECE: usize = 64 * 1024;
/// For how long nothing sent is saved up.
const BURST: Duration = Duration::from_millis(250);

/// A store whose uploads, whole or in parts, share so many bytes a second. Reading is not held back, and neither is a
/// file that the store takes without a copy. A part goes in one go, once its share is there.
#[derive(Debug)]
pub struct Throttled {
    store: Arc<dyn Store>,
    bandwidth: Bandwidth,
}

/// Bytes a second that may be sent, shared by all who hold a clone.
#[derive(Clone, Debug)]
pub(crate) struct Bandwidth(Arc<Bucket>);

impl Bandwidth {
    /// One at least.
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self(Arc::new(Bucket::new(bytes_per_second)))
    }

    /// Waits until all of this may go in one go.
    pub(crate) async fn take(&self, bytes: u64) {
        let mut left = bytes;
        while left > 0 {
            let piece = left.min(PIECE as u64);
            self.0.take(piece as usize).await;
            left -= piece;
        }
    }
}

impl Throttled {
    /// Holds the uploads to `store` back to `bytes_per_second`, of which one at least.
    pub fn new(store: Arc<dyn Store>, bytes_per_second: u64) -> Self {
        Self::sharing(store, Bandwidth::new(bytes_per_second))
    }

    /// Holds them back together with others.
    pub(crate) fn sharing(store: Arc<dyn Store>, bandwidth: Bandwidth) -> Self {
        Self { store, bandwidth }
    }

    fn held_back(&self, mut body: ByteStream) -> ByteStream {
        let (sender, slow) = ByteStream::channel(1);
        let bucket = Arc::clone(&self.bandwidth.0);
        // It ends with the body, or with whoever reads it.
        tokio::spawn(async move {
            while let Some(chunk) = body.next().await {
                let mut chunk = match chunk {
                    Ok(chunk) => chunk,
                    Err(error) => return sender.fail(error).await,
                };
                while !chunk.is_empty() {
                    let piece = chunk.split_to(chunk.len().min(PIECE));
                    bucket.take(piece.len()).await;
                    sender.send(piece).await?;
                }
            }
            sender.finish().await
        });
        slow
    }
}

/// Bytes that may be sent. Who asks first is served first (tokio's mutex is fair).
#[derive(Debug)]
struct Bucket {
    rate: f64,
    /// When everything granted so far will have been sent at the rate.
    paid_until: Mutex<Option<Instant>>,
}

impl Bucket {
    fn new(bytes_per_second: u64) -> Self {
        Self { rate: bytes_per_second.max(1) as f64, paid_until: Mutex::new(None) }
    }

    /// Waits until `bytes` may be sent.
    async fn take(&self, bytes: usize) {
        let mut paid_until = self.paid_until.lock().await;
        let (at, paid) = self.grant(*paid_until, bytes, Instant::now());
        *paid_until = Some(paid);
        // Held meanwhile: the next in line waits for its own and for this.
        tokio::time::sleep_until(at).await;
    }

    /// When these bytes may go, and until when the rate is spent then.
    fn grant(&self, paid_until: Option<Instant>, bytes: usize, now: Instant) -> (Instant, Instant) {
        let saved = now.checked_sub(BURST).unwrap_or(now);
        let from = paid_until.map_or(saved, |paid| paid.max(saved));
        let cost =
            Duration::try_from_secs_f64(bytes as f64 / self.rate).unwrap_or(Duration::from_secs(86_400));
        let paid = from + cost;
        (paid.max(now), paid)
    }
}

#[async_trait]
impl Store for Throttled {
    async fn put(&self, key: &ObjectKey, body: ByteStream) -> Result<ObjectMeta, StoreError> {
        self.store.put(key, self.held_back(body)).await
    }

    async fn put_free(&self, key: &ObjectKey, body: ByteStream) -> Result<ObjectMeta, StoreError> {
        self.store.put_free(key, self.held_back(body)).await
    }

    async fn adopt(&self, key: &ObjectKey, file: &Path) -> Result<Option<ObjectMeta>, StoreError> {
        self.store.adopt(key, file).await
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ByteStream, StoreError> {
        self.store.get(key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        self.store.head(key).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.store.delete(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        self.store.list(prefix).await
    }

    fn is_remote(&self) -> bool {
        self.store.is_remote()
    }

    async fn honours_conditions(&self, key: &ObjectKey) -> Result<Option<bool>, StoreError> {
        self.store.honours_conditions(key).await
    }

    fn place(&self) -> String {
        self.store.place()
    }

    fn parts(&self, key: &ObjectKey) -> Option<(&dyn PartStore, ObjectKey)> {
        self.store.parts(key).map(|_| (self as &dyn PartStore, key.clone()))
    }

    async fn sign(
        &self,
        what: Signed,
        key: &ObjectKey,
        valid: Duration,
    ) -> Result<Option<String>, StoreError> {
        self.store.sign(what, key, valid).await
    }
}

/// The parts of the store that has `key`, and its key there.
pub(super) fn parts_of<'a>(
    store: &'a dyn Store,
    key: &ObjectKey,
) -> Result<(&'a dyn PartStore, ObjectKey), StoreError> {
    let none = || StoreError::Refused {
        what: key.to_string(),
        why: "this store takes no uploads in parts".to_owned(),
    };
    store.parts(key).ok_or_else(none)
}

#[async_trait]
impl PartStore for Throttled {
    async fn begin(&self, key: &ObjectKey) -> Result<UploadId, StoreError> {
        let (parts, inner) = parts_of(&*self.store, key)?;
        parts.begin(&inner).await
    }

    async fn put_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Bytes,
    ) -> Result<PartTag, StoreError> {
        self.bandwidth.take(body.len() as u64).await;
        let (parts, inner) = parts_of(&*self.store, key)?;
        parts.put_part(&inner, upload, number, body).await
    }

    async fn complete(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        tags: &[PartTag],
    ) -> Result<ObjectMeta, StoreError> {
        let (parts, inner) = parts_of(&*self.store, key)?;
        let meta = parts.complete(&inner, upload, tags).await?;
        Ok(ObjectMeta { key: key.clone(), ..meta })
    }

    async fn abort(&self, key: &ObjectKey, upload: &UploadId) -> Result<(), StoreError> {
        let (parts, inner) = parts_of(&*self.store, key)?;
        parts.abort(&inner, upload).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_rate_is_granted_and_little_is_saved_up() {
        let bucket = Bucket::new(100_000);
        let start = Instant::now() + BURST;
        let (mut paid, mut at) = (None, start);
        for _ in 0..100 {
            let (granted, until) = bucket.grant(paid, 10_000, at);
            (paid, at) = (Some(until), granted);
        }
        // A million bytes at 100,000 a second, less what a quarter of a second of rest had saved.
        assert_eq!(at - start, Duration::from_millis(9_750));
        let rested = at + Duration::from_secs(3_600);
        let grants = [10_000, 10_000, 10_000].map(|bytes| {
            let (granted, until) = bucket.grant(paid, bytes, rested);
            paid = Some(until);
            granted - rested
        });
        assert_eq!(grants, [Duration::ZERO, Duration::ZERO, Duration::from_millis(50)]);
    }
}
