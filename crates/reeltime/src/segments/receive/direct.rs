//! Segments that go to the store itself, by an address that it has signed.
//!
//! The store enforces none of what was announced, so that is looked at when the recording is finalized. An object is
//! staged before its address is given out, and only where nothing lies under its key: so what lies there later came by
//! that address, and may be deleted where it is not what was announced, or came for nothing.

use std::time::Duration;

use futures_util::StreamExt;
use reeltime_core::media::Container;
use tracing::warn;

use super::ReceiveError;
use super::upload::staged_for;
use crate::catalogue::{CatalogueError, KeptSegment, Segment};
use crate::recorder::Recorder;
use crate::store::Signed;

/// Bytes at a file's beginning that tell what it is.
const MAGIC: u64 = 12;

impl Recorder {
    /// An address of the store's own that takes the segment's bytes until `valid` has passed. `None` where segments are
    /// not sent to the store itself, where it signs no addresses, or where one would write over something: what is kept
    /// already, or what somebody else put there.
    ///
    /// # Errors
    /// [`ReceiveError::StoreAway`], or where the catalogue cannot be written.
    pub async fn direct_address(
        &self,
        tenant: &str,
        segment: &Segment,
        valid: Duration,
    ) -> Result<Option<String>, ReceiveError> {
        let (catalogue, store, key) = (&self.inner().catalogue, &self.inner().store, &segment.key);
        if !self.inner().config.segments_direct || segment.state.is_kept() {
            return Ok(None);
        }
        let Some(address) = store.sign(Signed::Put, key, valid).await? else { return Ok(None) };
        if !catalogue.key_taken(key).await? && store.head(key).await?.is_some() {
            return Ok(None);
        }
        match catalogue.stage(&staged_for(tenant, segment)).await {
            Err(CatalogueError::KeyTaken { .. }) => Ok(None),
            staged => Ok(staged.map(|()| Some(address))?),
        }
    }

    /// The object of a segment whose upload was not entered: sent to the store itself, or before a crash. Else why there
    /// is none.
    pub(super) async fn find_object(
        &self,
        tenant: &str,
        segment: &Segment,
    ) -> Result<Result<KeptSegment, String>, ReceiveError> {
        let (catalogue, store, key) = (&self.inner().catalogue, &self.inner().store, &segment.key);
        let never = Ok(Err("it never came".to_owned()));
        // Of one that was not staged, nobody was given an address: what lies there is somebody else's.
        if !catalogue.key_taken(key).await? {
            return never;
        }
        let Some(meta) = store.head(key).await? else { return never };
        match catalogue.stage(&staged_for(tenant, segment)).await {
            Err(CatalogueError::KeyTaken { .. }) => return never,
            done => done?,
        }
        let Some(reason) = self.flaw(segment, meta.size).await? else {
            let (id, key, size) = (segment.id, key.clone(), meta.size);
            return Ok(Ok(KeptSegment { id, key, size, crc32c: None, logged: false }));
        };
        warn!(recording = %segment.recording, %key, reason, "a segment in the store is not what was announced: it counts as missing");
        catalogue.mark(tenant, key).await?;
        // What cannot be deleted now, the sweep removes.
        if store.delete(key).await.is_ok() {
            catalogue.forget(tenant, key).await?;
        }
        Ok(Err(reason))
    }

    /// What is wrong with a segment's object of so many bytes.
    async fn flaw(&self, segment: &Segment, size: u64) -> Result<Option<String>, ReceiveError> {
        if let Some(announced) = segment.size.filter(|&announced| announced != size) {
            return Ok(Some(format!("it has {size} bytes, and {announced} were announced")));
        }
        let mut body = self.inner().store.get(&segment.key, Some(0..MAGIC)).await?;
        let mut begin = Vec::new();
        while let Some(bytes) = body.next().await {
            begin.extend_from_slice(&bytes?);
        }
        let other = || format!("it is no {} file, as was announced", segment.format.name());
        Ok((!begins(&begin, segment.format)).then(other))
    }
}

/// Whether a file of this kind begins so.
fn begins(bytes: &[u8], container: Container) -> bool {
    match container {
        Container::Wav => bytes.get(8..12) == Some(b"WAVE"),
        Container::Flac => bytes.starts_with(b"fLaC"),
        Container::Ogg => bytes.starts_with(b"OggS"),
        Container::Mp3 | Container::Webm | Container::Mp4 => false,
    }
}
