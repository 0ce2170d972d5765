//! Segments: a speaker's utterances between silences, each a file of its own.
//!
//! | module | does |
//! |---|---|
//! | [`send`] | cuts what is being recorded, and sends it to the store or to another recorder's API |
//! | [`receive`] | takes them from others |

pub mod receive;
pub mod send;
