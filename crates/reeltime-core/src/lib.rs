//! The sans-IO core of Reeltime.
//!
//! **Nothing here knows a clock, a file, a socket or a random number.** Bytes, times and ids are
//! arguments; bytes and decisions are results. So every path can be driven by a test in virtual time.
//!
//! | module | holds |
//! |---|---|
//! | [`time`], [`id`] | the units: microseconds on a recording's clock, UTC labels, ids |
//! | [`media`] | codecs, their framing, and containers as bytes out (WAV, FLAC, Ogg, MP3, `WebM`, MP4) |
//! | [`codec`] | what the renderer asks of decoders and encoders |
//! | [`wire`] | dialects: bytes ↔ typed messages |
//! | [`session`] | one ingest connection's life as a state machine |
//! | [`log`] | the on-disk format of a track's log, and its recovery as a pure function |
//! | [`bundle`] | ranges of many logs in one object |
//! | [`timeline`] | where each packet belongs: order, duplicates, gaps, pauses |
//! | [`codec`] | what decoders and encoders are asked |
//! | [`render`] | placed frames to the bytes of a file: one track as received, or many mixed |
//! | [`peaks`] | what a waveform is drawn from |
//! | [`cuts`] | a track cut into segments at silences |
//! | [`manifest`] | the versioned description of a recording |
//! | [`keys`], [`signing`], [`range`] | object keys, signed URLs, the Range header |
//! | [`zip`] | an archive of files as they are |

pub mod bundle;
pub mod codec;
pub mod cuts;
pub mod id;
pub mod keys;
pub mod log;
pub mod manifest;
pub mod media;
pub mod peaks;
pub mod range;
pub mod render;
pub mod session;
pub mod signing;
pub mod time;
pub mod timeline;
pub mod wire;
pub mod zip;
