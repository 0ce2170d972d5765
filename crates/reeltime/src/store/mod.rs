//! Where the bytes of finished outputs lie: a small trait of our own, so that a folder and an object store
//! look the same to the rest.
//!
//! **A store never overwrites.** A key that exists is a typed error; the catalogue hands out keys that are
//! unique, and this is the second line. **Nothing is visible before it is complete**, and a body is never
//! held in memory: it flows through in chunks, with the queue between writer and store bounded.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reeltime_core::keys::ObjectKey;

pub mod check;
pub mod folder;
mod mime;
mod mount;
mod prefix;
pub mod s3;
mod stream;
mod throttled;
pub mod vercel;
mod watched;

pub use folder::FolderStore;
pub(crate) use folder::{read_file, read_path};
pub use mime::mime_of;
pub use mount::MountedStore;
pub use prefix::Prefix;
pub use s3::S3Store;
pub use stream::{ByteSender, ByteStream, CHUNK, StreamClosed};
pub(crate) use throttled::Bandwidth;
pub use throttled::Throttled;
pub use vercel::VercelStore;
pub use watched::{Health, Watched};

/// What a store knows of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Its key.
    pub key: ObjectKey,
    /// Its length in bytes.
    pub size: u64,
}

/// What a store calls an upload in parts that was begun and is neither completed nor aborted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UploadId(pub String);

/// What a store calls a part that it has taken (S3: the `ETag`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartTag(pub String);

/// Bytes of every part but the last: AWS wants at least this many, R2 wants all equal.
pub const PART: usize = 5 << 20;
/// Parts that an upload has at most.
pub const MOST_PARTS: u32 = 10_000;

/// Uploads in parts, which may take as long as a call and be gone on with by another process. Parts may be sent in any
/// order, side by side, and again: the last one sent under a number counts. Nothing is visible before [`Self::complete`].
#[async_trait]
pub trait PartStore: Send + Sync {
    /// Begins an upload to `key`.
    ///
    /// # Errors
    /// Where the store cannot be asked, or refuses.
    async fn begin(&self, key: &ObjectKey) -> Result<UploadId, StoreError>;

    /// Sends part `number`, counted from 1.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such upload any more.
    async fn put_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Bytes,
    ) -> Result<PartTag, StoreError>;

    /// Makes the object of parts 1 to `parts.len()`, each by its tag. Where the answer to an earlier call of this was
    /// lost, the object is there: [`Store::head`] tells.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such upload any more; from some stores,
    /// [`StoreError::AlreadyExists`] where the key is taken.
    async fn complete(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[PartTag],
    ) -> Result<ObjectMeta, StoreError>;

    /// Gives up an upload, and what it takes in the store. One that is not there is a success.
    ///
    /// # Errors
    /// Where it may still be there.
    async fn abort(&self, key: &ObjectKey, upload: &UploadId) -> Result<(), StoreError>;
}

/// What a signed address allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// To read the object.
    Get,
    /// To write it.
    Put,
}

