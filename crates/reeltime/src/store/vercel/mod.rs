//! Vercel Blob as a store, over its HTTP API as npm's `@vercel/blob` 2.8 speaks it.
//!
//! What fits into one part goes out in one request; what is longer as an upload in parts, one part in memory at a
//! time. A read first asks the API for the object's address, and reads from there: so what was deleted is not found
//! at once, though the network in front of the store may go on serving it for a minute.
//!
//! The API has no way to abort an upload in parts: [`PartStore::abort`] is a success, and the service drops what was
//! never completed when it sees fit.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use reeltime_core::keys::ObjectKey;

use self::api::{Api, At, Found, Listed, Upload};
use self::failure::{Failure, refused};
use super::{
    ByteStream, MOST_PARTS, ObjectMeta, PART, PartStore, PartTag, Prefix, Store, StoreError, UploadId,
    mime_of,
};

mod api;
mod cut;
mod failure;
mod read;

/// A path of more UTF-16 units is refused (`MAXIMUM_PATHNAME_LENGTH` of `@vercel/blob`).
const MAX_PATHNAME: usize = 950;

/// Who may read the objects of a store: chosen when the store is made, and told again with each write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Whoever has the token.
    #[default]
    Private,
    /// Whoever has an object's address.
    Public,
}

impl Access {
    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Public => "public",
        }
    }
}

/// How to speak to a Vercel Blob store, which its token names.
#[derive(Clone, Default)]
pub struct VercelOptions {
    /// `vercel_blob_rw_…`, as in `BLOB_READ_WRITE_TOKEN`.
    pub token: String,
    /// What the store was made as.
    pub access: Access,
    /// Where the API is, as `VERCEL_BLOB_API_URL` has it; `None`: `https://vercel.com/api/blob`.
    pub api_url: Option<String>,
}

impl fmt::Debug for VercelOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token: _, access, api_url } = self;
        let mut shown = f.debug_struct("VercelOptions");
        shown.field("access", access).field("api_url", api_url).finish_non_exhaustive()
    }
}

/// A Vercel Blob store, or what lies below a prefix in one. See the [module](self).
#[derive(Debug)]
pub struct VercelStore {
    api: Api,
    prefix: Prefix,
}

impl VercelStore {
    /// The store of the token, keys below `prefix` of it. Nothing is sent yet.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where the token or the API's address cannot be one.
    pub fn open(prefix: Prefix, options: &VercelOptions) -> Result<Self, StoreError> {
        Ok(Self { api: Api::new(options)?, prefix })
    }

    /// Where `key` lies in the store.
    fn at(&self, key: &ObjectKey) -> Result<At, StoreError> {
        let pathname = self.prefix.join(key.as_str());
        if pathname.encode_utf16().count() > MAX_PATHNAME {
            let why =
                format!("with its prefix it is longer than the {MAX_PATHNAME} characters that it may have");
            return Err(refused(key.as_str(), why));
        }
        Ok(At { pathname, mime: mime_of(key) })
    }

    /// The object of a path in the store; `None` where it is none of ours.
    fn meta(&self, listed: &Listed) -> Option<ObjectMeta> {
        Some(ObjectMeta { key: self.prefix.strip(&listed.pathname)?, size: listed.size })
    }

    async fn found(&self, key: &ObjectKey) -> Result<Option<Found>, StoreError> {
        match self.api.head(&self.at(key)?).await {
            Ok(found) => Ok(Some(found)),
            Err(Failure::Missing) => Ok(None),
            Err(failure) => Err(failure.of(key)),
        }
    }

    /// What is longer than a part, in parts.
    async fn put_parts(
        &self,
        key: &ObjectKey,
        first: Bytes,
        mut rest: cut::Parts,
    ) -> Result<ObjectMeta, StoreError> {
        let upload = self.begin(key).await?;
        let mut tags = Vec::new();
        let (mut part, mut size) = (Some(first), 0);
        while let Some(body) = part {
            size += body.len() as u64;
            tags.push(self.put_part(key, &upload, tags.len() as u32 + 1, body).await?);
            part = rest.next().await.map_err(|source| StoreError::Body { key: key.clone(), source })?;
        }
        self.finish(key, &upload, &tags).await?;
        Ok(ObjectMeta { key: key.clone(), size })
    }

