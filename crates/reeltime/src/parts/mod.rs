//! Files sent in parts: all of [`PART`] bytes but the last, each known to the catalogue once the store has it.
//!
//! An upload may begin while its file grows, and outlive the process that began it. Who goes on with it sends the file
//! as it is then: a part that the catalogue knows with the same length and CRC32C is not sent again, one that differs is
//! sent again under its number. So what is published never depends on what was sent before, only how much is left to send.
//! A growing file's first part, which holds what only the end knows, is simply sent last.
//!
//! ```text
//! stage ─▶ begin (store) ─▶ row ─▶ parts, each noted ─▶ complete (store) ─▶ publish: the row goes
//! ```
//!
//! Each step may be lost with its answer. Of one that was begun without a row the store holds nothing but a name; one
//! that was completed is recognised by its object.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use reeltime_core::keys::ObjectKey;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tracing::{Instrument, warn};

use crate::blocking::blocking;
use crate::catalogue::{Catalogue, NewObject, Upload, UploadedPart};
use crate::crash;
use crate::error::Error;
use crate::store::{MOST_PARTS, ObjectMeta, PART, PartStore, PartTag, Store, StoreError};

mod cut;

pub(crate) use cut::Body;
use cut::{Cuts, Part};

/// Parts of one file that are sent side by side.
const AT_ONCE: usize = 2;

/// What all uploads of a process share.
#[derive(Debug)]
pub(crate) struct Uploads {
    catalogue: Arc<dyn Catalogue>,
    store: Arc<dyn Store>,
    /// One permit for each part that may be held in memory.
    room: Arc<Semaphore>,
}

/// A part that the store has.
#[derive(Clone, Debug)]
struct Sent {
    part: UploadedPart,
    lasting: bool,
}

/// An upload that is neither completed nor aborted.
#[derive(Debug)]
pub(crate) struct PartUpload {
    uploads: Arc<Uploads>,
    upload: Upload,
    sent: BTreeMap<u32, Sent>,
}

