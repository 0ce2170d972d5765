//! A recording's logs to the bytes of files.
//!
//! | module | makes |
//! |---|---|
//! | [`TrackRenderer`] | one track as received: bit for bit, WAV or Ogg |
//! | [`TrackPcm`] | one track's samples on its own timebase: decoded, losses concealed |
//! | [`Mixer`], [`MixRenderer`] | one or many tracks in an [`Arrangement`]: at one rate, on one clock, never clipping |
//! | [`LoudnessMeter`], [`DriftMeter`] | what a mixer is told of a track beforehand: its gain, and its clock's drift |

mod casting;
mod lane;
mod limiter;
mod loudness;
mod mix;
mod pcm;
mod place;
mod plan;
mod resample;
mod sides;
mod track;

pub use crate::timeline::{Drift, DriftMeter};
pub use loudness::LoudnessMeter;
pub use mix::{MixRenderer, Mixer, Need};
pub use pcm::{Run, TrackPcm};
pub use plan::{Arrangement, MixError, Pauses, Plan, Sides, TrackInput};
pub use track::{Gaps, Output, RenderError, Samples, Sizes, TrackRenderer, scale};
