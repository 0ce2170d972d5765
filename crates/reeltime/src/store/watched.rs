//! A store whose health is known: when it last answered, what it last failed with, and how much went to and from it.

use std::error::Error;
use std::fmt::Display;
use std::future::ready;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use metrics::{CounterFn, counter, gauge};
use reeltime_core::keys::ObjectKey;
use reeltime_core::time::UtcMicros;

use super::throttled::parts_of;
use super::{ByteStream, ObjectMeta, PartStore, PartTag, Signed, Store, StoreError, UploadId};
use crate::recorder::Clock;
use crate::spans;

/// The store's health, as its users met it. Nothing is asked for its sake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// When it last answered.
    pub last_success: Option<UtcMicros>,
    /// When it last failed, and how, in words.
    pub last_failure: Option<(UtcMicros, String)>,
    /// Failures since it last answered.
    pub failures: u32,
    /// Since when it has not answered; `None` while it does.
    pub away_since: Option<UtcMicros>,
    /// For how long requests have waited without any answer, where that is longer than an answer takes.
    pub silent: Option<Duration>,
}

/// No answer takes longer, but those to what is large ([`is_quick`]).
const PATIENCE: Duration = Duration::from_secs(5);

/// What is under way, and since when nothing was heard meanwhile.
#[derive(Debug, Default)]
struct Silence {
    under_way: usize,
    since: Option<Instant>,
}

impl Silence {
    fn asked(&mut self, now: Instant) {
        self.under_way += 1;
        self.since.get_or_insert(now);
    }

    /// An answer came, or something of a body was taken.
    fn heard(&mut self, now: Instant) {
        self.since = (self.under_way > 0).then_some(now);
    }

    /// A request is over; whether it was answered is told by [`Self::heard`].
    fn over(&mut self) {
        self.under_way -= 1;
        if self.under_way == 0 {
            self.since = None;
        }
    }

    fn lasts(&self, now: Instant) -> Option<Duration> {
        let lasts = now.saturating_duration_since(self.since?);
        (lasts > PATIENCE).then_some(lasts)
    }
}

/// A request that is under way, also where nobody waits for it to its end.
struct Asking<'a>(&'a Listening);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.silence().over();
    }
}

#[derive(Debug, Default)]
struct Listening(Mutex<Silence>);

impl Listening {
    fn silence(&self) -> MutexGuard<'_, Silence> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asking(&self) -> Asking<'_> {
        self.silence().asked(Instant::now());
        Asking(self)
    }
}

/// What is taken of a body is a sign of life.
impl CounterFn for Listening {
    fn increment(&self, _: u64) {
        self.silence().heard(Instant::now());
    }

    fn absolute(&self, _: u64) {}
}

/// Whether an answer takes as long as an answer takes: a part is mebibytes over whatever line there is, and a store may put
/// a large object together for minutes.
fn is_quick(verb: &str) -> bool {
    !matches!(verb, "part" | "complete")
}

/// A store that keeps count. Metrics: `reeltime_store_requests_total{verb,outcome}`, `reeltime_store_bytes_total{verb}`,
/// `reeltime_store_up`.
#[derive(Debug)]
pub struct Watched {
    store: Arc<dyn Store>,
    health: Mutex<Health>,
    silence: Arc<Listening>,
}

impl Watched {
    /// Watches `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        gauge!("reeltime_store_up").set(1.0);
        Self { store, health: Mutex::default(), silence: Arc::default() }
    }

    /// Its health now.
    pub fn health(&self) -> Health {
        let silent = self.silence.silence().lasts(Instant::now());
        self.lock().clone().with(silent, Clock::utc())
    }

    /// A body on its way into the store.
    fn sent(&self, body: ByteStream) -> ByteStream {
        let heard: Arc<Listening> = Arc::clone(&self.silence);
        body.counted(bytes("put")).counted(metrics::Counter::from_arc(heard))
    }

    fn lock(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an answer, and takes note of it.
    async fn note<T>(
        &self,
        verb: &'static str,
        key: impl Display,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let asking = is_quick(verb).then(|| self.silence.asking());
        let answer = spans::store((verb, &key), asked).await;
        drop(asking);
        self.silence.silence().heard(Instant::now());
        let failed = answer.as_ref().err().filter(|error| is_the_stores(error));
        let outcome = match failed {
            None => "ok",
            Some(StoreError::Refused { .. }) => "refused",
            Some(_) => "failed",
        };
        counter!("reeltime_store_requests_total", "verb" => verb, "outcome" => outcome).increment(1);
        self.lock().note(failed.map(words), Clock::utc());
        gauge!("reeltime_store_up").set(if failed.is_none() { 1.0 } else { 0.0 });
        answer
    }
}

impl Health {
    /// Whether it answers, or was not asked yet.
    pub const fn is_up(&self) -> bool {
        self.away_since.is_none()
    }

