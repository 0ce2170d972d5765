//! Writing an object: one request for a short one, parts of it for a long one.
//!
//! Each object that is written here carries a mark of its own. Where an answer was lost and a second attempt finds the
//! key taken, the mark tells whether it was taken by the first.

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use object_store::{
    Attribute, Attributes, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
};
use reeltime_core::keys::ObjectKey;
use uuid::Uuid;

use super::S3Store;
use super::parts::RIGHT;
use crate::store::{ByteStream, MOST_PARTS, ObjectMeta, PART, PartTag, StoreError, UploadId, mime_of};

/// The name of the mark among an object's metadata.
const MARK: &str = "reeltime-put";

impl S3Store {
    /// What the store is told of an object, with the mark of who writes it.
    pub(super) fn attributes(key: &ObjectKey, mark: Option<&str>) -> Attributes {
        let mut attributes = Attributes::from_iter([(Attribute::ContentType, mime_of(key))]);
        if let Some(mark) = mark {
            attributes.insert(Attribute::Metadata(MARK.into()), mark.to_owned().into());
        }
        attributes
    }

    /// Writes an object whose key was free a moment ago.
    pub(super) async fn write(
        &self,
        key: &ObjectKey,
        mut body: ByteStream,
    ) -> Result<ObjectMeta, StoreError> {
        let mark = Uuid::new_v4().to_string();
        let mut rest = Bytes::new();
        let first = next_part(key, &mut body, &mut rest).await?;
        let size = if first.content_length() < PART {
            self.write_at_once(key, first, &mark).await?
        } else {
            self.write_in_parts(key, first, rest, body, &mark).await?
        };
        self.give_up_one().await;
        Ok(ObjectMeta { key: key.clone(), size })
    }

    async fn write_at_once(&self, key: &ObjectKey, body: PutPayload, mark: &str) -> Result<u64, StoreError> {
        let size = body.content_length() as u64;
        let options = PutOptions {
            mode: PutMode::Create,
            attributes: Self::attributes(key, Some(mark)),
            ..PutOptions::default()
        };
        match self.client.put_opts(&self.path(key)?, body, options).await {
            Ok(_) => Ok(size),
            Err(error) => self.unless_made(key, mark, size, self.explain(key, RIGHT, &error)).await,
        }
    }

    async fn write_in_parts(
        &self,
        key: &ObjectKey,
        first: PutPayload,
        rest: Bytes,
        body: ByteStream,
        mark: &str,
    ) -> Result<u64, StoreError> {
        let options = PutMultipartOptions {
            attributes: Self::attributes(key, Some(mark)),
            ..PutMultipartOptions::default()
        };
        let upload = self.begin_with(key, options).await?;
        let sent = self.send_all(key, &upload, all_parts(key, first, rest, body)).await;
        let made = match sent {
            Ok(sent) => self.finish(key, &upload, sent, mark).await,
            Err(error) => Err(error),
        };
        if made.is_err() {
            // What went wrong first is what is worth telling.
            self.give_up(key.clone(), upload).await;
        }
        made
    }

    /// Sends parts as they come, at most so many at a time in memory: each part's tag, and the bytes of all.
    async fn send_all(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: impl Stream<Item = Result<PutPayload, StoreError>>,
    ) -> Result<(Vec<PartTag>, u64), StoreError> {
        let send = |(index, part): (usize, Result<PutPayload, StoreError>)| async move {
            let part = part?;
            let bytes = part.content_length() as u64;
            let number = u32::try_from(index + 1).ok().filter(|number| *number <= MOST_PARTS);
            let number = number.ok_or_else(|| {
                self.asked(key.as_str(), RIGHT)
                    .refused(format!("it is longer than {MOST_PARTS} parts of {PART} bytes"))
            })?;
            Ok((self.send_part(key, upload, number, part).await?, bytes))
        };
        let sent: Vec<(PartTag, u64)> =
            parts.enumerate().map(send).buffered(self.parts_in_flight).try_collect().await?;
        let bytes = sent.iter().map(|(_, bytes)| bytes).sum();
        Ok((sent.into_iter().map(|(tag, _)| tag).collect(), bytes))
    }

    /// Completing does not mind what is there already, so that is seen to first.
    async fn finish(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        (tags, bytes): (Vec<PartTag>, u64),
        mark: &str,
    ) -> Result<u64, StoreError> {
        if self.find(key).await?.is_some() {
            return Err(StoreError::AlreadyExists { key: key.clone() });
        }
        let error = match self.join(key, upload, &tags).await {
            Ok(()) => return Ok(bytes),
            Err(StoreError::NotFound { .. }) => {
                self.asked(key.as_str(), RIGHT).unavailable("it has lost the upload before its end")
            }
            Err(error) => error,
        };
        self.unless_made(key, mark, bytes, error).await
    }

    /// The answer may have been lost, not the request: then the object is there, and ours.
    async fn unless_made(
        &self,
        key: &ObjectKey,
        mark: &str,
        size: u64,
        error: StoreError,
    ) -> Result<u64, StoreError> {
        if self.is_marked(key, mark).await.unwrap_or(false) { Ok(size) } else { Err(error) }
    }

    /// Writes over an object that is there, on the condition that there is none: whether the store refused.
    pub(super) async fn refuses_what_is_taken(&self, key: &ObjectKey) -> Result<bool, StoreError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let error = match self.client.put_opts(&self.path(key)?, PutPayload::new(), options).await {
            Ok(_) => return Ok(false),
            Err(error) => self.explain(key, RIGHT, &error),
        };
        if matches!(error, StoreError::AlreadyExists { .. }) { Ok(true) } else { Err(error) }
    }

    async fn is_marked(&self, key: &ObjectKey, mark: &str) -> Result<bool, StoreError> {
        let found = self.find(key).await?;
        let there = found.as_ref().and_then(|found| found.attributes.get(&Attribute::Metadata(MARK.into())));
        Ok(there.is_some_and(|there| there.as_ref() == mark))
    }
}

/// The first part, then those of the body.
fn all_parts(
    key: &ObjectKey,
    first: PutPayload,
    rest: Bytes,
    body: ByteStream,
) -> impl Stream<Item = Result<PutPayload, StoreError>> {
    let others = stream::try_unfold((body, rest), move |(mut body, mut rest)| async move {
        let part = next_part(key, &mut body, &mut rest).await?;
        Ok((part.content_length() > 0).then_some((part, (body, rest))))
    });
    stream::once(async { Ok(first) }).chain(others)
}

/// The next [`PART`] bytes of the body, or what is left of it; what was read beyond them goes to `rest`.
async fn next_part(
    key: &ObjectKey,
    body: &mut ByteStream,
    rest: &mut Bytes,
) -> Result<PutPayload, StoreError> {
    let mut chunks = Vec::new();
    let mut room = PART;
    while room > 0 {
        if rest.is_empty() {
            let next = body.try_next().await;
            let next = next.map_err(|source| StoreError::Body { key: key.clone(), source })?;
            match next {
                Some(chunk) => *rest = chunk,
                None => break,
            }
        }
        let taken = rest.split_to(rest.len().min(room));
        room -= taken.len();
        chunks.push(taken);
    }
    Ok(PutPayload::from_iter(chunks))
}
