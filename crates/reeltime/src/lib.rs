//! Reeltime as a library: records live conversations, every speaker, in constant memory, losing nothing that it
//! received.
//!
//! | module | holds |
//! |---|---|
//! | [`recorder`] | the front door: sessions in, recordings out |
//! | [`mod@file`] | the recorder in its smallest form: one call, one WAV file on the local disk |
//! | [`segments`] | a speaker's utterances, each a file of its own |
//! | [`source`] | adapters that bring media: WebSockets |
//! | [`spool`] | a log per track on the local disk; the only code that writes one |
//! | [`ship`] | the remote copy of what is being recorded, and taking over |
//! | [`store`] | where finished files lie |
//! | [`catalogue`] | which recordings there are |
//! | [`upload`] | getting files into a store that may be away |

mod blocking;
pub mod catalogue;
mod crash;
mod encode;
pub mod error;
pub mod file;
mod parts;
pub mod recorder;
mod render;
pub mod segments;
pub mod ship;
pub mod source;
mod spans;
mod spare;
pub mod spool;
pub mod store;
mod sys;
pub mod upload;

pub use error::Error;
pub use file::{ConversationRecorder, TranscribeRecorder};
pub use recorder::{Recorder, RecorderConfig};
pub use reeltime_codec::Error as CodecError;
