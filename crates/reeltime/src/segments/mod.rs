//! Segments: a speaker's utterances as files of their own, which leave one by one.
//!
//! | module | does |
//! |---|---|
//! | [`send`] | cuts what is being recorded, and sends it to the store or to another recorder's API |

pub mod send;
