//! A store that lies elsewhere, in memory: it takes uploads in parts, and is away or loses its answers on purpose.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use reeltime::store::{ByteStream, ObjectMeta, PartStore, PartTag, Store, StoreError, UploadId};
use reeltime_core::keys::ObjectKey;

/// What the next call that changes something meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done, and the store is said to be away.
    Away,
    /// It is done, and the answer is lost.
    ReplyLost,
    /// It is done, the answer is lost, and the store is away from then on.
    Lost,
    /// Nothing is done: the store refuses for good.
    Refused,
}

#[derive(Debug, Default)]
struct Upload {
    key: String,
    parts: BTreeMap<u32, Bytes>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Bytes>,
    uploads: BTreeMap<String, Upload>,
    begun: u64,
    away: bool,
    hangs: bool,
    faults: std::collections::VecDeque<Option<Fault>>,
    /// Calls that changed something, by what they did and on which key.
    calls: Vec<String>,
    /// What was listed.
    listed: Vec<String>,
    keeps: bool,
    completes_once: bool,
}

/// The store. Clones of the `Arc` around it are one store.
#[derive(Debug, Default)]
pub struct RemoteStore(Mutex<State>);

impl RemoteStore {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether every call fails from now on, as if the store could not be reached.
    pub fn set_away(&self, away: bool) {
        self.lock().away = away;
    }

    /// Whether what is put gets no answer from now on; it is done once this is over.
    pub fn set_hangs(&self, hangs: bool) {
        self.lock().hangs = hangs;
    }

    /// The next calls that change something meet these, in order, one each.
    pub fn meet(&self, faults: impl IntoIterator<Item = Fault>) {
        self.lock().faults.extend(faults.into_iter().map(Some));
    }

    /// `calls` calls that change something go well, and the one after them meets this.
    pub fn meet_after(&self, calls: usize, fault: Fault) {
        self.lock().faults.extend(std::iter::repeat_n(None, calls).chain([Some(fault)]));
    }

    /// Whether nothing may be deleted from now on.
    pub fn set_keeps(&self, keeps: bool) {
        self.lock().keeps = keeps;
    }

    /// From now on, whoever completes an upload to a key that is taken is told that it is, as by Vercel Blob.
    pub fn complete_once(&self) {
        self.lock().completes_once = true;
    }

    /// The beginnings of keys that were listed.
    pub fn listed(&self) -> Vec<String> {
        self.lock().listed.clone()
    }

    /// The calls that changed something, as `verb key`.
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// Uploads that were begun and are neither completed nor aborted.
    pub fn open_uploads(&self) -> Vec<UploadId> {
        self.lock().uploads.keys().cloned().map(UploadId).collect()
    }

    fn read<T>(&self, what: &str, work: impl FnOnce(&State) -> T) -> Result<T, StoreError> {
        let state = self.lock();
        if state.away { Err(away(what)) } else { Ok(work(&state)) }
    }

    fn change<T>(
        &self,
        verb: &str,
        what: &str,
        work: impl FnOnce(&mut State) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut state = self.lock();
        let fault = if state.away { Some(Fault::Away) } else { state.faults.pop_front().flatten() };
        match fault {
            Some(Fault::Away) => return Err(away(what)),
            Some(Fault::Refused) => {
                let why = "told to refuse".to_owned();
                return Err(StoreError::Refused { what: what.to_owned(), why });
            }
            Some(Fault::Lost) => state.away = true,
            Some(Fault::ReplyLost) | None => {}
        }
        state.calls.push(format!("{verb} {what}"));
        let done = work(&mut state)?;
        if fault.is_some() { Err(away(what)) } else { Ok(done) }
    }
}

fn away(what: &str) -> StoreError {
    StoreError::Unavailable { what: what.to_owned(), why: "told to be away".to_owned() }
}

fn meta(key: &ObjectKey, bytes: &Bytes) -> ObjectMeta {
    ObjectMeta { key: key.clone(), size: bytes.len() as u64 }
}