    /// Who says nothing is away, also before a request is given up.
    fn with(mut self, silent: Option<Duration>, now: UtcMicros) -> Self {
        if let Some(silent) = silent {
            let micros = i64::try_from(silent.as_micros()).unwrap_or(i64::MAX);
            self.away_since.get_or_insert(UtcMicros(now.0.saturating_sub(micros)));
        }
        Self { silent, ..self }
    }

    fn note(&mut self, failure: Option<String>, now: UtcMicros) {
        match failure {
            None => {
                self.last_success = Some(now);
                self.failures = 0;
                self.away_since = None;
            }
            Some(words) => {
                self.last_failure = Some((now, words));
                self.failures = self.failures.saturating_add(1);
                self.away_since.get_or_insert(now);
            }
        }
    }
}

/// Whether an error says something of the store, rather than of what was asked.
const fn is_the_stores(error: &StoreError) -> bool {
    match error {
        StoreError::NotFound { .. } | StoreError::AlreadyExists { .. } | StoreError::Body { .. } => false,
        StoreError::NotAFolder { .. }
        | StoreError::Full { .. }
        | StoreError::Io { .. }
        | StoreError::Unavailable { .. }
        | StoreError::Refused { .. } => true,
    }
}

/// An error and what it came of, in one line.
fn words(error: &StoreError) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}

fn bytes(verb: &'static str) -> metrics::Counter {
    counter!("reeltime_store_bytes_total", "verb" => verb)
}

#[async_trait]
impl Store for Watched {
    async fn put(&self, key: &ObjectKey, body: ByteStream) -> Result<ObjectMeta, StoreError> {
        self.note("put", key, self.store.put(key, self.sent(body))).await
    }

    async fn put_free(&self, key: &ObjectKey, body: ByteStream) -> Result<ObjectMeta, StoreError> {
        self.note("put", key, self.store.put_free(key, self.sent(body))).await
    }

    async fn adopt(&self, key: &ObjectKey, file: &Path) -> Result<Option<ObjectMeta>, StoreError> {
        match self.store.adopt(key, file).await {
            // It was not asked.
            Ok(None) => Ok(None),
            answer => self.note("adopt", key, ready(answer)).await,
        }
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ByteStream, StoreError> {
        let body = self.note("get", key, self.store.get(key, range)).await?;
        Ok(body.counted(bytes("get")))
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        self.note("head", key, self.store.head(key)).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.note("delete", key, self.store.delete(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        self.note("list", prefix, self.store.list(prefix)).await
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

#[async_trait]
impl PartStore for Watched {
    async fn begin(&self, key: &ObjectKey) -> Result<UploadId, StoreError> {
        let (parts, inner) = parts_of(&*self.store, key)?;
        self.note("begin", key, parts.begin(&inner)).await
    }

    async fn put_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Bytes,
    ) -> Result<PartTag, StoreError> {
        let (parts, inner) = parts_of(&*self.store, key)?;
        bytes("part").increment(body.len() as u64);
        self.note("part", key, parts.put_part(&inner, upload, number, body)).await
    }

    async fn complete(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        tags: &[PartTag],
    ) -> Result<ObjectMeta, StoreError> {
        let (parts, inner) = parts_of(&*self.store, key)?;
        let meta = self.note("complete", key, parts.complete(&inner, upload, tags)).await?;
        Ok(ObjectMeta { key: key.clone(), ..meta })
    }

    async fn abort(&self, key: &ObjectKey, upload: &UploadId) -> Result<(), StoreError> {
        let (parts, inner) = parts_of(&*self.store, key)?;
        self.note("abort", key, parts.abort(&inner, upload)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_silent_where_something_was_asked_and_nothing_heard() {
        let (start, mut silence) = (Instant::now(), Silence::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(silence.lasts(at(60)), None, "it was not asked");
        silence.asked(at(60));
        silence.asked(at(63));
        assert_eq!(silence.lasts(at(65)), None, "an answer takes a while");
        assert_eq!(silence.lasts(at(66)), Some(Duration::from_secs(6)));
        silence.over();
        silence.heard(at(67));
        assert_eq!(silence.lasts(at(68)), None, "another request was answered");
        assert_eq!(silence.lasts(at(73)), Some(Duration::from_secs(6)));
        silence.over();
        silence.heard(at(74));
        assert_eq!(silence.lasts(at(99)), None, "nobody waits");
    }

    #[test]
    fn who_is_silent_is_away_since_then() {
        let now = UtcMicros(100_000_000);
        let told = Health::default().with(Some(Duration::from_secs(7)), now);
        assert_eq!((told.is_up(), told.away_since), (false, Some(UtcMicros(93_000_000))));
        let before = Health { away_since: Some(UtcMicros(5)), ..Health::default() };
        assert_eq!(before.with(Some(Duration::from_secs(7)), now).away_since, Some(UtcMicros(5)));
        assert!(Health::default().with(None, now).is_up());
    }
}
