//! A WAV file from samples. Tags and moments follow the audio where its length is known, so that the head is the same
//! whatever there is to say. Else they stand before it: what follows would be taken for audio.

use super::{Coding, Head};
use crate::codec::{EncodeError, Encoder, Spec, Tags};

/// Writes 16 bit linear PCM. Where the number of samples is not known beforehand, there is room in the head for the
/// sizes of a file past 4 GiB.
pub struct Wav {
    head: Head,
    extra: Vec<u8>,
    written: u64,
    finished: bool,
}

impl Wav {
    /// A file of `spec`; without tags and with known samples it is head and audio alone.
    pub fn new(spec: &Spec) -> Self {
        let head =
            Head { coding: Coding::S16le, rate: spec.rate, channels: spec.channels, samples: spec.samples };
        Self { head, extra: chunks(&spec.tags), written: 0, finished: false }
    }

    const fn grows(&self) -> bool {
        self.head.samples.is_none()
    }

    /// The bytes of this head, in this file.
    fn headed(&self, head: Head) -> Vec<u8> {
        let behind = self.extra.len() as u64;
        if self.grows() { head.with(&self.extra, 0, true) } else { head.with(&[], behind, false) }
    }
}

impl Encoder for Wav {
    fn start(&mut self, out: &mut Vec<u8>) {
        out.extend(self.headed(self.head));
    }

    fn push(&mut self, samples: &[i16], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        self.written += samples.len() as u64 / u64::from(self.head.channels.max(1));
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.finished = true;
        if !self.grows() {
            out.extend_from_slice(&self.extra);
        }
        Ok(())
    }

    fn head(&self) -> Option<Vec<u8>> {
        let changed = self.finished && self.head.samples != Some(self.written);
        let head = Head { samples: Some(self.written), ..self.head };
        changed.then(|| self.headed(head))
    }
}

/// The chunks `LIST INFO`, `cue ` and `LIST adtl`, each only where there is something to say.
fn chunks(tags: &Tags) -> Vec<u8> {
    let mut out = list(b"INFO", &info(tags));
    if !tags.chapters.is_empty() {
        out.extend(chunk(b"cue ", &cues(tags)));
        out.extend(list(b"adtl", &labels(tags)));
    }
    out
}

fn info(tags: &Tags) -> Vec<u8> {
    let artists = Some(tags.artists.join(", ")).filter(|artists| !artists.is_empty());
    let fields =
        [(b"INAM", &tags.title), (b"IART", &artists), (b"ICRD", &tags.date), (b"ICMT", &tags.comment)];
    let present = fields.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?)));
    present.flat_map(|(name, text)| chunk(name, &terminated(text))).collect()
}

/// The places, in samples; what lies past 2³² cannot be said.
fn cues(tags: &Tags) -> Vec<u8> {
    let mut out = (tags.chapters.len() as u32).to_le_bytes().to_vec();
    for (index, chapter) in tags.chapters.iter().enumerate() {
        let at = u32::try_from(chapter.at).unwrap_or(u32::MAX).to_le_bytes();
        out.extend_from_slice(&(index as u32 + 1).to_le_bytes());
        out.extend_from_slice(&at);
        out.extend_from_slice(b"data\0\0\0\0\0\0\0\0");
        out.extend_from_slice(&at);
    }
    out
}

fn labels(tags: &Tags) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, chapter) in tags.chapters.iter().enumerate() {
        let mut label = (index as u32 + 1).to_le_bytes().to_vec();
        label.extend(terminated(&chapter.name));
        out.extend(chunk(b"labl", &label));
    }
    out
}

fn terminated(text: &str) -> Vec<u8> {
    text.bytes().filter(|&byte| byte != 0).chain([0]).collect()
}

fn list(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    if content.is_empty() { Vec::new() } else { chunk(b"LIST", &[kind, content].concat()) }
}

/// A chunk, padded to an even length.
fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut out = name.to_vec();
    out.extend_from_slice(&(content.len() as u32).to_le_bytes());
    out.extend_from_slice(content);
    if content.len() % 2 == 1 {
        out.push(0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_known_length_without_tags_is_the_plain_head_and_its_samples() {
        let spec = Spec { rate: 16_000, channels: 1, samples: Some(2), ..Spec::default() };
        let (mut wav, mut out) = (Wav::new(&spec), Vec::new());
        wav.start(&mut out);
        assert_eq!(out, wav.head.to_bytes());
        wav.push(&[1, -2], &mut out).unwrap();
        wav.finish(&mut out).unwrap();
        assert_eq!((&out[44..], wav.head()), (&[1, 0, 0xFE, 0xFF][..], None));
    }

    #[test]
    fn a_file_that_grew_past_4_gib_turns_its_room_into_sizes() {
        let spec = Spec { rate: 16_000, channels: 2, ..Spec::default() };
        let (mut wav, mut out) = (Wav::new(&spec), Vec::new());
        wav.start(&mut out);
        assert_eq!((out.len(), &out[12..16], &out[76..80]), (80, &b"JUNK"[..], &[0xFF; 4][..]));
        wav.finished = true;
        wav.written = 3_000_000_000;
        let head = wav.head().unwrap();
        assert_eq!((head.len(), &head[..4], &head[12..16]), (80, &b"RF64"[..], &b"ds64"[..]));
        assert_eq!(head[20..28], (12_000_000_000_u64 + 72).to_le_bytes());
        wav.written = 5;
        let head = wav.head().unwrap();
        assert_eq!((&head[..8], &head[76..]), (&b"RIFF\x5c\0\0\0"[..], &[20, 0, 0, 0][..]));
    }
}
