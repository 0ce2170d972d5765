//! What a `WebM` file says before its first cluster.

use super::ebml::{element, float, id, number, parent, void};
use super::{SEEK_PRE_ROLL, Stream, nanoseconds};
use crate::codec::{Chapter, Tags};
use crate::media::opus;

/// Who wrote the file.
const WRITER: &[u8] = b"reeltime";

/// The document's type; version 4 knows the codec's delay.
pub(super) fn ebml_head() -> Vec<u8> {
    parent(
        id::EBML,
        &[
            number(id::EBML_VERSION, 1),
            number(id::EBML_READ_VERSION, 1),
            number(id::MAX_ID_LENGTH, 4),
            number(id::MAX_SIZE_LENGTH, 8),
            element(id::DOC_TYPE, b"webm"),
            number(id::DOC_TYPE_VERSION, 4),
            number(id::DOC_TYPE_READ_VERSION, 2),
        ],
    )
}

/// Timestamps are milliseconds; so is the duration, which must not be 0, and has room kept until it is known.
pub(super) fn info(stream: &Stream, samples: Option<u64>) -> Vec<u8> {
    let duration = |samples: u64| float(id::DURATION, samples as f64 * 1_000.0 / f64::from(opus::RATE));
    let room = duration(1).len();
    parent(
        id::INFO,
        &[
            number(id::TIMESTAMP_SCALE, 1_000_000),
            samples.filter(|&samples| samples > 0).map_or_else(|| void(room), duration),
            stream.tags.title.as_ref().map_or_else(Vec::new, |title| element(id::TITLE, title.as_bytes())),
            element(id::MUXING_APP, WRITER),
            element(id::WRITING_APP, WRITER),
        ],
    )
}

pub(super) fn tracks(stream: &Stream) -> Vec<u8> {
    let audio =
        [float(id::SAMPLING_FREQUENCY, f64::from(opus::RATE)), number(id::CHANNELS, stream.channels.into())];
    let entry = [
        number(id::TRACK_NUMBER, 1),
        number(id::TRACK_UID, 1),
        number(id::TRACK_TYPE, 2), // audio
        number(id::FLAG_LACING, 0),
        element(id::CODEC_ID, b"A_OPUS"),
        element(id::CODEC_PRIVATE, &opus::head(stream.channels, stream.pre_skip, stream.rate)),
        number(id::CODEC_DELAY, nanoseconds(stream.pre_skip.into(), opus::RATE)),
        number(id::SEEK_PRE_ROLL, SEEK_PRE_ROLL),
        parent(id::AUDIO, &audio),
    ];
    parent(id::TRACKS, &[parent(id::TRACK_ENTRY, &entry)])
}

/// One edition; nothing where there are no chapters.
pub(super) fn chapters(stream: &Stream) -> Vec<u8> {
    let atoms = stream.tags.chapters.iter().enumerate();
    let atoms: Vec<_> = atoms.map(|(index, chapter)| atom(index, chapter, stream.rate)).collect();
    if atoms.is_empty() { atoms.concat() } else { parent(id::CHAPTERS, &[parent(id::EDITION_ENTRY, &atoms)]) }
}

fn atom(index: usize, chapter: &Chapter, rate: u32) -> Vec<u8> {
    let display = [element(id::CHAP_STRING, chapter.name.as_bytes()), element(id::CHAP_LANGUAGE, b"und")];
    let parts = [
        number(id::CHAPTER_UID, index as u64 + 1),
        number(id::CHAPTER_TIME_START, nanoseconds(chapter.at, rate)),
        parent(id::CHAPTER_DISPLAY, &display),
    ];
    parent(id::CHAPTER_ATOM, &parts)
}

/// Tags of the whole file; nothing where there are none. The title stands in [`info`].
pub(super) fn tags(tags: &Tags) -> Vec<u8> {
    // Of several tags of one name many players show one.
    let artists = Some(tags.artists.join(", ")).filter(|artists| !artists.is_empty());
    let mut simple: Vec<_> = artists.iter().map(|artists| tag("ARTIST", artists)).collect();
    simple.extend(tags.date.iter().map(|date| tag("DATE_RECORDED", date)));
    simple.extend(tags.comment.iter().map(|comment| tag("COMMENT", comment)));
    if simple.is_empty() {
        return simple.concat();
    }
    simple.insert(0, parent(id::TARGETS, &[]));
    parent(id::TAGS, &[parent(id::TAG, &simple)])
}

fn tag(name: &str, value: &str) -> Vec<u8> {
    let parts = [element(id::TAG_NAME, name.as_bytes()), element(id::TAG_STRING, value.as_bytes())];
    parent(id::SIMPLE_TAG, &parts)
}