impl Uploads {
    /// `budget`: bytes of parts held in memory, by all uploads together; never less than one part.
    pub(crate) fn new(catalogue: Arc<dyn Catalogue>, store: Arc<dyn Store>, budget: u64) -> Arc<Self> {
        let parts =
            usize::try_from(budget / PART as u64).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self { catalogue, store, room: Arc::new(Semaphore::new(parts)) })
    }

    /// Whether files under this key can be sent in parts.
    pub(crate) fn takes(&self, key: &ObjectKey) -> bool {
        self.store.parts(key).is_some()
    }

    fn parts(&self, key: &ObjectKey) -> Result<(&dyn PartStore, ObjectKey), StoreError> {
        self.store.parts(key).ok_or_else(|| StoreError::Refused {
            what: key.to_string(),
            why: "this store takes no uploads in parts".to_owned(),
        })
    }

    async fn room(&self) -> OwnedSemaphorePermit {
        let room = Arc::clone(&self.room).acquire_owned().await;
        room.unwrap_or_else(|_closed| unreachable!("nobody closes it"))
    }

    /// Stores a body whose object is staged: in parts where it takes more than one, or where an upload to it was begun.
    /// `free`: the store has just said that nothing lies there.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] where the key is taken in the store by something else than this;
    /// [`StoreError::NotFound`] where the upload that was begun is gone: see [`Self::give_up`].
    pub(crate) async fn put(
        self: &Arc<Self>,
        object: &NewObject,
        begun: Option<PartUpload>,
        body: Body,
        free: bool,
    ) -> Result<ObjectMeta, Error> {
        let begun = match begun.filter(|begun| begun.upload.key == object.key) {
            None => self.find(object).await?,
            begun => begun,
        };
        let mut cuts = Cuts::new(body);
        let upload = match begun {
            Some(begun) => begun,
            None => match cuts.one(&self.room).await? {
                Some(whole) if free => return Ok(self.store.put_free(&object.key, whole).await?),
                Some(whole) => return Ok(self.store.put(&object.key, whole).await?),
                None => self.begin(object).await?,
            },
        };
        upload.finish(cuts).await
    }

    /// The upload to a staged object that was begun, or a new one.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub(crate) async fn open(self: &Arc<Self>, object: &NewObject) -> Result<PartUpload, Error> {
        match self.find(object).await? {
            Some(begun) => Ok(begun),
            None => self.begin(object).await,
        }
    }

    async fn find(self: &Arc<Self>, object: &NewObject) -> Result<Option<PartUpload>, Error> {
        let found = self.catalogue.upload(&object.tenant, &object.key).await?;
        let upload = |(upload, parts): (Upload, Vec<(u32, UploadedPart)>)| PartUpload {
            uploads: Arc::clone(self),
            upload,
            sent: parts.into_iter().map(|(number, part)| (number, Sent { part, lasting: false })).collect(),
        };
        Ok(found.map(upload))
    }

    async fn begin(self: &Arc<Self>, object: &NewObject) -> Result<PartUpload, Error> {
        // Some stores let the upload replace what lies there. It is ours: nothing did when the object was staged.
        let (parts, key) = self.parts(&object.key)?;
        let upload = Upload {
            tenant: object.tenant.clone(),
            recording: object.recording,
            key: object.key.clone(),
            id: parts.begin(&key).await?,
            begun_at: object.created_at,
        };
        if let Err(error) = self.catalogue.begin_upload(&upload).await {
            let _ = parts.abort(&key, &upload.id).await;
            return Err(error.into());
        }
        crash::point("upload_begun");
        Ok(PartUpload { uploads: Arc::clone(self), upload, sent: BTreeMap::new() })
    }

    /// Gives up an upload, and what it takes in the store.
    ///
    /// # Errors
    /// Where it may still be there; then its row is too.
    pub(crate) async fn abort(&self, upload: &Upload) -> Result<(), Error> {
        let aborted = match self.parts(&upload.key) {
            Ok((parts, key)) => parts.abort(&key, &upload.id).await,
            Err(error) => Err(error),
        };
        match aborted {
            // Nobody will be allowed to later either: the bucket's own rule for such uploads has to.
            Err(error @ StoreError::Refused { .. }) => {
                warn!(%error, key = %upload.key, "an upload is left behind")
            }
            aborted => aborted?,
        }
        Ok(self.catalogue.end_upload(&upload.tenant, &upload.key).await?)
    }

    /// Gives up an upload that the store does not know any more: an earlier attempt completed it, and the recording went
    /// on. The object that came of it, if one did, is in the way of the next: that replaces it, or says so.
    ///
    /// # Errors
    /// Where the catalogue cannot be written.
    pub(crate) async fn give_up(&self, object: &NewObject) -> Result<(), Error> {
        if let Some((upload, _)) = self.catalogue.upload(&object.tenant, &object.key).await? {
            self.abort(&upload).await?;
        }
        Ok(())
    }

    /// Gives up the uploads of recordings that are not `living`.
    ///
    /// # Errors
    /// Where one may still be there; the others are tried all the same.
    pub(crate) async fn sweep(&self, tenant: &str, living: impl Fn(&Upload) -> bool) -> Result<(), Error> {
        let mut outcome = Ok(());
        for upload in self.catalogue.uploads(tenant).await?.iter().filter(|upload| !living(upload)) {
            outcome = self.abort(upload).await.and(outcome);
        }
        outcome
    }
}

impl PartUpload {
    /// The object's key.
    pub(crate) const fn key(&self) -> &ObjectKey {
        &self.upload.key
    }

    /// The first part from the second on that this process has not sent for good.
    pub(crate) fn next(&self) -> u32 {
        (2..).find(|number| !self.is_lasting(*number)).unwrap_or(MOST_PARTS)
    }

    /// The same upload, where what was sent may turn out otherwise: each part is looked at again.
    pub(crate) fn doubted(mut self) -> Self {
        self.sent.values_mut().for_each(|sent| sent.lasting = false);
        self
    }

    fn is_lasting(&self, number: u32) -> bool {
        self.sent.get(&number).is_some_and(|sent| sent.lasting)
    }

