//! A track's packets to the bytes of a file: placed, converted and wrapped, as they are pushed.
//!
//! ```text
//! packets ─▶ Placer ─▶ media and silence in order ─▶ WAV: as received, or linear with gain
//!                                                 └▶ Ogg: Opus as received
//! ```
//!
//! One call writes at most a packet and a chunk of silence, however long a gap is: what is left is written by
//! [`TrackRenderer::more`]. So memory stays constant, and whoever sends the bytes on can wait in between.

use std::collections::VecDeque;

use crate::log::PacketMeta;
use crate::media::{Codec, Format, g711, ogg, opus, wav};
use crate::timeline::{Counting, Layout, Placer, Sink};

/// Silence written by one call, in samples per channel: a multiple of every Opus packet's length, so that a long
/// gap is filled with frames of one size.
const CHUNK: u64 = 3 * opus::MAX_SAMPLES as u64;
/// Opus that is missing for longer is silent, in samples at 48 kHz: half a second. What is shorter is concealed, and so
/// is the silence of an encoder that speaks up every 400 ms.
const CONCEALED: u64 = opus::RATE as u64 / 2;

/// What to make of a track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Output {
    /// A WAV file; not from Opus.
    Wav {
        /// What its samples are.
        samples: Samples,
        /// What stands where media is missing.
        gaps: Gaps,
        /// What its head says about its size.
        sizes: Sizes,
    },
    /// Opus as received in Ogg; from Opus alone.
    Ogg {
        /// What stands where media is missing.
        gaps: Gaps,
        /// The stream's number in the file; any will do.
        serial: u32,
    },
}

impl Output {
    /// A track as it was received: PCM and G.711 as WAV with exact sizes, Opus as Ogg, gaps filled.
    pub const fn as_received(codec: Codec) -> Self {
        match codec {
            Codec::Opus => Self::Ogg { gaps: Gaps::Fill, serial: 1 },
            Codec::S16le | Codec::Mulaw | Codec::Alaw => {
                Self::Wav { samples: Samples::AsReceived, gaps: Gaps::Fill, sizes: Sizes::Exact }
            }
        }
    }

    /// The media type of the file.
    pub const fn mime(&self) -> &'static str {
        match self {
            Self::Wav { .. } => "audio/wav",
            Self::Ogg { .. } => "audio/ogg",
        }
    }
}

/// What a WAV file's samples are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Samples {
    /// As received: G.711 stays G.711.
    AsReceived,
    /// 16 bit linear, multiplied by `gain` (1.0 to 4.0; 1.0 is bit for bit) and saturating.
    Linear {
        /// The factor.
        gain: f32,
    },
}

/// What stands where media is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gaps {
    /// Silence of the same length: positions are times.
    Fill,
    /// Nothing: the file is as long as what was received.
    Cut,
}

/// What a WAV file's head says about its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// Exactly what the layout says.
    Exact,
    /// To the end, wherever that will be: for a file that follows a live session.
    Open,
}

/// Why an output cannot be made of a track.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum RenderError {
    /// WAV holds samples, an Opus track holds packets.
    #[error("an Opus track cannot be written as WAV without decoding it: ask for format=ogg")]
    WavFromOpus,
    /// Ogg holds Opus here, the track holds something else.
    #[error("a track of {0} cannot be written as Ogg without encoding it: ask for format=wav")]
    OggFrom(Codec),
    /// The gain is out of range or not a number.
    #[error("gain {0} is out of range: use 1.0 to 4.0")]
    Gain(f32),
}

/// Writes one track as one file.
pub struct TrackRenderer {
    placer: Placer,
    body: Body,
}

impl TrackRenderer {
    /// Of a track of this format, counted in this way, as far as `layout` describes it: packets beyond are
    /// ignored, so that a snapshot of a live track is exact.
    ///
    /// # Errors
    /// See [`RenderError`].
    pub fn new(
        format: Format,
        counting: Counting,
        layout: &Layout,
        output: Output,
    ) -> Result<Self, RenderError> {
        let writer = match output {
            Output::Wav { samples, gaps, sizes } => {
                Writer::Wav(WavWriter::new(format, layout, samples, gaps, sizes)?)
            }
            Output::Ogg { .. } if format.codec != Codec::Opus => {
                return Err(RenderError::OggFrom(format.codec));
            }
            Output::Ogg { serial, .. } => Writer::Ogg(Box::new(ogg::Muxer::new(format.channels, serial))),
        };
        let (Output::Wav { gaps, .. } | Output::Ogg { gaps, .. }) = output;
        let body = Body { writer, cut: gaps == Gaps::Cut, queue: VecDeque::new() };
        Ok(Self { placer: Placer::new(format, counting, layout), body })
    }

    /// Bytes of the whole file, where they are known before it is written: WAV with exact sizes.
    pub fn wav_len(&self) -> Option<u64> {
        match &self.body.writer {
            Writer::Wav(wav) => wav.head.file_len(),
            Writer::Ogg(_) => None,
        }
    }

