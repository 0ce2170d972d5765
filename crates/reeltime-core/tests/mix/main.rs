//! Mixes, to the sample.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod drift;
mod grow;
mod level;
mod live;
mod loss;
mod pauses;
mod places;
mod ranges;
mod rates;
mod voices;
