//! One file on its way: put, looked at, read back, and only then removed here.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::TryStreamExt;
use reeltime_core::keys::ObjectKey;

use super::{RecordingJob, UploadError};
use crate::store::{CHUNK, Store, StoreError, read_file};

/// Names that are tried before it is given up.
const NAMES: u32 = 1_000;

/// A file as it was when its upload began.
struct Local {
    path: PathBuf,
    file: Arc<File>,
    before: Metadata,
}

/// Brings a job's file into the store and removes it here; the key it has there.
pub(super) async fn transfer(
    store: &dyn Store,
    job: &RecordingJob,
    read_back: bool,
) -> Result<ObjectKey, UploadError> {
    let local = Local::open(&job.local_path).await?;
    for n in 1..=NAMES {
        let key = job.key.unique(n)?;
        let body = read_file(Arc::clone(&local.file), 0..local.before.len());
        let known = match store.put(&key, body).await {
            Ok(_) => false,
            // Perhaps ours: the answer to an earlier attempt was lost, or this process was.
            Err(StoreError::AlreadyExists { .. }) => true,
            Err(error) => return Err(error.into()),
        };
        match local.compare(store, &key, read_back || known).await {
            Err(UploadError::Differs { .. }) if known => {}
            compared => {
                compared?;
                local.remove().await?;
                return Ok(key);
            }
        }
    }
    Err(UploadError::NoFreeKey { key: job.key.clone() })
}

impl Local {
    async fn open(path: &Path) -> Result<Self, UploadError> {
        let path = path.to_owned();
        blocking("read", path.clone(), move || {
            let file = File::open(&path)?;
            let before = file.metadata()?;
            Ok(Self { path, file: Arc::new(file), before })
        })
        .await
    }

    /// Whether the store has these very bytes; where it does not let us read, whether it has as many.
    async fn compare(&self, store: &dyn Store, key: &ObjectKey, whole: bool) -> Result<(), UploadError> {
        let differs = |what| UploadError::Differs { key: key.clone(), what };
        let found = store.head(key).await?.ok_or_else(|| differs("what it says of it"))?;
        if found.size != self.before.len() {
            return Err(differs("the length"));
        }
        if !whole {
            return Ok(());
        }
        let there = match checksum_there(store, key).await {
            Err(StoreError::Refused { .. }) => return Ok(()),
            there => there?,
        };
        if there == self.checksum().await? { Ok(()) } else { Err(differs("the CRC32C")) }
    }

    async fn checksum(&self) -> Result<u32, UploadError> {
        let path = self.path.clone();
        blocking("read", path.clone(), move || {
            let (mut file, mut buffer, mut sum) = (File::open(path)?, vec![0; CHUNK], 0);
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok(sum),
                    read => sum = crc32c::crc32c_append(sum, buffer.get(..read).unwrap_or_default()),
                }
            }
        })
        .await
    }

    /// Removes the file, if it is still the one that was sent.
    async fn remove(self) -> Result<(), UploadError> {
        let (path, before) = (self.path.clone(), self.before);
        let same = blocking("look at", path.clone(), move || {
            let now = std::fs::metadata(&path)?;
            Ok(now.len() == before.len() && now.modified()? == before.modified()?)
        });
        if !same.await? {
            return Err(UploadError::Changed { path: self.path });
        }
        let path = self.path.clone();
        blocking("remove", self.path, move || std::fs::remove_file(path)).await
    }
}

async fn checksum_there(store: &dyn Store, key: &ObjectKey) -> Result<u32, StoreError> {
    let broken = |source: io::Error| StoreError::Unavailable {
        what: key.to_string(),
        why: format!("reading it back broke off: {source}"),
    };
    let mut chunks = store.get(key, None).await?;
    let mut sum = 0;
    while let Some(chunk) = chunks.try_next().await.map_err(broken)? {
        sum = crc32c::crc32c_append(sum, &chunk);
    }
    Ok(sum)
}

/// Runs `work` on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    verb: &'static str,
    path: PathBuf,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, UploadError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other).flatten();
    done.map_err(|source| UploadError::Local { verb, path, source })
}
