//! ID3v2.4 tags, and chapters in them (id3v2-chapters-1.0).

use crate::codec::{Chapter, Tags};

/// A tag; empty where there is nothing to tell. Chapters are counted at `rate`, and one ends where the next begins, the last one
/// with the sound's `samples`, where their number is known.
pub fn tag(tags: &Tags, rate: u32, samples: Option<u64>) -> Vec<u8> {
    let frames = frames(tags, rate, samples.unwrap_or(u64::MAX));
    if frames.is_empty() {
        return frames;
    }
    let mut out = b"ID3\x04\0\0".to_vec();
    out.extend_from_slice(&synchsafe(frames.len()));
    out.extend(frames);
    out
}

fn frames(tags: &Tags, rate: u32, end: u64) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(title) = &tags.title {
        out.extend(text(b"TIT2", title));
    }
    if !tags.artists.is_empty() {
        // Several strings would be the standard's way, of which many players show the first alone.
        out.extend(text(b"TPE1", &tags.artists.join(", ")));
    }
    if let Some(date) = &tags.date {
        out.extend(text(b"TDRC", &timestamp(date)));
    }
    if let Some(comment) = &tags.comment {
        out.extend(frame(b"COMM", &[b"\x03und\0", comment.as_bytes()].concat()));
    }
    if !tags.chapters.is_empty() {
        out.extend(frame(b"CTOC", &contents(tags.chapters.len())));
        for (index, chapter) in tags.chapters.iter().enumerate() {
            let next = tags.chapters.get(index + 1).map_or(end, |next| next.at);
            out.extend(frame(b"CHAP", &chapter_body(index, chapter, next, rate)));
        }
    }
    out
}

/// The table of contents: ordered, at the top, of at most 255 chapters.
fn contents(chapters: usize) -> Vec<u8> {
    let listed = chapters.min(255);
    let mut out = b"toc\0\x03".to_vec();
    out.push(listed as u8);
    (0..listed).for_each(|index| out.extend(id(index)));
    out
}

/// Its id, its beginning and end in ms, no places in bytes, and its name.
fn chapter_body(index: usize, chapter: &Chapter, next: u64, rate: u32) -> Vec<u8> {
    let ms = |at: u64| u32::try_from(u128::from(at) * 1_000 / u128::from(rate.max(1))).unwrap_or(u32::MAX);
    let mut out = id(index);
    out.extend_from_slice(&ms(chapter.at).to_be_bytes());
    out.extend_from_slice(&ms(next).to_be_bytes());
    out.extend_from_slice(&[0xFF; 8]);
    out.extend(text(b"TIT2", &chapter.name));
    out
}

fn id(index: usize) -> Vec<u8> {
    format!("ch{index}\0").into_bytes()
}

/// UTF-8.
fn text(name: &[u8; 4], text: &str) -> Vec<u8> {
    frame(name, &[b"\x03", text.as_bytes()].concat())
}

fn frame(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut out = name.to_vec();
    out.extend_from_slice(&synchsafe(content.len()));
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(content);
    out
}

/// A length of 28 bits, seven to a byte.
fn synchsafe(length: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (length >> shift & 0x7F) as u8)
}

/// The seconds of RFC 3339 as UTC without a zone, which is how the tag wants them; other text as it is.
fn timestamp(date: &str) -> String {
    date.parse::<jiff::Timestamp>()
        .map_or_else(|_| date.to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%S").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_tell_is_no_tag() {
        assert_eq!(tag(&Tags::default(), 16_000, None), b"");
    }

    #[test]
    fn times_are_utc_without_a_zone() {
        assert_eq!(timestamp("2026-05-04T12:00:01.5+02:00"), "2026-05-04T10:00:01");
        assert_eq!(timestamp("yesterday"), "yesterday");
    }

    #[test]
    fn lengths_have_seven_bits_a_byte() {
        assert_eq!(synchsafe(200), [0, 0, 1, 72]);
        let tags = Tags { title: Some("a".repeat(189)), ..Tags::default() };
        let bytes = tag(&tags, 16_000, None);
        assert_eq!(&bytes[..10], b"ID3\x04\0\0\0\0\x01\x48");
        assert_eq!(bytes.len(), 210);
    }
}