    async fn finish(&self, key: &ObjectKey, upload: &UploadId, parts: &[PartTag]) -> Result<(), StoreError> {
        let upload = Upload::from_text(&upload.0).ok_or_else(|| Failure::Missing.of(key))?;
        let at = self.at(key)?;
        self.api.complete(&at, &upload, parts).await.map_err(|failure| failure.of(key))
    }
}

#[async_trait]
impl Store for VercelStore {
    async fn put(&self, key: &ObjectKey, body: ByteStream) -> Result<ObjectMeta, StoreError> {
        let at = self.at(key)?;
        let mut parts = cut::Parts::new(body);
        let broken = |source| StoreError::Body { key: key.clone(), source };
        let first = parts.next().await.map_err(broken)?.unwrap_or_default();
        if !parts.is_at_end() {
            return self.put_parts(key, first, parts).await;
        }
        let size = first.len() as u64;
        self.api.put(&at, first).await.map_err(|failure| failure.of(key))?;
        Ok(ObjectMeta { key: key.clone(), size })
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ByteStream, StoreError> {
        let found = self.found(key).await?.ok_or_else(|| StoreError::NotFound { key: key.clone() })?;
        let range = range.unwrap_or(0..found.size);
        let end = range.end.min(found.size);
        let read = read::Read::new(&self.api, found.url, range.start.min(end)..end);
        read.open().await.map_err(|failure| failure.of(key))
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        let found = self.found(key).await?;
        Ok(found.map(|found| ObjectMeta { key: key.clone(), size: found.size }))
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        match self.api.delete(&self.at(key)?).await {
            Ok(()) | Err(Failure::Missing) => Ok(()),
            Err(failure) => Err(failure.of(key)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let whole = self.prefix.join(prefix);
        let mut objects = Vec::new();
        let mut cursor = None;
        loop {
            let page =
                self.api.list(&whole, cursor.as_deref()).await.map_err(|failure| failure.of_text(&whole))?;
            objects.extend(page.blobs.iter().filter_map(|listed| self.meta(listed)));
            match page.cursor {
                Some(next) if page.has_more && cursor.as_ref() != Some(&next) => cursor = Some(next),
                _ if page.has_more => {
                    return Err(Failure::NotTheService.of_text(&whole));
                }
                _ => break,
            }
        }
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(objects)
    }

    fn place(&self) -> String {
        format!("vercel-blob:///{}", self.prefix)
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn parts(&self, key: &ObjectKey) -> Option<(&dyn PartStore, ObjectKey)> {
        Some((self, key.clone()))
    }
}

#[async_trait]
impl PartStore for VercelStore {
    async fn begin(&self, key: &ObjectKey) -> Result<UploadId, StoreError> {
        let upload = self.api.create(&self.at(key)?).await.map_err(|failure| failure.of(key))?;
        Ok(UploadId(upload.to_text()))
    }

    async fn put_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Bytes,
    ) -> Result<PartTag, StoreError> {
        if number > MOST_PARTS {
            return Err(refused(
                key.as_str(),
                format!("it is longer than {MOST_PARTS} parts of {PART} bytes, which no store takes"),
            ));
        }
        let upload = Upload::from_text(&upload.0).ok_or_else(|| Failure::Missing.of(key))?;
        let part = self.api.upload(&self.at(key)?, &upload, number, body).await;
        part.map(PartTag).map_err(|failure| failure.of(key))
    }

    async fn complete(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[PartTag],
    ) -> Result<ObjectMeta, StoreError> {
        self.finish(key, upload, parts).await?;
        self.head(key).await?.ok_or_else(|| StoreError::NotFound { key: key.clone() })
    }

    async fn abort(&self, _key: &ObjectKey, _upload: &UploadId) -> Result<(), StoreError> {
        Ok(())
    }
}
