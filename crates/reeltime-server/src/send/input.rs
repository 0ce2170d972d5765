//! What is sent: a file that can be read again, or a pipe of which what is not acknowledged is held.

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use reeltime_core::media::{Codec, Format};
use tokio::time::timeout;

use super::held::{self, Held};
use super::opus::Packets;
use super::{ffmpeg, wav};
use crate::exit::Usage;

/// The most bytes of one message: an eighth of what a server takes by default.
const MESSAGE: usize = 64 << 10;
/// How long a pipe may take to fill a message before what is there is sent.
const FULL: Duration = Duration::from_millis(40);
/// Of stdin, what tells a container from raw samples.
const MAGIC: u64 = 12;

/// What begins otherwise than raw samples do, each at its place: Ogg, FLAC, MP3 with a tag, `WebM`, WAV of either order, AIFF
/// and MP4. MP3 without a tag begins as samples may.
const CONTAINERS: [(usize, &[u8]); 9] = [
    (0, b"OggS"),
    (0, b"fLaC"),
    (0, b"ID3"),
    (0, b"\x1aE\xdf\xa3"),
    (0, b"RIFF"),
    (0, b"RF64"),
    (0, b"RIFX"),
    (0, b"FORM"),
    (4, b"ftyp"),
];

/// Audio to send, by its place in samples per channel.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) format: Format,
    /// Samples per channel, where it is known; of what ffmpeg decodes, about.
    pub(super) total: Option<u64>,
    /// Bytes of one sample of all channels; of packets 1.
    block: usize,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// Its audio begins at byte `start` and is `bytes` long at most.
    File {
        file: File,
        start: u64,
        bytes: u64,
    },
    /// One a message.
    Packets(Box<Packets>),
    Pipe(Arc<Held>),
}

/// Keeps what is read of it, for whoever has to begin at its beginning.
struct Remembered<R> {
    seen: Vec<u8>,
    input: R,
}

impl<R: Read> Remembered<R> {
    fn again(self) -> impl Read + use<R> {
        Cursor::new(self.seen).chain(self.input)
    }
}

impl<R: Read> Read for Remembered<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.input.read(into)?;
        self.seen.extend_from_slice(&into[..read]);
        Ok(read)
    }
}

/// Raw samples, as the flags describe them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw(pub(super) Format);

impl Input {
    /// Opens a file: raw where it is said to be, else WAV and Opus in Ogg as they are, else through ffmpeg.
    pub(super) fn file(path: &Path, raw: Option<Raw>) -> anyhow::Result<Self> {
        let cannot = || format!("cannot read {}", path.display());
        let mut file = File::open(path).with_context(cannot)?;
        let about = file.metadata().with_context(cannot)?;
        if about.is_dir() {
            bail!("{} is a folder: name the files in it", path.display());
        }
        if !about.is_file() {
            return Self::pipe(file, raw, &path.display().to_string());
        }
        let input = match (raw, wav::read(&mut file).with_context(cannot)?) {
            (Some(Raw(format)), _) => Self::seekable(file, format, 0, about.len())?,
            (None, Some(wav::Wav { format: Some(format), start, bytes })) => {
                let there = about.len().saturating_sub(start);
                Self::seekable(file, format, start, bytes.unwrap_or(there).min(there))?
            }
            (None, _) => match Packets::open(&file).with_context(cannot)? {
                Some(packets) => Self::packets(packets)?,
                None => ffmpeg::file(path)?,
            },
        };
        match input.total {
            Some(0) => bail!("{} holds no audio", path.display()),
            _ => Ok(input),
        }
    }

    /// Opens stdin: raw where it is said to be, or begins as nothing that is known; else as [`Self::file`] does.
    pub(super) fn stdin(raw: Option<Raw>) -> anyhow::Result<Self> {
        Self::pipe(std::io::stdin(), raw, "stdin")
    }

