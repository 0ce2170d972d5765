//! What of a disk is left to live recordings: whatever can be made again, or sent again, stops before that.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The least that stays free on the disk of a folder.
#[derive(Clone, Debug)]
pub(crate) struct Spare(Arc<(PathBuf, u64)>);

impl Spare {
    /// `bytes` on the disk where `folder` lies, or will.
    pub(crate) fn new(folder: PathBuf, bytes: u64) -> Self {
        Self(Arc::new((folder, bytes)))
    }

    /// Whether less is free. Where the disk cannot say, it is not.
    pub(crate) fn is_short(&self) -> bool {
        let (folder, bytes) = &*self.0;
        let free = |stat: rustix::fs::StatVfs| stat.f_bavail.saturating_mul(stat.f_frsize);
        rustix::fs::statvfs(folder).is_ok_and(|stat| free(stat) < *bytes)
    }

    /// Nothing, where there is more.
    ///
    /// # Errors
    /// Where there is not.
    pub(crate) fn check(&self) -> io::Result<()> {
        let full = || {
            let what = "the disk is nearly full, and what is free is kept for live recordings: free some";
            io::Error::new(io::ErrorKind::StorageFull, what)
        };
        if self.is_short() { Err(full()) } else { Ok(()) }
    }
}
