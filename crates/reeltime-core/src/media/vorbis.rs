//! Vorbis comments: tags as FLAC and Ogg hold them (RFC 9639 §8.6, RFC 7845 §5.2).

use crate::codec::Tags;

/// Who wrote the file.
const VENDOR: &str = "reeltime";

/// The comment header: vendor, then `NAME=value` for everything that the tags have. Lengths are 32 bit,
/// little-endian. Chapters are `CHAPTERxxx=HH:MM:SS.mmm` and `CHAPTERxxxNAME`, counted at `rate`.
pub fn comments(tags: &Tags, rate: u32) -> Vec<u8> {
    let fields = fields(tags, rate);
    let mut out = Vec::new();
    put(&mut out, VENDOR);
    out.extend_from_slice(&(fields.len() as u32).to_le_bytes());
    fields.iter().for_each(|field| put(&mut out, field));
    out
}

fn fields(tags: &Tags, rate: u32) -> Vec<String> {
    let named = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name}={value}"));
    let mut fields: Vec<_> = named("TITLE", &tags.title).into_iter().collect();
    fields.extend(tags.artists.iter().map(|artist| format!("ARTIST={artist}")));
    fields.extend(named("DATE", &tags.date));
    fields.extend(named("COMMENT", &tags.comment));
    for (index, chapter) in tags.chapters.iter().enumerate() {
        fields.push(format!("CHAPTER{index:03}={}", clock(chapter.at, rate)));
        fields.push(format!("CHAPTER{index:03}NAME={}", chapter.name));
    }
    fields
}

/// `HH:MM:SS.mmm` of a place counted in samples.
fn clock(at: u64, rate: u32) -> String {
    let ms = (u128::from(at) * 1_000 / u128::from(rate.max(1))) as u64;
    let (seconds, minutes, hours) = (ms / 1_000 % 60, ms / 60_000 % 60, ms / 3_600_000);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{:03}", ms % 1_000)
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Chapter;

    #[test]
    fn no_tags_are_a_vendor_and_a_zero() {
        assert_eq!(comments(&Tags::default(), 16_000), b"\x08\0\0\0reeltime\0\0\0\0");
    }

    #[test]
    fn every_tag_is_a_field_and_every_chapter_two() {
        let tags = Tags {
            title: Some("call".into()),
            artists: vec!["Anna".into(), "Bo".into()],
            date: None,
            comment: Some("x=y".into()),
            chapters: vec![Chapter { at: 16_000 * 3_661 + 8, name: "hold".into() }],
        };
        let expected = [
            "TITLE=call",
            "ARTIST=Anna",
            "ARTIST=Bo",
            "COMMENT=x=y",
            "CHAPTER000=01:01:01.000",
            "CHAPTER000NAME=hold",
        ];
        assert_eq!(fields(&tags, 16_000), expected);
        assert_eq!(comments(&tags, 16_000)[12..16], 6_u32.to_le_bytes());
    }
}
