//! A folder as a store.
//!
//! # What a crash leaves
//!
//! A body is written to a file in `.tmp` at the root, synced, then renamed to its key without replacing
//! anything, then the key's folder is synced; only then does [`put`](Store::put) return. So at any instant
//! an object is either absent or complete:
//!
//! | crash | leaves |
//! |---|---|
//! | while the body is written, or before the rename | a file in `.tmp`, swept when the store is opened next |
//! | after the rename (or the link, of a file that is adopted), before `put` returns | a complete object nobody was told of (after a loss of power, perhaps nothing); the catalogue has its row as staged and the sweeper takes it |
//! | after `put` returned | the object |
//!
//! Each folder on the way to a key is synced too, whether it was made just now or not: a process that was
//! killed may have left it unsynced.
//!
//! # What it never does
//!
//! It never leaves its folder: every component of a key is opened from the one above without following links
//! (`tree.rs`), and a link in the way is an error. It never blocks an async thread: a `put` runs on one
//! blocking thread from its first byte to its last, a `get` borrows one for each chunk, so that a slow
//! reader holds none.
//!
//! A folder is not an object store in one way: the keys `a` and `a/b` exclude each other. Folders that
//! became empty stay. One process at a time may have a folder open, since opening sweeps `.tmp`.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use reeltime_core::keys::ObjectKey;
use tokio::task::spawn_blocking;

use super::{ByteSender, ByteStream, ObjectMeta, Store, StoreError};
use crate::blocking;
use tree::Tree;

mod together;
mod tree;

/// Chunks read ahead of whoever reads an object.
const READ_AHEAD: usize = 2;
/// Bytes of a file that are read at once: a mix of many tracks holds four such of each.
const PIECE: u64 = 64 * 1024;

/// A store in a folder; see the [module](self) for what a crash leaves.
#[derive(Clone)]
pub struct FolderStore {
    tree: Arc<Tree>,
}

impl FolderStore {
    /// Opens the folder `root` as a store, makes it where it is missing, and sweeps what a crash left in `.tmp`.
    ///
    /// # Errors
    /// [`StoreError::Io`] where the folder cannot be made, read or written.
    pub async fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        let path = root.clone();
        let tree = blocking(&path, move || Tree::open(root)).await?;
        Ok(Self { tree: Arc::new(tree) })
    }

    /// Runs `work` on a thread that may block.
    /// Opens a folder that other programs read, such as one of flat files: what is not complete lies in `beside`,
    /// where that is on the same file system.
    ///
    /// # Errors
    /// Where it cannot be made or opened.
    pub async fn open_flat(root: impl Into<PathBuf>, beside: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let (root, beside) = (root.into(), beside.into());
        let path = root.clone();
        let tree = blocking(&path, move || Tree::open_flat(root, &beside)).await?;
        Ok(Self { tree: Arc::new(tree) })
    }

    async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Tree) -> Result<T, StoreError> + Send + 'static,
    {
        let tree = self.tree.clone();
        blocking(self.tree.path(), move || work(&tree)).await
    }
}

