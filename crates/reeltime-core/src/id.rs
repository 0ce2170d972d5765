//! Ids. Ours are UUIDs (version 7, so they sort by creation); what users name (`call`, `participant`,
//! `tenant`) stays a string and never becomes a path as it is (see [`crate::keys`]).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        /// Only the hyphenated form of 36 characters is read: an id from outside is compared as it is shown.
        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(s: &str) -> Result<Self, InvalidId> {
                if s.len() != 36 {
                    return Err(InvalidId);
                }
                Uuid::try_parse(s).map(Self).map_err(|_| InvalidId)
            }
        }
    };
}

id!(/// The durable product: tracks, timeline, retention.
    RecordingId);
id!(/// One participant's one media stream.
    TrackId);
id!(/// One ingest connection's life; outlives a reconnect by its resume token.
    SessionId);
id!(/// A data folder, and whoever serves from it.
    NodeId);

/// The text is not an id of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected 36 characters like 01890a5d-ac96-774b-bcce-b302099a8057")]
pub struct InvalidId;