    fn pipe(input: impl Read + Send + 'static, raw: Option<Raw>, name: &str) -> anyhow::Result<Self> {
        let cannot = || format!("cannot read {name}");
        let ended = |read: std::io::Result<()>| read.map_err(|error| format!("reading broke off: {error}"));
        if let Some(Raw(format)) = raw {
            return Self::piped(name, format, None, input, ended);
        }
        let mut input = Remembered { seen: Vec::new(), input };
        input.by_ref().take(MAGIC).read_to_end(&mut Vec::new()).with_context(cannot)?;
        if !is_container(&input.seen) {
            return Self::piped(name, default_format()?, None, input.again(), ended);
        }
        let mut head = Cursor::new(input.seen.clone()).chain(&mut input);
        match wav::read(&mut head).with_context(cannot)? {
            Some(wav::Wav { format: Some(format), bytes, .. }) => {
                let audio = input.input.take(bytes.unwrap_or(u64::MAX));
                Self::piped(name, format, bytes, audio, ended)
            }
            Some(wav::Wav { format: None, .. }) | None => ffmpeg::pipe(input.again(), name),
        }
    }

    /// Audio that is read once; `bytes` is about how much there will be, and `finish` judges its end. Its first sample is
    /// waited for: where none comes, no call is to be opened.
    pub(super) fn piped(
        name: &str,
        format: Format,
        bytes: Option<u64>,
        mut input: impl Read + Send + 'static,
        finish: impl FnOnce(std::io::Result<()>) -> Result<(), String> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let block = block(format)?;
        let mut first = Vec::with_capacity(block);
        let read = input.by_ref().take(block as u64).read_to_end(&mut first);
        if first.len() < block {
            finish(read.map(drop)).map_err(|why| anyhow::anyhow!("{name}: {why}"))?;
            bail!("{name} holds no audio");
        }
        let held = Held::fill(Cursor::new(first).chain(input), held::MOST, finish);
        Ok(Self { format, total: bytes.map(|bytes| bytes / block as u64), block, source: Source::Pipe(held) })
    }

    fn seekable(file: File, format: Format, start: u64, bytes: u64) -> anyhow::Result<Self> {
        let block = block(format)?;
        let bytes = bytes - bytes % block as u64;
        let total = Some(bytes / block as u64);
        Ok(Self { format, total, block, source: Source::File { file, start, bytes } })
    }

    fn packets(packets: Packets) -> anyhow::Result<Self> {
        let (format, total) = (packets.format()?, Some(packets.total()));
        Ok(Self { format, total, block: 1, source: Source::Packets(Box::new(packets)) })
    }

    /// Samples per channel in the longest message.
    pub(super) const fn most(&self) -> usize {
        MESSAGE / self.block
    }

    /// Whether it comes as it is made: then silence between is time that passed.
    pub(super) const fn is_pipe(&self) -> bool {
        matches!(self.source, Source::Pipe(_))
    }

    /// How many samples per channel a message that was read has.
    pub(super) fn samples(&self, audio: &[u8]) -> u64 {
        self.format.samples_in(audio).unwrap_or(0)
    }

    /// Whole samples from `at` on: at least `least`, unless it ends or stalls, and at most `most`; of packets, the one
    /// there. Empty at the end.
    ///
    /// # Errors
    /// Where it cannot be read (any more).
    pub(super) async fn read(&mut self, at: u64, least: usize, most: usize) -> anyhow::Result<Vec<u8>> {
        let (place, block) = (at * self.block as u64, self.block);
        let mut bytes = match &mut self.source {
            Source::File { file, start, bytes } => {
                let most = bytes.saturating_sub(place).min((most * block) as u64);
                // From the page cache, mostly; a thread for it would cost more than it saves.
                file.seek(SeekFrom::Start(*start + place))?;
                let mut read = Vec::with_capacity(most as usize);
                file.by_ref().take(most).read_to_end(&mut read)?;
                read
            }
            Source::Packets(packets) => packets.read(at)?,
            Source::Pipe(held) => match timeout(FULL, held.read(place, least * block, most * block)).await {
                Ok(read) => read?,
                Err(_) => held.read(place, block, most * block).await?,
            },
        };
        bytes.truncate(bytes.len() - bytes.len() % block);
        Ok(bytes)
    }

    /// What tells it which samples are safe.
    pub(super) fn release(&self) -> Release {
        let held = match &self.source {
            Source::File { .. } | Source::Packets(_) => None,
            Source::Pipe(held) => Some(Arc::clone(held)),
        };
        Release { held, block: self.block as u64 }
    }
}

/// Lets go of what is safe.
#[derive(Clone, Debug)]
pub(super) struct Release {
    held: Option<Arc<Held>>,
    block: u64,
}

impl Release {
    /// Every sample before `at` is safe.
    pub(super) fn before(&self, at: u64) {
        if let Some(held) = &self.held {
            held.release(at * self.block);
        }
    }
}