async fn blocking<T, F>(path: &Path, work: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, StoreError> + Send + 'static,
{
    let ended = |error: tokio::task::JoinError| StoreError::Io {
        verb: "finish its work on",
        path: path.to_owned(),
        source: io::Error::other(error),
    };
    spawn_blocking(work).await.map_err(ended)?
}

#[async_trait]
impl Store for FolderStore {
    async fn put(&self, key: &ObjectKey, body: ByteStream) -> Result<ObjectMeta, StoreError> {
        let key = key.clone();
        self.run(move |tree| write_object(tree, key, body)).await
    }

    async fn adopt(&self, key: &ObjectKey, file: &Path) -> Result<Option<ObjectMeta>, StoreError> {
        let (key, file) = (key.clone(), file.to_owned());
        self.run(move |tree| link_object(tree, key, &file)).await
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ByteStream, StoreError> {
        let key = key.clone();
        let (file, size) = self.run(move |tree| tree.file(&key)?.ok_or(StoreError::NotFound { key })).await?;
        let range = range.map_or(0..size, |range| range.start..range.end.min(size));
        Ok(read_file(Arc::new(file), range))
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        let key = key.clone();
        self.run(move |tree| Ok(tree.file(&key)?.map(|(_, size)| ObjectMeta { key, size }))).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let key = key.clone();
        self.run(move |tree| tree.remove(&key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let prefix = prefix.to_owned();
        self.run(move |tree| tree.list(&prefix)).await
    }

    fn place(&self) -> String {
        format!("file://{}", self.tree.path().display())
    }
}

/// Writes a body beside the objects and gives it its name once it is complete and synced.
fn write_object(tree: &Tree, key: ObjectKey, mut body: ByteStream) -> Result<ObjectMeta, StoreError> {
    let member = tree.together.join();
    let place = tree.place(&key)?;
    let mut temporary = tree.temporary()?;
    let mut size = 0;
    while let Some(chunk) = body.blocking_next() {
        let chunk = chunk.map_err(|source| StoreError::Body { key: key.clone(), source })?;
        temporary.file.write_all(&chunk).map_err(|source| tree.failed("write", &key, source))?;
        size += chunk.len() as u64;
    }
    if !member.sync(tree.root()) {
        temporary.file.sync_data().map_err(|source| tree.failed("sync", &key, source))?;
    }
    temporary.publish(place, &member)?;
    Ok(ObjectMeta { key, size })
}

/// Gives a file of the same file system a key, once it is synced.
fn link_object(tree: &Tree, key: ObjectKey, path: &Path) -> Result<Option<ObjectMeta>, StoreError> {
    let member = tree.together.join();
    let place = tree.place(&key)?;
    let failed = |verb, source| StoreError::Io { verb, path: path.to_owned(), source };
    let file = File::open(path).map_err(|source| failed("read", source))?;
    if !member.sync(tree.root()) {
        file.sync_data().map_err(|source| failed("sync", source))?;
    }
    let size = file.metadata().map_err(|source| failed("read", source))?.len();
    Ok(tree.link(&file, path, place, &member)?.then_some(ObjectMeta { key, size }))
}

/// The bytes of `range` of a file; a thread is borrowed for each chunk.
pub(crate) fn read_file(file: Arc<File>, range: Range<u64>) -> ByteStream {
    let (sender, body) = ByteStream::channel(READ_AHEAD);
    tokio::spawn(feed(file, range, sender));
    body
}

/// All of a file that is opened when it is its turn, on a thread that may block.
pub(crate) fn read_path(path: PathBuf) -> ByteStream {
    let (sender, body) = ByteStream::channel(READ_AHEAD);
    tokio::spawn(async move {
        let opened = blocking::blocking(move || {
            let file = File::open(path)?;
            let size = file.metadata()?.len();
            io::Result::Ok((Arc::new(file), size))
        });
        match opened.await {
            Ok((file, size)) => feed(file, 0..size, sender).await,
            // A reader that went away needs no answer.
            Err(error) => {
                let _ = sender.fail(error).await;
            }
        }
    });
    body
}

/// Sends `range` of a file and its end, or why there is none.
async fn feed(file: Arc<File>, range: Range<u64>, sender: ByteSender) {
    // A reader that went away wants neither.
    let _ = match send_range(file, range, &sender).await {
        Ok(()) => sender.finish().await,
        Err(error) => sender.fail(error).await,
    };
}

async fn send_range(file: Arc<File>, range: Range<u64>, sender: &ByteSender) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let length = (range.end - at).min(PIECE);
        let file = file.clone();
        let chunk = blocking::blocking(move || read_exactly(&file, at, length as usize)).await?;
        sender.send(chunk).await.map_err(|closed| io::Error::new(io::ErrorKind::BrokenPipe, closed))?;
        at += length;
    }
    Ok(())
}

fn read_exactly(file: &File, at: u64, length: usize) -> io::Result<Bytes> {
    let mut chunk = vec![0; length];
    file.read_exact_at(&mut chunk, at)?;
    Ok(chunk.into())
}

impl fmt::Debug for FolderStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FolderStore").field(&self.tree.path()).finish()
    }
}
