//! The renderer: from tracks to the bytes of a file, a chunk at a time, in constant memory. One code for live, final
//! and on demand. A thread is borrowed for a chunk, never for as long as a reader takes.
//!
//! | module | makes |
//! |---|---|
//! | `track` | one track as received, from its log |
//! | `mix` | one or many tracks in a layout and a format, from their logs or their files in the store |
//! | `feed` | the packets that a mix is made of |
//! | `pcm` | one track's samples, while it is recorded |

mod feed;
mod mix;
mod pcm;
mod track;

pub(crate) use feed::Origin;
pub(crate) use mix::{Ending, Growth, Live, MixJob, MixTrack, Prepared, Since, drift_of, gapless};
pub(crate) use pcm::{LivePcm, Reached};
pub(crate) use track::{Job, TrackGrowth, follow, render, survey_chain};