#[async_trait]
impl Store for RemoteStore {
    async fn put(&self, key: &ObjectKey, body: ByteStream) -> Result<ObjectMeta, StoreError> {
        let chunks: Result<Vec<Bytes>, _> = body.try_collect().await;
        let chunks = chunks.map_err(|source| StoreError::Body { key: key.clone(), source })?;
        let bytes = Bytes::from(chunks.concat());
        while self.lock().hangs {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        self.change("put", key.as_str(), |state| {
            if state.objects.contains_key(key.as_str()) {
                return Err(StoreError::AlreadyExists { key: key.clone() });
            }
            let meta = meta(key, &bytes);
            state.objects.insert(key.as_str().to_owned(), bytes);
            Ok(meta)
        })
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ByteStream, StoreError> {
        let bytes = self.read(key.as_str(), |state| state.objects.get(key.as_str()).cloned())?;
        let bytes = bytes.ok_or_else(|| StoreError::NotFound { key: key.clone() })?;
        let size = bytes.len() as u64;
        let range = range.map_or(0..size, |range| range.start.min(size)..range.end.min(size));
        let range = range.start as usize..range.end.max(range.start) as usize;
        Ok(ByteStream::from_bytes(bytes.slice(range)))
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        self.read(key.as_str(), |state| state.objects.get(key.as_str()).map(|bytes| meta(key, bytes)))
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.change("delete", key.as_str(), |state| {
            if state.keeps {
                let why = "nothing may be deleted".to_owned();
                return Err(StoreError::Refused { what: key.to_string(), why });
            }
            state.objects.remove(key.as_str());
            Ok(())
        })
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        self.lock().listed.push(prefix.to_owned());
        self.read(prefix, |state| {
            let found = state.objects.iter().filter(|(key, _)| key.starts_with(prefix));
            found.filter_map(|(key, bytes)| Some(meta(&ObjectKey::new(key.clone()).ok()?, bytes))).collect()
        })
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn place(&self) -> String {
        "memory://remote".to_owned()
    }

    fn parts(&self, key: &ObjectKey) -> Option<(&dyn PartStore, ObjectKey)> {
        Some((self, key.clone()))
    }
}

fn no_upload(key: &ObjectKey) -> StoreError {
    StoreError::NotFound { key: key.clone() }
}

#[async_trait]
impl PartStore for RemoteStore {
    async fn begin(&self, key: &ObjectKey) -> Result<UploadId, StoreError> {
        self.change("begin", key.as_str(), |state| {
            state.begun += 1;
            let id = format!("upload-{}", state.begun);
            let upload = Upload { key: key.as_str().to_owned(), ..Upload::default() };
            state.uploads.insert(id.clone(), upload);
            Ok(UploadId(id))
        })
    }

    async fn put_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Bytes,
    ) -> Result<PartTag, StoreError> {
        self.change(&format!("part {number}"), key.as_str(), |state| {
            let upload = state.uploads.get_mut(&upload.0).filter(|upload| upload.key == key.as_str());
            let tag = PartTag(format!(
                "{number}-{}-{}",
                body.len(),
                body.iter().map(|&b| u64::from(b)).sum::<u64>()
            ));
            upload.ok_or_else(|| no_upload(key))?.parts.insert(number, body);
            Ok(tag)
        })
    }

    async fn complete(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[PartTag],
    ) -> Result<ObjectMeta, StoreError> {
        self.change("complete", key.as_str(), |state| {
            if state.completes_once && state.objects.contains_key(key.as_str()) {
                return Err(StoreError::AlreadyExists { key: key.clone() });
            }
            let found = state.uploads.remove(&upload.0).ok_or_else(|| no_upload(key))?;
            let numbers = (1..).take(parts.len());
            let chunks: Option<Vec<Bytes>> =
                numbers.map(|number| found.parts.get(&number).cloned()).collect();
            let bytes = Bytes::from(chunks.ok_or_else(|| no_upload(key))?.concat());
            let meta = meta(key, &bytes);
            state.objects.insert(key.as_str().to_owned(), bytes);
            Ok(meta)
        })
    }

    async fn abort(&self, key: &ObjectKey, upload: &UploadId) -> Result<(), StoreError> {
        self.change("abort", key.as_str(), |state| {
            state.uploads.remove(&upload.0);
            Ok(())
        })
    }
}