/// A store of objects. Object safe; share it as `Arc<dyn Store>`.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Stores `body` under `key`. When it returns `Ok`, the object is complete, durable and visible; before,
    /// and after any error, nothing of it can be seen. A body whose writer went away before its end is an
    /// error, and so is never taken for a complete one.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] where the key is taken, even if it was free when the call began.
    async fn put(&self, key: &ObjectKey, body: ByteStream) -> Result<ObjectMeta, StoreError>;

    /// [`Self::put`], for a key of which [`Self::head`] has just said that it is free: a store that looks before it
    /// writes need not look again.
    ///
    /// # Errors
    /// As [`Self::put`].
    async fn put_free(&self, key: &ObjectKey, body: ByteStream) -> Result<ObjectMeta, StoreError> {
        self.put(key, body).await
    }

    /// Takes a finished file as the object `key` without copying it: as [`Self::put`], but `None`, with nothing done,
    /// where this store cannot (one that lies elsewhere, say). The file keeps its own name too, and must not be changed
    /// from here on.
    ///
    /// # Errors
    /// As [`Self::put`].
    async fn adopt(&self, key: &ObjectKey, file: &Path) -> Result<Option<ObjectMeta>, StoreError> {
        let _ = (key, file);
        Ok(None)
    }

    /// Reads an object, or the bytes of `range` in it: cut to the object's end, so it may yield fewer or none.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]. A failure later on comes as an item of the stream.
    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ByteStream, StoreError>;

    /// What the store knows of an object; `None` where there is none.
    ///
    /// # Errors
    /// Where the store could not be asked.
    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError>;

    /// Removes an object, durably. One that is not there is a success.
    ///
    /// # Errors
    /// Where it may still be there.
    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError>;

    /// Every object whose key begins with `prefix` (as text, so a slash has no meaning), sorted by key.
    ///
    /// # Errors
    /// Where the store could not be read to the end.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError>;

    /// Whether it lies elsewhere: losing this machine does not lose it, and it may be away while this machine is not.
    fn is_remote(&self) -> bool {
        false
    }

    /// Tries to write over the object `key`, which is there, on the condition that it is not: whether the store refuses,
    /// as it should. `None` where there is nothing to try. The object may be empty afterwards.
    ///
    /// # Errors
    /// Where the store cannot be asked.
    async fn honours_conditions(&self, key: &ObjectKey) -> Result<Option<bool>, StoreError> {
        let _ = key;
        Ok(None)
    }

    /// Where it lies, for people: a URL without anything secret, whose scheme is the kind of store.
    fn place(&self) -> String {
        "unknown:".to_owned()
    }

    /// Uploads in parts, where the store that has `key` takes them. With it comes the key in that store.
    fn parts(&self, key: &ObjectKey) -> Option<(&dyn PartStore, ObjectKey)> {
        let _ = key;
        None
    }

    /// An address with which whoever has it may read or write the object until `valid` has passed; `None` where the
    /// store cannot sign one.
    ///
    /// # Errors
    /// Where it should have been able to.
    async fn sign(
        &self,
        what: Signed,
        key: &ObjectKey,
        valid: Duration,
    ) -> Result<Option<String>, StoreError> {
        let _ = (what, key, valid);
        Ok(None)
    }
}

/// What can go wrong in a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No object has this key.
    #[error("the store has no object {key}")]
    NotFound {
        /// The key asked for.
        key: ObjectKey,
    },
    /// An object has this key already; it was left as it is.
    #[error("the store already has an object {key}; nothing is ever overwritten")]
    AlreadyExists {
        /// The key that is taken.
        key: ObjectKey,
    },
    /// The body of an object ended with an error, so nothing was stored.
    #[error("what was to be stored as {key} failed before its end")]
    Body {
        /// The key it was meant for.
        key: ObjectKey,
        /// What its writer met.
        source: io::Error,
    },
    /// The way to an object leads over a symbolic link, or over a file that stands where a folder should.
    #[error("{path} is a symbolic link or not a folder: a store follows no links, remove it")]
    NotAFolder {
        /// What is in the way.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("no space is left for {path}: free some or give the store another disk")]
    Full {
        /// What was being written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or folder could not be read or written.
    #[error("the store cannot {verb} {path}")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store could not be reached, or could not answer now: the same may work later.
    #[error("the store cannot be asked about {what} now: {why}")]
    Unavailable {
        /// What was asked for: a key, or the beginning of keys.
        what: String,
        /// What happened, in words.
        why: String,
    },
    /// The store said no, and will until somebody changes something.
    #[error("the store refuses {what}: {why}")]
    Refused {
        /// What was asked for: a key, or the beginning of keys.
        what: String,
        /// What is wrong and what to do, in words.
        why: String,
    },
}

impl StoreError {
    /// Whether the same may work later without anybody doing anything: an outage, a full disk, a slow answer.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Full { .. } | Self::Io { .. } | Self::Body { .. })
    }
}
