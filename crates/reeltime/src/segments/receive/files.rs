//! The files of a recording, one by one: segments as they came, or tracks as received.

use std::collections::HashMap;

use reeltime_core::id::RecordingId;
use reeltime_core::keys::ObjectKey;

use super::ReceiveError;
use crate::catalogue::{FileFigures, ObjectKind, ObjectState};
use crate::recorder::Recorder;
use crate::store::ByteStream;

/// A file in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Its number in the recording: stays the same once the recording is over.
    pub number: u32,
    /// Where it lies.
    pub key: ObjectKey,
    /// Its size in bytes.
    pub size: u64,
    /// Its media type.
    pub mime: String,
}

impl StoredFile {
    /// Its name in an archive: the last two parts of its key, who and what.
    pub fn name(&self) -> String {
        let parts: Vec<_> = self.key.components().collect();
        parts[parts.len().saturating_sub(2)..].join("/")
    }
}

impl Recorder {
    /// The files of a recording that are complete in the store, by number; `None` where the tenant has no such
    /// recording.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    pub async fn stored_files(
        &self,
        tenant: &str,
        id: RecordingId,
    ) -> Result<Option<Vec<StoredFile>>, ReceiveError> {
        let catalogue = &self.inner().catalogue;
        if self.segments_of(tenant, id).await?.is_some() {
            let segments = catalogue.segments(tenant, id).await?.into_iter();
            let kept = segments.filter(|segment| segment.state.is_kept());
            let file = |segment: crate::catalogue::Segment| StoredFile {
                number: segment.number,
                key: segment.key,
                size: segment.size.unwrap_or(0),
                mime: segment.format.mime().to_owned(),
            };
            return Ok(Some(kept.map(file).collect()));
        }
        if catalogue.get(tenant, id).await?.is_none() {
            return Ok(None);
        }
        let mut masters = catalogue.objects(tenant, id).await?;
        masters.retain(|object| object.kind == ObjectKind::Master && object.state == ObjectState::Published);
        let file = |(number, object): (usize, crate::catalogue::Object)| StoredFile {
            number: u32::try_from(number).unwrap_or(u32::MAX),
            key: object.key,
            size: object.size.unwrap_or(0),
            mime: object.mime_type,
        };
        Ok(Some(masters.into_iter().enumerate().map(file).collect()))
    }

    /// What there is of the files of each of these recordings; nothing of those that have none.
    ///
    /// # Errors
    /// Where the catalogue cannot be read.
    pub async fn file_figures(
        &self,
        tenant: &str,
        recordings: &[RecordingId],
    ) -> Result<HashMap<RecordingId, FileFigures>, ReceiveError> {
        Ok(self.inner().catalogue.file_figures(tenant, recordings).await?)
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// Where the store has it not, or not now.
    pub async fn read_stored(&self, file: &StoredFile) -> Result<ByteStream, ReceiveError> {
        Ok(self.inner().store.get(&file.key, None).await?)
    }
}
