//! What the catalogue holds, as plain values.

use std::fmt;
use std::str::FromStr;

use reeltime_core::id::{NodeId, RecordingId, TrackId};
use reeltime_core::keys::ObjectKey;
use reeltime_core::time::{Micros, UtcMicros};
use serde::{Deserialize, Serialize};

pub use reeltime_core::manifest::State as RecordingState;

use crate::store::{PartTag, UploadId};

/// An enum whose variants have one name each, in the database and outside.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $text)] $variant),* }

        impl $name {
            /// Every one, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name in the database and in the API.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownName;
            fn from_str(text: &str) -> Result<Self, UnknownName> {
                Self::ALL.iter().copied().find(|one| one.as_str() == text).ok_or(UnknownName)
            }
        }
    };
}

pub(super) use named;

/// The text names none of the values it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such name")]
pub struct UnknownName;

named! {
    /// What an object is to its recording.
    ObjectKind {
        /// A track as received, in a file that any player opens.
        Master = "master",
        /// All tracks in one.
        Mix = "mix",
        /// The versioned description of the recording.
        Manifest = "manifest",
        /// Any other derived file.
        Rendition = "rendition",
    }
}

named! {
    /// Where an object is in its life.
    ObjectState {
        /// Entered; its bytes may be anywhere between absent and complete.
        Staged = "staged",
        /// Its bytes are complete and visible.
        Published = "published",
        /// Its bytes are to go.
        MarkedForDeletion = "marked_for_deletion",
    }
}

/// Which of a node's epochs are meant: those above `after`, up to `epoch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenure {
    /// The last one.
    pub epoch: u64,
    /// What lies at or below this has been taken over before, and is another's affair; 0 where nothing is.
    pub after: u64,
}

/// What was taken over: the bundles of a lost node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// The lost node.
    pub node: NodeId,
    /// Its epochs that are meant.
    pub tenure: Tenure,
}

/// A recording to enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecording {
    /// Its id.
    pub id: RecordingId,
    /// Whose it is.
    pub tenant: String,
    /// The call it belongs to, as its user names it.
    pub call: String,
    /// When it was created.
    pub created_at: UtcMicros,
}

/// A recording's step to another state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// The state to be in.
    pub state: RecordingState,
    /// When: the first step to `active` sets the start, the step to a final state the end.
    pub at: UtcMicros,
    /// Why, for people: what failed, or which limit was reached.
    pub reason: Option<String>,
}

/// A recording, as the catalogue has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Its id.
    pub id: RecordingId,
    /// Whose it is.
    pub tenant: String,
    /// The call it belongs to, as its user names it.
    pub call: String,
    /// The call's recording before this one.
    pub previous: Option<RecordingId>,
    /// Where it is in its life.
    pub state: RecordingState,
    /// Why it is in that state, where there is something to say.
    pub reason: Option<String>,
    /// When it was entered.
    pub created_at: UtcMicros,
    /// When its first packet arrived.
    pub started_at: Option<UtcMicros>,
    /// When it ended.
    pub ended_at: Option<UtcMicros>,
    /// How long it is on its own clock; known once it is published.
    pub duration: Option<Micros>,
    /// The size of its main object in bytes; known once it is published.
    pub size: Option<u64>,
    /// How many participants it has; 0 until it is published.
    pub participants: u32,
    /// Their names, in order; known once it is published.
    pub names: Vec<String>,
    /// Its main object: what plays when nothing else is asked for.
    pub key: Option<ObjectKey>,
    /// The main object's media type.
    pub mime_type: Option<String>,
    /// Its manifest, as JSON; absent in lists.
    pub manifest: Option<String>,
}

/// Which recordings to list. The default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of this call.
    pub call: Option<String>,
    /// Those in one of these states; empty for any.
    pub states: Vec<RecordingState>,
    /// Those with this text in the name of the call or of a participant; ASCII letters of either case.
    pub text: Option<String>,
    /// Those that are found by `text` as well, whatever their names: of live ones, only their recorder knows the
    /// participants.
    pub also: Vec<RecordingId>,
}

/// A page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Counted from 1; 0 is taken for 1.
    pub number: u32,
    /// How many items it has at most.
    pub size: u32,
}

/// One page of recordings and how many there are in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The page's recordings, newest first.
    pub items: Vec<Recording>,
    /// How many match the filter, on all pages.
    pub total: u64,
}

/// A call, as its user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its id.
    pub id: String,
    /// When it was first mentioned.
    pub created_at: UtcMicros,
    /// The recording its URL leads to: the newest that is published.
    pub recording: Option<RecordingId>,
    /// Where that recording can be fetched.
    pub recording_url: Option<String>,
}

/// An object to stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewObject {
    /// Whose it is.
    pub tenant: String,
    /// The recording it belongs to.
    pub recording: RecordingId,
    /// The track it holds, where it holds one.
    pub track: Option<TrackId>,
    /// What it is to its recording.
    pub kind: ObjectKind,
    /// Where its bytes will lie.
    pub key: ObjectKey,
    /// Its media type.
    pub mime_type: String,
    /// When it is staged.
    pub created_at: UtcMicros,
}

/// An object, as the catalogue has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Where its bytes lie.
    pub key: ObjectKey,
    /// The recording it belongs to.
    pub recording: RecordingId,
    /// The track it holds, where it holds one.
    pub track: Option<TrackId>,
    /// What it is to its recording.
    pub kind: ObjectKind,
    /// Its media type.
    pub mime_type: String,
    /// Its length in bytes; known once it is published.
    pub size: Option<u64>,
    /// The CRC32C of its bytes, where one was made.
    pub crc32c: Option<u32>,
    /// Where it is in its life.
    pub state: ObjectState,
    /// When it was staged.
    pub created_at: UtcMicros,
}

/// A staged object whose bytes now lie in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    /// Its key, as staged.
    pub key: ObjectKey,
    /// Its length in bytes.
    pub size: u64,
    /// The CRC32C of its bytes, where one was made.
    pub crc32c: Option<u32>,
}

/// An upload in parts that a store has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Whose it is.
    pub tenant: String,
    /// The recording that its object belongs to.
    pub recording: RecordingId,
    /// The object's key, as staged.
    pub key: ObjectKey,
    /// What the store calls it.
    pub id: UploadId,
    /// When it was begun.
    pub begun_at: UtcMicros,
}

/// A part that the store has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadedPart {
    /// What the store calls it.
    pub tag: PartTag,
    /// The CRC32C of its bytes.
    pub crc32c: u32,
    /// How many bytes it has.
    pub size: u32,
}

/// What publishing a recording takes. One with nothing recorded (no objects, no key, no duration) can only
/// be published as `failed` or `aborted`; every other one has at least its main object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Whose it is.
    pub tenant: String,
    /// The recording.
    pub recording: RecordingId,
    /// The final state it ends in.
    pub state: RecordingState,
    /// Why, where there is something to say.
    pub reason: Option<String>,
    /// When its first packet arrived.
    pub started_at: Option<UtcMicros>,
    /// When it ended.
    pub ended_at: UtcMicros,
    /// How long it is on its own clock.
    pub duration: Micros,
    /// How many participants it has.
    pub participants: u32,
    /// Its manifest, as JSON.
    pub manifest: String,
    /// Every object to make visible.
    pub objects: Vec<StoredObject>,
    /// The main one of `objects`: its size and media type become the recording's.
    pub main: Option<ObjectKey>,
    /// Where the recording can be fetched; becomes its call's URL.
    pub url: Option<String>,
}
