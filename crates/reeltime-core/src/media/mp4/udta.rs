//! Tags as iTunes writes them, chapters as Nero does: what players read.

use super::boxes::{full, parent, plain};
use crate::codec::{Chapter, Tags};

/// The box `udta`; nothing where there is nothing to tell. Chapters are counted at `rate`.
pub(super) fn udta(tags: &Tags, rate: u32) -> Vec<u8> {
    let items = items(tags);
    let mut parts = Vec::new();
    if !items.is_empty() {
        let handler = full(b"hdlr", 0, 0, &[&[0; 4], b"mdirappl", &[0; 9]]);
        parts.push(full(b"meta", 0, 0, &[&handler, &parent(b"ilst", &items)]));
    }
    if !tags.chapters.is_empty() {
        parts.push(chapters(&tags.chapters, rate));
    }
    if parts.is_empty() { parts.concat() } else { parent(b"udta", &parts) }
}

fn items(tags: &Tags) -> Vec<Vec<u8>> {
    let artists = Some(tags.artists.join(", ")).filter(|artists| !artists.is_empty());
    let fields = [
        (b"\xA9nam", &tags.title),
        (b"\xA9ART", &artists),
        (b"\xA9day", &tags.date),
        (b"\xA9cmt", &tags.comment),
    ];
    let present = fields.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?)));
    present
        .map(|(name, text)| plain(name, &[&plain(b"data", &[b"\0\0\0\x01\0\0\0\0", text.as_bytes()])]))
        .collect()
}

/// At most 255, with names of at most 255 bytes, at times in units of 100 ns.
fn chapters(chapters: &[Chapter], rate: u32) -> Vec<u8> {
    let count = chapters.len().min(255);
    let mut list = vec![0, 0, 0, 0, count as u8];
    for chapter in &chapters[..count] {
        let time = (u128::from(chapter.at) * 10_000_000 / u128::from(rate.max(1))) as u64;
        let name = &chapter.name[..chapter.name.floor_char_boundary(255)];
        list.extend_from_slice(&time.to_be_bytes());
        list.push(name.len() as u8);
        list.extend_from_slice(name.as_bytes());
    }
    full(b"chpl", 1, 0, &[&list])
}
