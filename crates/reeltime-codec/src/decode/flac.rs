//! FLAC files by claxon, block by block.

use std::io::Read;

use claxon::{Block, FlacReader};
use reeltime_core::codec::DecodeError;

/// Reads a FLAC file.
pub struct Flac<R: Read> {
    reader: FlacReader<R>,
    /// The memory of the block before.
    buffer: Vec<i32>,
}

impl<R: Read> Flac<R> {
    /// Reads the file's head.
    ///
    /// # Errors
    /// Where it is none, or one of more than 32 bit a sample.
    pub fn open(input: R) -> Result<Self, DecodeError> {
        Ok(Self { reader: FlacReader::new(input).map_err(told)?, buffer: Vec::new() })
    }

    /// Samples per second and channel.
    pub fn rate(&self) -> u32 {
        self.reader.streaminfo().sample_rate
    }

    /// Interleaved channels.
    pub fn channels(&self) -> u32 {
        self.reader.streaminfo().channels
    }

    /// Appends the next block as interleaved 16 bit samples: the upper 16 bits of longer ones. False at the end.
    ///
    /// # Errors
    /// Where the file is damaged, or ends in the middle of a block.
    pub fn block(&mut self, out: &mut Vec<i16>) -> Result<bool, DecodeError> {
        let (info, buffer) = (self.reader.streaminfo(), std::mem::take(&mut self.buffer));
        let Some(block) = self.reader.blocks().read_next_or_eof(buffer).map_err(told)? else {
            return Ok(false);
        };
        interleave(&block, info.bits_per_sample, out);
        self.buffer = block.into_buffer();
        Ok(true)
    }
}

fn interleave(block: &Block, bits: u32, out: &mut Vec<i16>) {
    for at in 0..block.duration() {
        for channel in 0..block.channels() {
            let sample = block.sample(channel, at);
            let scaled = if bits > 16 { sample >> (bits - 16) } else { sample << (16 - bits) };
            out.push(scaled as i16);
        }
    }
}

fn told(error: claxon::Error) -> DecodeError {
    DecodeError(error.to_string())
}
