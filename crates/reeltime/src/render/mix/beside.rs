//! Peaks that are made of a mix while its file is: of the same samples, at no cost but theirs.

use std::io;

use reeltime_core::codec::Encoder;
use reeltime_core::peaks::PeaksEncoder;
use tracing::debug;

use super::{Made, Prepared};

/// Pixels are written so many bytes at a time.
const PIECE: usize = 4_096;

/// Peaks and where they go; nowhere once that failed.
pub(super) struct Beside {
    peaks: PeaksEncoder,
    pixels: Vec<u8>,
    made: Option<Box<dyn Made>>,
}

impl Prepared {
    /// Has peaks of the same samples made beside the file.
    pub(crate) fn beside(mut self, samples_per_pixel: u32, made: Box<dyn Made>) -> Self {
        let mut peaks = PeaksEncoder::new(&self.renderer.mixer().spec(), samples_per_pixel, 1.0);
        let mut pixels = Vec::new();
        peaks.start(&mut pixels);
        self.beside = Some(Beside { peaks, pixels, made: Some(made) });
        self
    }

    /// Makes what the next samples give; whether there is more.
    pub(super) fn mix(&mut self) -> io::Result<bool> {
        let stepped = self.renderer.step(&mut self.out.buffer);
        let more = stepped.map_err(|error| io::Error::other(format!("cannot render: {error}")))?;
        if let Some(beside) = &mut self.beside
            && let Err(error) = beside.take(self.renderer.samples(), more)
        {
            debug!(%error, "peaks are not made beside a mix");
            self.beside = None;
        }
        Ok(more)
    }
}

impl Beside {
    fn take(&mut self, samples: &[i16], more: bool) -> io::Result<()> {
        self.peaks.push(samples, &mut self.pixels).map_err(io::Error::other)?;
        if !more {
            self.peaks.finish(&mut self.pixels).map_err(io::Error::other)?;
        }
        let Some(made) = &mut self.made else { return Ok(()) };
        if !more || self.pixels.len() >= PIECE {
            made.bytes(&self.pixels)?;
            self.pixels.clear();
        }
        if !more {
            made.complete(self.peaks.head())?;
            // Asked once more, there is nothing more.
            self.made = None;
        }
        Ok(())
    }
}