    /// Sends part `number` of a file that grows, whose bytes there can not change any more.
    ///
    /// # Errors
    /// Where the file cannot be read, or the store does not take it.
    pub(crate) async fn send(&mut self, file: &Arc<File>, number: u32) -> Result<(), Error> {
        let room = self.uploads.room().await;
        let body = cut::read(Arc::clone(file), number, PART).await?;
        let part = Part { number, body, lasting: true, room };
        let sent =
            send(Arc::clone(&self.uploads), self.upload.clone(), self.sent.get(&number).cloned(), part);
        let (number, sent) = sent.await?;
        self.sent.insert(number, sent);
        Ok(())
    }

    /// Sends what is not sent yet, and makes the object.
    async fn finish(mut self, mut cuts: Cuts) -> Result<ObjectMeta, Error> {
        // Tasks, since those that are sent have to make room for those that are cut.
        let mut sending = JoinSet::new();
        loop {
            let room = self.uploads.room();
            let Some(part) = cuts.next(|number| self.is_lasting(number), room).await? else { break };
            if part.number > MOST_PARTS {
                let why = format!("it takes more than {MOST_PARTS} parts");
                return Err(StoreError::Refused { what: self.upload.key.to_string(), why }.into());
            }
            let known = self.sent.get(&part.number).cloned();
            let sent = send(Arc::clone(&self.uploads), self.upload.clone(), known, part);
            sending.spawn(sent.in_current_span());
            if sending.len() >= AT_ONCE {
                self.one_sent(&mut sending).await?;
            }
        }
        while self.one_sent(&mut sending).await? {}
        let (count, size) = cuts.total();
        self.complete(count, size).await
    }

    /// Waits for one that is sent. `false` where there is none.
    async fn one_sent(&mut self, sending: &mut JoinSet<Result<(u32, Sent), Error>>) -> Result<bool, Error> {
        let Some(sent) = sending.join_next().await else { return Ok(false) };
        let (number, sent) = sent.map_err(|error| Error::Spool(io::Error::other(error)))??;
        self.sent.insert(number, sent);
        Ok(true)
    }

    async fn complete(&self, count: u32, size: u64) -> Result<ObjectMeta, Error> {
        let tags: Option<Vec<PartTag>> =
            (1..=count).map(|number| Some(self.sent.get(&number)?.part.tag.clone())).collect();
        let tags = tags.ok_or_else(|| StoreError::NotFound { key: self.upload.key.clone() })?;
        let (parts, key) = self.uploads.parts(&self.upload.key)?;
        let completed = parts.complete(&key, &self.upload.id, &tags).await;
        crash::point("parts_complete");
        let Err(error) = completed else { return Ok(ObjectMeta { key: self.upload.key.clone(), size }) };
        // It may be that only the answer was lost, now or to whoever tried before. Then some say that there is no such
        // upload, others that the object is there already.
        match self.uploads.store.head(&self.upload.key).await {
            Ok(Some(meta)) if meta.size == size => Ok(meta),
            _ => Err(error.into()),
        }
    }
}

/// Sends a part, unless the store has it with these bytes.
async fn send(
    uploads: Arc<Uploads>,
    upload: Upload,
    known: Option<Sent>,
    part: Part,
) -> Result<(u32, Sent), Error> {
    let Part { number, body, lasting, room: _room } = part;
    let (size, hashed) = (body.len() as u32, body.clone());
    let crc32c = blocking(move || Ok::<_, Error>(crc32c::crc32c(&hashed))).await?;
    if let Some(Sent { part, .. }) =
        known.filter(|known| (known.part.crc32c, known.part.size) == (crc32c, size))
    {
        metrics::counter!("reeltime_upload_parts_kept_total").increment(1);
        return Ok((number, Sent { part, lasting }));
    }
    let (parts, key) = uploads.parts(&upload.key)?;
    let tag = parts.put_part(&key, &upload.id, number, body).await?;
    let part = UploadedPart { tag, crc32c, size };
    uploads.catalogue.note_part(&upload, number, &part).await?;
    metrics::counter!("reeltime_upload_parts_sent_total").increment(1);
    crash::point("part_put");
    Ok((number, Sent { part, lasting }))
}
