//! What can go wrong in a catalogue, in words that say what to do.

use std::path::PathBuf;

use reeltime_core::id::{NodeId, RecordingId};
use reeltime_core::keys::ObjectKey;

use super::types::RecordingState;

/// What can go wrong in a catalogue. No text holds a statement or a value of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// The tenant has no recording of this id.
    #[error("no recording {id} is known")]
    UnknownRecording {
        /// The id asked for.
        id: RecordingId,
    },
    /// The recording was deleted.
    #[error("recording {id} was deleted")]
    Deleted {
        /// The recording.
        id: RecordingId,
    },
    /// Another node has taken the recording over, and finishes it.
    #[error("recording {id} was taken over by node {by}, which finishes it")]
    TakenOver {
        /// The recording.
        id: RecordingId,
        /// Whose it is now.
        by: NodeId,
    },
    /// The id is in use for something else.
    #[error("recording {id} already belongs to another call")]
    Conflict {
        /// The recording.
        id: RecordingId,
    },
    /// The recording has ended and does not change its state any more.
    #[error("recording {id} is already {state}")]
    Final {
        /// The recording.
        id: RecordingId,
        /// The state it is in.
        state: RecordingState,
    },
    /// Another object has this key.
    #[error("the object key {key} is taken")]
    KeyTaken {
        /// The key.
        key: ObjectKey,
    },
    /// An object to publish is not staged for this recording.
    #[error("the object {key} cannot be published: it is not staged for this recording")]
    NotStaged {
        /// The key.
        key: ObjectKey,
    },
    /// A publication that contradicts itself.
    #[error("recording {id} cannot be published: {what}")]
    Incomplete {
        /// The recording.
        id: RecordingId,
        /// What is missing or too much.
        what: &'static str,
    },
    /// A number is beyond what the database holds.
    #[error("a number of {what} is too large for the catalogue")]
    TooLarge {
        /// What it counts.
        what: &'static str,
    },
    /// The catalogue was closed.
    #[error("the catalogue is closed")]
    Closed,
    /// Another process holds the database.
    #[error(
        "the catalogue {path} is locked by another process: end that process, or choose another data folder"
    )]
    Locked {
        /// The database file.
        path: PathBuf,
    },
    /// The file is not a database, or a damaged one.
    #[error(
        "the catalogue {path} is damaged or not a catalogue: move it away and restore a backup of it; \
         recordings and logs are not touched by this"
    )]
    Corrupt {
        /// The database file.
        path: PathBuf,
    },
    /// The file or its folder cannot be opened or written.
    #[error(
        "the catalogue {path} cannot be opened or written: check that its folder exists and belongs to this user"
    )]
    Unwritable {
        /// The database file.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("no space is left for the catalogue {path}: free some space")]
    Full {
        /// The database file.
        path: PathBuf,
    },
    /// The file was made by a later version.
    #[error("the catalogue {path} was made by a later version of this program: use that one")]
    Newer {
        /// The database file.
        path: PathBuf,
    },
    /// A row holds what no version of this program writes.
    #[error("the catalogue holds a {what} that cannot be read")]
    Unreadable {
        /// Which column.
        what: &'static str,
    },
    /// Anything else the database says, by its code alone: its texts may hold values.
    #[error("the catalogue {path} failed ({code})")]
    Database {
        /// The database file.
        path: PathBuf,
        /// The database's own code for it.
        code: String,
    },
}
