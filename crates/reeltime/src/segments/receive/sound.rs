//! The sound of a segment's file, as 16 bit samples or, of G.711, as it is.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use ogg::PacketReader;
use reeltime_codec::{Flac, decoder};
use reeltime_core::codec::{DecodeError, Decoder};
use reeltime_core::media::wav::read::{self, NotWav, Samples};
use reeltime_core::media::{Codec, Container, Format, InvalidFormat, opus};

/// Of a WAV file, the sound begins within so many bytes.
const HEAD: u64 = 64 << 10;
/// Bytes of sound that are read from a WAV file at a time, about.
const PIECE: usize = 24 << 10;

/// Why a file holds no sound that can be recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SoundError {
    /// It cannot be read.
    #[error("the segment's file cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is no WAV, or one of another kind.
    #[error("the segment is not a WAV file that can be read: {0}")]
    Wav(#[from] NotWav),
    /// It is no FLAC or Ogg file with Opus, or a damaged one.
    #[error("the segment cannot be decoded: {0}")]
    Decode(#[from] DecodeError),
    /// Its rate or channels cannot be recorded.
    #[error("the segment cannot be recorded: {0}")]
    Format(#[from] InvalidFormat),
    /// This kind of file is not taken.
    #[error("segments are WAV, FLAC or Ogg (Opus), not {}", .0.title())]
    Container(Container),
    /// libopus refuses.
    #[error("the segment cannot be decoded: {0}")]
    Codec(#[from] reeltime_codec::Error),
}

/// A file's sound, read from its beginning.
pub(super) struct Sound {
    /// What [`Self::next`] gives.
    pub(super) format: Format,
    source: Source,
}

enum Source {
    /// Read as it is, or made into 16 bit.
    Wav {
        input: io::Take<File>,
        samples: Samples,
        buffer: Vec<u8>,
    },
    Flac(Box<Flac<io::BufReader<File>>>),
    Opus(Box<Opus>),
}

impl Sound {
    /// Reads the file's head. A file's name says nothing; its first bytes are to be those of `container`.
    pub(super) fn open(mut file: File, container: Container) -> Result<Self, SoundError> {
        file.rewind()?;
        match container {
            Container::Wav => wav(file),
            Container::Flac => {
                let flac = Flac::open(io::BufReader::new(file))?;
                let channels = u8::try_from(flac.channels()).unwrap_or(u8::MAX);
                let format = Format::new(Codec::S16le, flac.rate(), channels)?;
                Ok(Self { format, source: Source::Flac(Box::new(flac)) })
            }
            Container::Ogg => {
                let opus = Opus::open(file)?;
                let format = Format::new(Codec::S16le, opus::RATE, opus.decoder.channels())?;
                Ok(Self { format, source: Source::Opus(Box::new(opus)) })
            }
            other @ (Container::Mp3 | Container::Webm | Container::Mp4) => Err(SoundError::Container(other)),
        }
    }

    /// The next stretch, as the payload of packets: whole samples of all channels. Empty at the end.
    pub(super) fn next(&mut self) -> Result<Vec<u8>, SoundError> {
        let mut samples = Vec::new();
        match &mut self.source {
            Source::Wav { input, samples: kind, buffer } => {
                let align = kind.bytes() * usize::from(self.format.channels);
                let read = fill(input, buffer)?;
                let whole = &buffer[..read / align * align];
                if self.format.codec != Codec::S16le || *kind == Samples::S16 {
                    return Ok(whole.to_vec());
                }
                kind.to_s16(whole, &mut samples);
            }
            Source::Flac(flac) => while samples.is_empty() && flac.block(&mut samples)? {},
            Source::Opus(opus) => while samples.is_empty() && opus.packet(&mut samples)? {},
        }
        Ok(samples.into_iter().flat_map(i16::to_le_bytes).collect())
    }
}

fn wav(mut file: File) -> Result<Sound, SoundError> {
    let mut head = Vec::new();
    (&mut file).take(HEAD).read_to_end(&mut head)?;
    let found = read::find(&head)?;
    let codec = match found.samples {
        Samples::Alaw => Codec::Alaw,
        Samples::Mulaw => Codec::Mulaw,
        Samples::U8 | Samples::S16 | Samples::S24 | Samples::S32 | Samples::F32 | Samples::F64 => {
            Codec::S16le
        }
    };
    let format = Format::new(codec, found.rate, u8::try_from(found.channels).unwrap_or(u8::MAX))?;
    file.seek(SeekFrom::Start(found.start as u64))?;
    let align = found.samples.bytes() * usize::from(format.channels);
    let buffer = vec![0; PIECE / align * align];
    let input = file.take(found.bytes.unwrap_or(u64::MAX));
    Ok(Sound { format, source: Source::Wav { input, samples: found.samples, buffer } })
}

/// Reads until the buffer is full or the input at its end.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// Opus in Ogg (RFC 7845).
struct Opus {
    packets: PacketReader<io::BufReader<File>>,
    decoder: Box<dyn Decoder>,
    /// Samples per channel of what the encoder needed to begin, which are not heard.
    skip: u64,
    /// Samples per channel given, those that were not heard included.
    decoded: u64,
}

impl Opus {
    fn open(file: File) -> Result<Self, SoundError> {
        let mut packets = PacketReader::new(io::BufReader::new(file));
        let head = packets.read_packet().map_err(broken)?.map(|packet| packet.data).unwrap_or_default();
        let (channels, skip) =
            opus_head(&head).ok_or_else(|| no_opus("its first packet is no OpusHead of one stream"))?;
        let tags = packets.read_packet().map_err(broken)?;
        if !tags.is_some_and(|tags| tags.data.starts_with(b"OpusTags")) {
            return Err(no_opus("its second packet is no OpusTags"));
        }
        let decoder = decoder(Format::new(Codec::Opus, opus::RATE, channels)?)?;
        Ok(Self { packets, decoder, skip, decoded: 0 })
    }

    /// Appends what is heard of the next packet. False at the end.
    fn packet(&mut self, out: &mut Vec<i16>) -> Result<bool, SoundError> {
        let Some(packet) = self.packets.read_packet().map_err(broken)? else { return Ok(false) };
        let made = self.decoder.packet(&packet.data, out)?;
        let before = self.decoded;
        self.decoded += made;
        let channels = usize::from(self.decoder.channels());
        // The last page says how much of its last packet counts (RFC 7845 §4.4).
        let end = if packet.last_in_stream() { packet.absgp_page().min(self.decoded) } else { self.decoded };
        out.truncate(usize::try_from(end.saturating_sub(before)).unwrap_or(0) * channels);
        let silent = self.skip.saturating_sub(before).min(made);
        out.drain(..(usize::try_from(silent).unwrap_or(0) * channels).min(out.len()));
        Ok(true)
    }
}

/// Channels and pre-skip (RFC 7845 §5.1), where all is in one stream (mapping family 0).
fn opus_head(packet: &[u8]) -> Option<(u8, u64)> {
    let fields = packet.strip_prefix(b"OpusHead")?;
    let skip = u16::from_le_bytes(fields.get(2..4)?.try_into().ok()?);
    (*fields.get(10)? == 0).then_some((*fields.get(1)?, u64::from(skip)))
}

fn no_opus(why: &str) -> SoundError {
    SoundError::Decode(DecodeError(format!("it is no Ogg file with Opus: {why}")))
}

fn broken(error: ogg::OggReadError) -> SoundError {
    no_opus(&error.to_string())
}
