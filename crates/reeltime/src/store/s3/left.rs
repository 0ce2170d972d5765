//! Uploads that failed and could not be given up, since the store did not answer any more: once it does, they are.
//! What a process leaves behind when it ends is the bucket's own rule's.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reeltime_core::keys::ObjectKey;

use super::S3Store;
use crate::store::{PartStore, UploadId};

/// More are not remembered.
const MOST: usize = 1_000;

/// What all clones of a store have left behind, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Left(Arc<Mutex<VecDeque<(ObjectKey, UploadId)>>>);

impl Left {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(ObjectKey, UploadId)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl S3Store {
    /// Gives up an upload, now or later.
    pub(super) async fn give_up(&self, key: ObjectKey, upload: UploadId) {
        let passes = self.abort(&key, &upload).await.is_err_and(|error| error.is_passing());
        let mut left = self.left.lock();
        if passes && left.len() < MOST {
            left.push_back((key, upload));
        }
    }

    /// The store has just answered: gives up one of those that were left behind.
    pub(super) async fn give_up_one(&self) {
        let oldest = self.left.lock().pop_front();
        if let Some((key, upload)) = oldest {
            self.give_up(key, upload).await;
        }
    }
}
