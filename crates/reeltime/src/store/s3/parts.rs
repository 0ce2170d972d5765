//! Uploads in parts.

use async_trait::async_trait;
use bytes::Bytes;
use object_store::multipart::{MultipartStore, PartId};
use object_store::{PutMultipartOptions, PutPayload};
use reeltime_core::keys::ObjectKey;

use super::S3Store;
use crate::store::{ObjectMeta, PartStore, PartTag, Store, StoreError, UploadId};

/// The right that all but giving up takes.
pub(super) const RIGHT: &str = "s3:PutObject";

impl S3Store {
    pub(super) async fn send_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: PutPayload,
    ) -> Result<PartTag, StoreError> {
        // `object_store` counts from 0.
        let index = number.saturating_sub(1) as usize;
        let sent = self.client.put_part(&self.path(key)?, &upload.0, index, body).await;
        sent.map(|part| PartTag(part.content_id)).map_err(|error| self.explain(key, RIGHT, &error))
    }

    pub(super) async fn begin_with(
        &self,
        key: &ObjectKey,
        options: PutMultipartOptions,
    ) -> Result<UploadId, StoreError> {
        let begun = self.client.create_multipart_opts(&self.path(key)?, options).await;
        begun.map(UploadId).map_err(|error| self.explain(key, RIGHT, &error))
    }

    pub(super) async fn join(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[PartTag],
    ) -> Result<(), StoreError> {
        let parts = parts.iter().map(|tag| PartId { content_id: tag.0.clone() }).collect();
        let made = self.client.complete_multipart(&self.path(key)?, &upload.0, parts).await;
        made.map(drop).map_err(|error| self.explain(key, RIGHT, &error))
    }

    pub(super) fn explain(
        &self,
        key: &ObjectKey,
        right: &'static str,
        error: &object_store::Error,
    ) -> StoreError {
        self.asked(key.as_str(), right).failure(error).of(key)
    }
}

#[async_trait]
impl PartStore for S3Store {
    async fn begin(&self, key: &ObjectKey) -> Result<UploadId, StoreError> {
        self.begin_with(key, Self::attributes(key, None).into()).await
    }

    async fn put_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        body: Bytes,
    ) -> Result<PartTag, StoreError> {
        self.send_part(key, upload, number, body.into()).await
    }

    async fn complete(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[PartTag],
    ) -> Result<ObjectMeta, StoreError> {
        self.join(key, upload, parts).await?;
        let made = self.head(key).await?;
        made.ok_or_else(|| {
            self.asked(key.as_str(), RIGHT).unavailable("it does not show what it has just made")
        })
    }

    async fn abort(&self, key: &ObjectKey, upload: &UploadId) -> Result<(), StoreError> {
        let aborted = self.client.abort_multipart(&self.path(key)?, &upload.0).await;
        let asked = self.asked(key.as_str(), "s3:AbortMultipartUpload");
        aborted.or_else(|error| asked.failure(&error).unless_absent(key))
    }
}
