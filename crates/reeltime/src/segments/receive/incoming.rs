//! A segment's bytes on their way to the store: in a file, so that none are held in memory, and nothing is begun with
//! one that does not come whole.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use super::ReceiveError;
use crate::store::{ByteStream, read_file};

/// The folder in the data folder.
const FOLDER: &str = "incoming";

/// A file that goes when it is dropped.
#[derive(Debug)]
pub(super) struct Incoming {
    path: PathBuf,
    file: tokio::fs::File,
    pub(super) size: u64,
    pub(super) crc32c: u32,
    limit: u64,
}

/// Makes the folder, and removes what an earlier process left in it.
pub(crate) fn clear(data_dir: &Path) -> std::io::Result<()> {
    let folder = data_dir.join(FOLDER);
    std::fs::create_dir_all(&folder)?;
    std::fs::read_dir(folder)?.try_for_each(|entry| std::fs::remove_file(entry?.path()))
}

impl Incoming {
    /// An empty file that takes `limit` bytes.
    pub(super) async fn create(data_dir: &Path, limit: u64) -> Result<Self, ReceiveError> {
        let path = data_dir.join(FOLDER).join(Uuid::new_v4().to_string());
        let file = tokio::fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path).await?;
        Ok(Self { path, file, size: 0, crc32c: 0, limit })
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), ReceiveError> {
        self.size += bytes.len() as u64;
        if self.size > self.limit {
            return Err(ReceiveError::TooLarge { limit: self.limit });
        }
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        Ok(self.file.write_all(bytes).await?)
    }

    /// All of a body.
    pub(super) async fn fill(&mut self, mut body: ByteStream) -> Result<(), ReceiveError> {
        while let Some(chunk) = body.next().await {
            let chunk: Bytes = chunk?;
            self.write(&chunk).await?;
        }
        self.flush().await
    }

    pub(super) async fn flush(&mut self) -> Result<(), ReceiveError> {
        Ok(self.file.flush().await?)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Another handle of the file, for a thread that may block.
    pub(super) async fn handle(&self) -> Result<File, ReceiveError> {
        Ok(self.file.try_clone().await?.into_std().await)
    }

    /// What it holds.
    pub(super) async fn body(&self) -> Result<ByteStream, ReceiveError> {
        Ok(read_file(Arc::new(self.handle().await?), 0..self.size))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        let remove = move || {
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::debug!(path = %path.display(), %error, "a file on its way stays until the next start");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}