    /// Leaves out the first `offset` bytes of a WAV file (its head counts), cheaply; call it first. Ogg, whose
    /// pages cannot be known without what is before, is not seekable: `false`.
    pub const fn seek(&mut self, offset: u64) -> bool {
        match &mut self.body.writer {
            Writer::Wav(wav) => {
                wav.skip = offset;
                true
            }
            Writer::Ogg(_) => false,
        }
    }

    /// Appends the file's head; call it once, before any packet.
    pub fn head(&mut self, out: &mut Vec<u8>) {
        match &mut self.body.writer {
            Writer::Wav(wav) => {
                let head = wav.head.to_bytes();
                wav.emit(&head, out);
            }
            Writer::Ogg(ogg) => ogg.head(out),
        }
    }

    /// Appends what the log's next packet gives. `true`: there is more before the next packet; call
    /// [`Self::more`] until it returns `false` (else the next call writes all of it at once).
    #[inline]
    pub fn packet(&mut self, meta: PacketMeta, payload: &[u8], out: &mut Vec<u8>) -> bool {
        while self.more(out) {}
        self.placer.packet(meta, payload, &mut Feed { body: &mut self.body, out });
        !self.body.queue.is_empty()
    }

    /// Appends some of what is left to write; whether there is still more.
    #[inline]
    pub fn more(&mut self, out: &mut Vec<u8>) -> bool {
        self.body.step(out);
        !self.body.queue.is_empty()
    }

    /// No more packets come: appends what is missing at the end and the file's tail. `true`: call
    /// [`Self::more`] until it returns `false`.
    #[must_use = "the file is complete only when `more` returns false"]
    pub fn finish(&mut self, out: &mut Vec<u8>) -> bool {
        while self.more(out) {}
        self.placer.finish(&mut Feed { body: &mut self.body, out });
        self.body.queue.push_back(Piece::Tail);
        self.more(out)
    }

    /// Goes on with a later layout of the same track; for [`Sizes::Open`] and Ogg, whose heads promise no size.
    pub fn extend(&mut self, layout: &Layout) {
        self.placer.extend(layout);
    }

    /// Whether what was written is what a renderer that begins with the latest layout writes, but for the sizes in the
    /// head.
    pub const fn is_steady(&self) -> bool {
        self.placer.is_steady()
    }
}

/// What is left to write.
enum Piece {
    Audio(Vec<u8>, u64),
    /// Samples per channel, and whether it is part of a stretch beyond [`CONCEALED`].
    Silence(u64, bool),
    Tail,
}

struct Body {
    writer: Writer,
    cut: bool,
    queue: VecDeque<Piece>,
}

impl Body {
    /// Writes a piece, or a chunk of it.
    #[inline]
    fn step(&mut self, out: &mut Vec<u8>) {
        let Some(piece) = self.queue.pop_front() else { return };
        match piece {
            Piece::Audio(payload, samples) => self.writer.audio(&payload, samples, out),
            Piece::Silence(samples, long) => {
                self.writer.silence(samples.min(CHUNK), long, out);
                if samples > CHUNK {
                    self.queue.push_front(Piece::Silence(samples - CHUNK, long));
                }
            }
            Piece::Tail => self.writer.tail(out),
        }
    }
}

/// Where the placer writes to: at once where nothing is left over, else to the queue.
struct Feed<'a> {
    body: &'a mut Body,
    out: &'a mut Vec<u8>,
}

impl Sink for Feed<'_> {
    #[inline]
    fn audio(&mut self, payload: &[u8], samples: u64) {
        if self.body.queue.is_empty() {
            self.body.writer.audio(payload, samples, self.out);
        } else {
            self.body.queue.push_back(Piece::Audio(payload.to_vec(), samples));
        }
    }

    fn silence(&mut self, samples: u64) {
        if self.body.cut {
            return;
        }
        let long = samples > CONCEALED;
        let samples = samples - self.body.writer.pass(samples);
        if samples > CHUNK || !self.body.queue.is_empty() {
            self.body.queue.push_back(Piece::Silence(samples, long));
        } else {
            self.body.writer.silence(samples, long, self.out);
        }
    }
}

enum Writer {
    Wav(WavWriter),
    Ogg(Box<ogg::Muxer>),
}

impl Writer {
    #[inline]
    fn audio(&mut self, payload: &[u8], samples: u64, out: &mut Vec<u8>) {
        match self {
            Self::Wav(wav) => wav.audio(payload, out),
            Self::Ogg(ogg) => ogg.packet(payload, samples, out),
        }
    }

    fn silence(&mut self, samples: u64, long: bool, out: &mut Vec<u8>) {
        match self {
            Self::Wav(wav) => wav.silence(samples, out),
            Self::Ogg(ogg) if long => ogg.silence(samples, out),
            Self::Ogg(ogg) => ogg.conceal(samples, out),
        }
    }

    /// How many of the next `samples` are left out by a seek; takes them as written.
    fn pass(&mut self, samples: u64) -> u64 {
        match self {
            Self::Wav(wav) => wav.pass(samples),
            Self::Ogg(_) => 0,
        }
    }

