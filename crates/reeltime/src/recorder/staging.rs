//! Keys that are ours: an object is staged only where nothing lies in the store, so that what lies there later can be
//! told from what others put there.

use bytes::Bytes;
use futures_util::StreamExt;
use reeltime_core::keys::ObjectKey;
use tracing::warn;

use super::Recorder;
use crate::catalogue::{CatalogueError, NewObject};
use crate::error::Error;
use crate::store::{ByteStream, StoreError};

/// Forms of a key that are tried.
const MOST_FORMS: u32 = 1_000;

/// An object that is staged.
pub(crate) struct Staged {
    /// The form of its key.
    pub(crate) key: ObjectKey,
    /// Which form that is, from 1.
    pub(crate) form: u32,
    /// An earlier attempt staged it: it may have stored something. Otherwise the store was just asked, and has nothing.
    pub(crate) again: bool,
}

impl Recorder {
    /// Stages an object under the first form of its key, of those from `from` on, that is free in the catalogue and in
    /// the store, or that is this very object's already.
    ///
    /// # Errors
    /// Where either cannot be asked, or no form is free.
    pub(crate) async fn stage_free(&self, object: &NewObject, from: u32) -> Result<Staged, Error> {
        let (catalogue, store) = (&self.inner().catalogue, &self.inner().store);
        for form in from..=MOST_FORMS {
            let key = object.key.unique(form)?;
            let again = catalogue.key_taken(&key).await?;
            if !again && store.head(&key).await?.is_some() {
                // Somebody else's, of whom this catalogue knows nothing.
                continue;
            }
            match catalogue.stage(&NewObject { key: key.clone(), ..object.clone() }).await {
                Err(CatalogueError::KeyTaken { .. }) => {}
                staged => return Ok(staged.map(|()| Staged { key, form, again })?),
            }
        }
        Err(CatalogueError::KeyTaken { key: object.key.clone() }.into())
    }

    /// The size of an object that has these very bytes; `None` where it has others. It is read as far as they are alike.
    pub(super) async fn stored_alike(&self, key: &ObjectKey, body: ByteStream) -> Result<Option<u64>, Error> {
        let stored = match self.inner().store.get(key, None).await {
            // Where reading is not allowed, nobody can tell.
            Err(StoreError::NotFound { .. } | StoreError::Refused { .. }) => return Ok(None),
            stored => stored?,
        };
        Ok(alike(key, stored, body).await?)
    }

    /// Something else lies under the key of a staged object. What an earlier attempt left there goes, or waits to be
    /// deleted where that is refused; what somebody put there this moment stays, and the row goes. Gives the form of the
    /// key that is to be tried next.
    ///
    /// # Errors
    /// Where the store or the catalogue cannot be asked.
    pub(crate) async fn make_way(&self, object: &NewObject, staged: &Staged) -> Result<u32, Error> {
        let (catalogue, key) = (&self.inner().catalogue, &object.key);
        if staged.again {
            match self.inner().store.delete(key).await {
                Err(error @ StoreError::Refused { .. }) => {
                    warn!(recording = %object.recording, %error, "what an earlier attempt left stays until it can be deleted; another key is taken");
                    catalogue.mark(&object.tenant, key).await?;
                }
                deleted => return Ok(deleted.map(|()| staged.form)?),
            }
        } else {
            catalogue.mark(&object.tenant, key).await?;
            catalogue.forget(&object.tenant, key).await?;
        }
        Ok(staged.form + 1)
    }
}

/// The length of two bodies that are alike.
async fn alike(
    key: &ObjectKey,
    mut stored: ByteStream,
    mut body: ByteStream,
) -> Result<Option<u64>, StoreError> {
    let (mut size, mut left) = (0, Bytes::new());
    while let Some(piece) = body.next().await {
        let mut piece = piece.map_err(|source| StoreError::Body { key: key.clone(), source })?;
        while !piece.is_empty() {
            if left.is_empty() {
                let Some(more) = next(key, &mut stored).await? else { return Ok(None) };
                left = more;
            }
            let both = piece.len().min(left.len());
            if piece.split_to(both) != left.split_to(both) {
                return Ok(None);
            }
            size += both as u64;
        }
    }
    let over = left.is_empty() && next(key, &mut stored).await?.is_none();
    Ok(over.then_some(size))
}

/// The next bytes of what is stored; `None` at its end.
async fn next(key: &ObjectKey, stored: &mut ByteStream) -> Result<Option<Bytes>, StoreError> {
    while let Some(piece) = stored.next().await {
        let piece = piece.map_err(|error| StoreError::Unavailable {
            what: key.to_string(),
            why: format!("reading it broke off: {error}"),
        })?;
        if !piece.is_empty() {
            return Ok(Some(piece));
        }
    }
    Ok(None)
}