fn is_container(head: &[u8]) -> bool {
    CONTAINERS.iter().any(|(at, magic)| head.get(*at..).is_some_and(|rest| rest.starts_with(magic)))
}

/// What raw samples are where nothing is said of them: as the server takes them by default.
fn default_format() -> anyhow::Result<Format> {
    Ok(Format::new(Codec::S16le, 16_000, 1)?)
}

fn block(format: Format) -> anyhow::Result<usize> {
    let opus = || Usage("Opus comes in packets, not in samples: send an Ogg file".to_owned());
    Ok(format.block_align().ok_or_else(opus)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn raw(codec: Codec, channels: u8) -> Option<Raw> {
        Some(Raw(Format::new(codec, 8_000, channels).unwrap()))
    }

    #[tokio::test]
    async fn a_file_is_read_from_any_place_in_whole_samples() {
        let file = file(b"aabbccdde");
        let mut input = Input::file(file.path(), raw(Codec::S16le, 1)).unwrap();
        assert_eq!((input.total, input.is_pipe()), (Some(4), false));
        assert_eq!(input.read(2, 1, 100).await.unwrap(), b"ccdd");
        assert_eq!(input.read(0, 1, 2).await.unwrap(), b"aabb");
        assert_eq!(input.read(4, 1, 1).await.unwrap(), b"");
        assert_eq!(input.read(9, 1, 1).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn a_pipe_is_held_until_it_is_released() {
        let mut input = Input::pipe(&b"aabbccdde"[..], raw(Codec::Mulaw, 2), "x").unwrap();
        assert_eq!(input.read(0, 4, 100).await.unwrap(), b"aabbccdd");
        input.release().before(2);
        assert_eq!(input.read(2, 2, 2).await.unwrap(), b"ccdd");
        assert!(input.read(1, 1, 1).await.is_err());
    }

    #[tokio::test]
    async fn a_pipe_that_stalls_gives_what_it_has() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"aab").unwrap();
        let mut input = Input::pipe(reader, raw(Codec::S16le, 1), "x").unwrap();
        assert_eq!(input.read(0, 100, 100).await.unwrap(), b"aa");
        writer.write_all(b"bcc").unwrap();
        drop(writer);
        assert_eq!(input.read(1, 100, 100).await.unwrap(), b"bbcc");
    }

    #[tokio::test]
    async fn a_pipe_without_description_is_a_wav_or_raw() {
        use reeltime_core::media::wav::{Coding, Head};
        let head = Head { coding: Coding::Mulaw, rate: 8_000, channels: 1, samples: Some(4) }.to_bytes();
        let bytes = [head, b"abcdLIST".to_vec()].concat();
        let mut wav = Input::pipe(Cursor::new(bytes), None, "x").unwrap();
        assert_eq!((wav.format, wav.total), (Format::new(Codec::Mulaw, 8_000, 1).unwrap(), Some(4)));
        assert_eq!(wav.read(0, 100, 100).await.unwrap(), b"abcd");
        let mut short = Input::pipe(&b"aabb"[..], None, "x").unwrap();
        assert_eq!(short.format, default_format().unwrap());
        assert_eq!(short.read(0, 2, 2).await.unwrap(), b"aabb");
    }

    #[test]
    fn what_begins_as_a_container_is_not_taken_for_samples() {
        for head in [&b"OggS\0\x02"[..], b"fLaC", b"ID3\x04", b"\0\0\0\x20ftypM4A ", b"RIFF\0\0\0\0WAVE"] {
            assert!(is_container(head), "{head:?}");
        }
        for head in [&b""[..], b"OggR", b"ftyp\0\0\0\0", b"\0\0\0\0\0\0\0\0\0\0\0\0"] {
            assert!(!is_container(head), "{head:?}");
        }
    }

    #[test]
    fn a_pipe_without_a_whole_sample_is_refused() {
        for bytes in [&b""[..], b"a"] {
            let refused = format!("{:#}", Input::pipe(bytes, None, "stdin").unwrap_err());
            assert_eq!(refused, "stdin holds no audio");
        }
    }

    #[test]
    fn a_folder_or_nothing_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let refused = Input::file(folder.path(), None).unwrap_err();
        assert!(refused.to_string().contains("is a folder"), "{refused}");
        let refused = Input::file(&folder.path().join("x.wav"), None).unwrap_err();
        assert!(refused.to_string().contains("x.wav"), "{refused}");
    }
}
