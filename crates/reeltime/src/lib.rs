//! Reeltime as a library: records live conversations, every speaker, in constant memory, losing nothing that it
//! received.
//!
//! | module | holds |
//! |---|---|
//! | [`recorder`] | the front door: sessions in, recordings out |
//! | [`mod@file`] | the recorder in its smallest form: one call, one WAV file on the local disk |
//! | [`source`] | adapters that bring media: WebSockets |
//! | [`spool`] | a log per track on the local disk; the only code that writes one |
//! | [`store`] | where finished files lie |
//! | [`catalogue`] | which recordings there are |

mod blocking;
pub mod catalogue;
mod crash;
mod encode;
pub mod error;
pub mod file;
pub mod recorder;
mod render;
pub mod source;
pub mod spool;
pub mod store;
mod sys;

pub use error::Error;
pub use file::{ConversationRecorder, TranscribeRecorder};
pub use recorder::{Recorder, RecorderConfig};
pub use reeltime_codec::Error as CodecError;
