//! Getting files into a store, for as long as it takes: what waits, in which order it is tried, and how long between.
//!
//! [`Uploader`] does it for any file, by library calls; the recorder publishes its recordings by the same rules. A store
//! that is away is asked by one attempt at a time, with growing and random waits; nothing is held in memory meanwhile,
//! since the files are on the disk. What is refused is said once and looked at again each minute.

mod job;
pub(crate) mod line;
mod retry;
mod scan;
mod transfer;
mod uploader;

pub use job::{EnqueueError, RecordingJob, UploadError, build_key};
pub use retry::Retry;
pub use scan::Scan;
pub use uploader::{Unfinished, Uploader, UploaderConfig};
