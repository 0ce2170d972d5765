//! The library's error: one variant for each part that can fail, so that a caller can match on it.

use std::io;

use reeltime_core::keys::KeyError;

use crate::catalogue::CatalogueError;
use crate::spool::{ChainError, LockError};
use crate::store::StoreError;

/// What can go wrong in the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data folder cannot be had.
    #[error(transparent)]
    Folder(#[from] LockError),
    /// The spool's folder or threads failed.
    #[error("the spool failed: {0}")]
    Spool(#[source] io::Error),
    /// The node's id in the data folder cannot be read or written.
    #[error("the data folder's node id failed: {0}")]
    Node(#[source] io::Error),
    /// A track's log cannot be read.
    #[error(transparent)]
    Log(#[from] ChainError),
    /// No more files are made on demand at the same time.
    #[error("as many files as may be, {limit}, are being made at this moment: ask again in a few seconds")]
    Busy {
        /// How many may be made.
        limit: usize,
    },
    /// A key template gave no key.
    #[error(transparent)]
    Key(#[from] KeyError),
}
