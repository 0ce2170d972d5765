//! Segments: a speaker's utterances between silences, each a file of its own.
//!
//! | module | does |
//! |---|---|
//! | [`SegmentRecorder`] | records a conversation by library calls, and says what became of its segments |
//! | [`send`] | cuts what is being recorded, and sends it to the store or to another recorder's API |
//! | [`receive`] | takes them from others |

pub mod receive;
mod recorder;
pub mod send;

pub use recorder::{SegmentError, SegmentRecorder, SegmentSummary};
