//! A file that is made while its recording goes on, in the recorder's own folder, and sent from its second part on.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::FallocateFlags;
use tracing::debug;

use super::super::part::Part;
use crate::blocking::blocking;
use crate::catalogue::{NewObject, StoredObject};
use crate::error::Error;
use crate::parts::{Body, PartUpload};
use crate::recorder::Recorder;
use crate::spare::Spare;
use crate::store::PART;

/// The file, as far as it is made, and its upload.
#[derive(Debug)]
pub(super) struct GrowingFile {
    file: Arc<File>,
    spare: Spare,
    size: u64,
    upload: Option<PartUpload>,
    _part: Part,
}

impl GrowingFile {
    /// An empty file; what of it was sent before, in another way, is looked at again.
    ///
    /// # Errors
    /// Where the folder takes no file.
    pub(super) async fn create(recorder: &Recorder, sent: Option<PartUpload>) -> Result<Self, Error> {
        let (part, writer) = recorder.part().await?;
        let (file, spare) =
            (Arc::new(writer.reader().map_err(Error::Spool)?), recorder.inner().cache.spare().clone());
        let upload = sent.map(PartUpload::doubted);
        Ok(Self { file, spare, size: 0, upload, _part: part })
    }

    /// Whether any of it was sent, or is about to be.
    pub(super) const fn is_uploaded(&self) -> bool {
        self.upload.is_some()
    }

    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        let (file, spare, size) = (Arc::clone(&self.file), self.spare.clone(), bytes.len() as u64);
        let write = move || spare.check().and_then(|()| (&*file).write_all(&bytes));
        blocking(write).await.map_err(Error::Spool)?;
        self.size += size;
        Ok(())
    }

    /// Sends the parts that are whole, but for the first.
    ///
    /// # Errors
    /// Where the file cannot be read, or the store does not take them.
    pub(super) async fn send(
        &mut self,
        recorder: &Recorder,
        object: impl Fn() -> Result<NewObject, Error>,
    ) -> Result<(), Error> {
        loop {
            let number = self.upload.as_ref().map_or(2, PartUpload::next);
            if self.size < u64::from(number) * PART as u64 {
                return Ok(());
            }
            match &mut self.upload {
                Some(upload) => {
                    upload.send(&self.file, number).await?;
                    self.give_back(number).await;
                }
                None => self.upload = Some(recorder.open_upload(object()?).await?),
            }
        }
    }

    /// Gives the disk back what a part took.
    async fn give_back(&self, number: u32) {
        let file = Arc::clone(&self.file);
        let punch = move || {
            let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&*file, how, u64::from(number - 1) * PART as u64, PART as u64)?;
            io::Result::Ok(())
        };
        if let Err(error) = blocking(punch).await {
            debug!(%error, "this file system keeps what was uploaded until the recording is over");
        }
    }

    /// Makes it whole and sends the rest; `None` where nothing of it was sent.
    ///
    /// # Errors
    /// Where the file cannot be written, or the store does not take it.
    pub(super) async fn finish(
        mut self,
        recorder: &Recorder,
        mut object: NewObject,
        head: Option<Vec<u8>>,
        tail: Vec<u8>,
    ) -> Result<Option<StoredObject>, Error> {
        let Some(upload) = self.upload.take() else { return Ok(None) };
        self.write(tail.into()).await?;
        let file = Arc::clone(&self.file);
        let headed = move || head.map_or(Ok(()), |head| file.write_all_at(&head, 0));
        blocking(headed).await.map_err(Error::Spool)?;
        object.key = upload.key().clone();
        let body = Body::File(Arc::clone(&self.file), self.size);
        let meta = recorder.inner().uploads.put(&object, Some(upload), body, false).await?;
        Ok(Some(StoredObject { key: meta.key, size: meta.size, crc32c: None }))
    }
}

impl Recorder {
    /// Begins an upload to this object, or goes on with one that an earlier process began.
    ///
    /// # Errors
    /// Where the catalogue or the store fail.
    pub(super) async fn open_upload(&self, mut object: NewObject) -> Result<PartUpload, Error> {
        object.key = self.stage_free(&object, 1).await?.key;
        self.inner().uploads.open(&object).await
    }
}
