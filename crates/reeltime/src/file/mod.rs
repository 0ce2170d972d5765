//! The recorder library in its smallest form: one call, one WAV file that grows on the local disk. No spool, no
//! catalogue, no async runtime; [`crate::recorder`] is the form that has them.
//!
//! ```text
//! ConversationRecorder ─┐                        wav-writer, each 200 ms: one write(2) a file
//!                       ├─▶ queue of the file ─▶ ────────────────────────────────────────────▶ {name}.wav
//! TranscribeRecorder ───┘   (256 KiB at most)    wav-sync, each second: fdatasync side by side
//! ```
//!
//! Invariants:
//! - A file appears under its name with its head already in it, and is only appended to. While it is open the head
//!   says "to the end of the file", so any player opens it at any instant; closing writes the exact sizes.
//! - An existing file is never overwritten: the next free of `name.wav`, `name-2.wav`, `name-3.wav`, … is taken.
//! - `kill -9` costs what was passed in during the last 200 ms, a power loss what came in the last 1.2 s.
//! - Whoever passes audio in copies it into the queue and never waits for the disk, unless the queue is full. Then
//!   [`ConversationRecorder::write_samples`] waits, and [`TranscribeSession::append`] drops and counts.
//! - An open file is locked (flock), which ends with its process, however that ends. So [`repair`] tells a file that
//!   a crash left open from one that is being written.
//!
//! There are two threads for each file system that is written to, whatever the number of recorders: a disk that
//! hangs holds up its own files and no others.

mod conversation;
mod encoded;
mod error;
mod growing;
mod place;
mod repair;
mod seal;
mod settings;
mod transcribe;
mod writer;

pub use conversation::ConversationRecorder;
pub use error::{FileError, TranscribeError};
pub use growing::LocalFileInfo;
pub use reeltime_core::media::Container;
pub use repair::{Outcome, Repair, repair};
pub use settings::TranscribeConfig;
pub use transcribe::{TranscribeRecorder, TranscribeSession};
