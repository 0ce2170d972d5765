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

use async_trait::async_trait;
use reeltime_core::keys::ObjectKey;

pub mod folder;
mod mount;
mod stream;

pub use folder::FolderStore;
pub(crate) use folder::read_file;
pub use mount::MountedStore;
pub use stream::{ByteSender, ByteStream, CHUNK, StreamClosed};

/// What a store knows of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Its key.
    pub key: ObjectKey,
    /// Its length in bytes.
    pub size: u64,
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
}
