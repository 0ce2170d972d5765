//! Every kind of file, judged by other people's tools: where its sound begins and ends, to the sample, how loud it
//! is, what it says of itself, and what a cut leaves of it. A test fails where a tool is missing.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod cuts;
mod exact;
mod judges;
mod lossy;
mod make;
mod refused;
mod sound;
mod tags;
