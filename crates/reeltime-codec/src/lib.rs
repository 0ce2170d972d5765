//! Encoders and decoders, behind the traits of [`reeltime_core::codec`].
//!
//! | file | codec | by |
//! |---|---|---|
//! | WAV, FLAC | PCM, FLAC | the core |
//! | Ogg, `WebM` | Opus | libopus, built in |
//! | MP4 | AAC-LC | `syom`, in Rust |
//! | MP3 | layer III | LAME, loaded when it is first asked for (`libmp3lame.so.0`) |
//!
//! ```
//! use reeltime_codec::{encoder, rate_for};
//! use reeltime_core::codec::Spec;
//! use reeltime_core::media::Container;
//!
//! let rate = rate_for(Container::Ogg, 44_100);
//! let mut ogg = encoder(Container::Ogg, &Spec { rate, channels: 1, ..Spec::default() })?;
//! let mut file = Vec::new();
//! ogg.start(&mut file);
//! ogg.push(&[0; 48_000], &mut file)?;
//! ogg.finish(&mut file)?;
//! assert_eq!((rate, &file[..4]), (48_000, &b"OggS"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod decode;
mod encode;
mod error;
mod lame;

pub use decode::{Flac, decoder};
pub use encode::{encoder, most_channels, rate_for};
pub use error::Error;
