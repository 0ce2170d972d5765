//! Peaks that are made of a mix while its file is: of the same samples, at no cost but theirs.

use std::io;

use reeltime_core::peaks::PeaksEncoder;
use tracing::debug;

use super::Prepared;
use crate::encode::{Encoding, Made};

impl Prepared {
    /// Has peaks of the same samples made beside the file.
    pub(crate) fn beside(mut self, samples_per_pixel: u32, made: Box<dyn Made>) -> Self {
        let peaks = PeaksEncoder::new(&self.renderer.mixer().spec(), samples_per_pixel, 1.0);
        self.beside = Some(Encoding::begin(Box::new(peaks), made));
        self
    }

    /// Makes what the next samples give; whether there is more.
    pub(super) fn mix(&mut self) -> io::Result<bool> {
        let stepped = self.renderer.step(&mut self.out.buffer);
        let more = stepped.map_err(|error| io::Error::other(format!("cannot render: {error}")))?;
        if let Err(error) = self.draw(more) {
            debug!(%error, "peaks are not made beside a mix");
        }
        Ok(more)
    }

    /// Draws these samples; no more after the last ones, or once it failed.
    fn draw(&mut self, more: bool) -> io::Result<()> {
        let Some(mut beside) = self.beside.take() else { return Ok(()) };
        beside.push(self.renderer.samples())?;
        if more {
            self.beside = Some(beside);
        } else {
            beside.finish()?;
        }
        Ok(())
    }
}
