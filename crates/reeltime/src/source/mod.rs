//! Sources: the adapters that bring media. A source is the transport's shell around an
//! [`Ingest`](crate::recorder::Ingest); what its bytes mean is decided in `reeltime_core::wire`.

mod connection;
pub(crate) mod low_water;
pub mod pcm;
mod socket;
pub mod transcribe;

pub use crate::sys::set_receive_low_water;
pub use socket::{Handshake, Socket};
