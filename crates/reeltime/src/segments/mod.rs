//! Segments: a speaker's utterances between silences, each a file of its own.

pub mod receive;