    fn tail(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Wav(wav) => wav.tail(out),
            Self::Ogg(ogg) => ogg.finish(out),
        }
    }
}

/// How a payload becomes a WAV file's samples.
enum Convert {
    Copy,
    Table(Box<[i16; 256]>),
    Gain(f32),
}

struct WavWriter {
    head: wav::Head,
    convert: Convert,
    /// The byte that is silence.
    zero: u8,
    /// Bytes still to be left out.
    skip: u64,
    /// Bytes of audio that the head still promises.
    left: u64,
    scratch: Vec<u8>,
}

impl WavWriter {
    fn new(
        format: Format,
        layout: &Layout,
        samples: Samples,
        gaps: Gaps,
        sizes: Sizes,
    ) -> Result<Self, RenderError> {
        let (coding, convert, zero) = conversion(format.codec, samples)?;
        let length = match gaps {
            Gaps::Fill => layout.samples,
            Gaps::Cut => layout.counters.media_samples,
        };
        let samples = (sizes == Sizes::Exact).then_some(length);
        let head = wav::Head { coding, rate: format.rate, channels: format.channels, samples };
        let left = head.data_len().unwrap_or(u64::MAX);
        Ok(Self { head, convert, zero, skip: 0, left, scratch: Vec::new() })
    }

    #[inline]
    fn audio(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        if let Convert::Copy = self.convert {
            return self.data(payload, out);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        match &self.convert {
            Convert::Copy => {}
            Convert::Table(table) => {
                scratch.extend(payload.iter().flat_map(|&byte| table[usize::from(byte)].to_le_bytes()));
            }
            Convert::Gain(gain) => amplify(payload, *gain, &mut scratch),
        }
        self.data(&scratch, out);
        self.scratch = scratch;
    }

    fn silence(&mut self, samples: u64, out: &mut Vec<u8>) {
        let bytes = samples.saturating_mul(self.head.block_align()).min(self.left);
        self.left -= bytes;
        let skipped = self.skip.min(bytes);
        self.skip -= skipped;
        out.resize(out.len() + (bytes - skipped) as usize, self.zero);
    }

    fn pass(&mut self, samples: u64) -> u64 {
        let align = self.head.block_align();
        let passed = samples.min(self.skip / align);
        let bytes = (passed * align).min(self.left);
        self.skip -= bytes;
        self.left -= bytes;
        passed
    }

    /// The head's promise is kept to the byte, whatever was pushed.
    fn tail(&mut self, out: &mut Vec<u8>) {
        if self.head.samples.is_some() {
            let align = self.head.block_align();
            self.silence(self.left / align, out);
            let padding = self.head.padding() as usize;
            self.emit(&[0][..padding], out);
        }
    }

    #[inline]
    fn data(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let length = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= length as u64;
        self.emit(&bytes[..length], out);
    }

    #[inline]
    fn emit(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.skip == 0 {
            return out.extend_from_slice(bytes);
        }
        let skipped = bytes.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
        self.skip -= skipped as u64;
        out.extend_from_slice(&bytes[skipped..]);
    }
}

/// What the file holds, how it is made, and its byte of silence.
fn conversion(codec: Codec, samples: Samples) -> Result<(wav::Coding, Convert, u8), RenderError> {
    let gain = match samples {
        Samples::AsReceived => None,
        Samples::Linear { gain } if (1.0..=4.0).contains(&gain) => Some(gain),
        Samples::Linear { gain } => return Err(RenderError::Gain(gain)),
    };
    let table = |table: &[i16; 256], gain| Convert::Table(Box::new(table.map(|sample| scale(sample, gain))));
    Ok(match (codec, gain) {
        (Codec::Opus, _) => return Err(RenderError::WavFromOpus),
        (Codec::S16le, None | Some(1.0)) => (wav::Coding::S16le, Convert::Copy, 0),
        (Codec::S16le, Some(gain)) => (wav::Coding::S16le, Convert::Gain(gain), 0),
        (Codec::Mulaw, Some(gain)) => (wav::Coding::S16le, table(&g711::MULAW, gain), 0),
        (Codec::Alaw, Some(gain)) => (wav::Coding::S16le, table(&g711::ALAW, gain), 0),
        (Codec::Mulaw, None) => (wav::Coding::Mulaw, Convert::Copy, g711::MULAW_SILENCE),
        (Codec::Alaw, None) => (wav::Coding::Alaw, Convert::Copy, g711::ALAW_SILENCE),
    })
}

/// 16 bit samples times `gain`.
fn amplify(payload: &[u8], gain: f32, out: &mut Vec<u8>) {
    let (samples, _) = payload.as_chunks::<2>();
    out.extend(samples.iter().flat_map(|&sample| scale(i16::from_le_bytes(sample), gain).to_le_bytes()));
}

/// One sample times `gain`, rounded half away from zero, saturating at 16 bit.
pub fn scale(sample: i16, gain: f32) -> i16 {
    // A float that is out of range becomes the nearest integer that is in it.
    (f32::from(sample) * gain).round() as i16
}
