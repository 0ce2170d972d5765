//! What describes the media: the two kinds of `moov`, and the head of a fragment.

use super::Track;
use super::boxes::{full, longs, parent, plain, words};
use super::udta::udta;

/// The unit matrix, as every head has it (ISO 14496-12 §8.2.2).
const MATRIX: [u32; 9] = [1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30];
/// `und`, in five bits a letter.
const UNDETERMINED: u32 = 0x55C4;

/// Which packets lie where, in a complete file.
pub(super) struct Table<'a> {
    /// Sizes of all packets.
    pub(super) sizes: &'a [u16],
    /// Packets of every chunk but the last.
    pub(super) per_chunk: usize,
    /// Where the first fragment begins.
    pub(super) first: u64,
}

/// Of a file in fragments, of so many samples if that is known: as long either way.
pub(super) fn growing(track: &Track, samples: Option<u64>) -> Vec<u8> {
    let length = samples
        .map_or_else(|| plain(b"free", &[&[0; 12]]), |samples| full(b"mehd", 1, 0, &[&longs([samples])]));
    // Sounds depend on no other sample (§8.8.3.1).
    let defaults = full(b"trex", 0, 0, &[&words([1, 1, track.packet_samples, 0, 0x0200_0000])]);
    let tables = [
        full(b"stts", 0, 0, &[&words([0])]),
        full(b"stsc", 0, 0, &[&words([0])]),
        full(b"stsz", 0, 0, &[&words([0, 0])]),
        full(b"stco", 0, 0, &[&words([0])]),
    ];
    let samples = samples.unwrap_or(0);
    let trak = trak(track, samples, 0, &tables);
    let extends = parent(b"mvex", &[length, defaults]);
    parent(b"moov", &[mvhd(track, samples), trak, extends, udta(&track.tags, track.rate)])
}

/// Of a complete file.
pub(super) fn complete(track: &Track, samples: u64, table: &Table<'_>) -> Vec<u8> {
    let media = table.sizes.len() as u64 * u64::from(track.packet_samples);
    let trak = trak(track, samples, media, &table.boxes(track.packet_samples));
    parent(b"moov", &[mvhd(track, samples), trak, udta(&track.tags, track.rate)])
}

/// The head of a fragment, whose packets begin at `begin` and follow it in an `mdat`.
pub(super) fn fragment(number: u32, begin: u64, sizes: &[u16]) -> Vec<u8> {
    const OFFSET_AND_SIZES: u32 = 0x201;
    const FROM_MOOF: u32 = 0x2_0000;
    let listed: Vec<u8> = sizes.iter().flat_map(|&size| u32::from(size).to_be_bytes()).collect();
    let media = fragment_length(sizes.len()) as u32 + 8;
    let run = full(b"trun", 0, OFFSET_AND_SIZES, &[&words([sizes.len() as u32, media]), &listed]);
    let parts = [full(b"tfhd", 0, FROM_MOOF, &[&words([1])]), full(b"tfdt", 1, 0, &[&longs([begin])]), run];
    parent(b"moof", &[full(b"mfhd", 0, 0, &[&words([number])]), parent(b"traf", &parts)])
}

/// Bytes of the head of a fragment of so many packets.
const fn fragment_length(packets: usize) -> usize {
    8 + 16 + 8 + 16 + 20 + 20 + 4 * packets
}

impl Table<'_> {
    fn boxes(&self, packet_samples: u32) -> [Vec<u8>; 6] {
        let packets = self.sizes.len() as u32;
        let listed: Vec<u8> = self.sizes.iter().flat_map(|&size| u32::from(size).to_be_bytes()).collect();
        let places: Vec<u8> = self.places().flat_map(u64::to_be_bytes).collect();
        let chunks = (places.len() / 8) as u32;
        let times = if packets == 0 { words([0]) } else { words([1, packets, packet_samples]) };
        [
            full(b"stts", 0, 0, &[&times]),
            full(b"stsc", 0, 0, &[&self.runs(chunks)]),
            full(b"stsz", 0, 0, &[&words([0, packets]), &listed]),
            full(b"co64", 0, 0, &[&words([chunks]), &places]),
            // A decoder has to hear one packet before the one that is sought (§10.1).
            full(b"sgpd", 1, 0, &[b"roll", &words([2, 1]), &[0xFF, 0xFF]]),
            full(b"sbgp", 0, 0, &[b"roll", &words([1, packets, 1])]),
        ]
    }

    /// Where each chunk's media begins.
    fn places(&self) -> impl Iterator<Item = u64> {
        self.sizes.chunks(self.per_chunk).scan(self.first, |position, sizes| {
            let media = *position + fragment_length(sizes.len()) as u64 + 8;
            *position = media + sizes.iter().map(|&size| u64::from(size)).sum::<u64>();
            Some(media)
        })
    }

    /// How many packets the chunks have: all alike but the last.
    fn runs(&self, chunks: u32) -> Vec<u8> {
        let (packets, each) = (self.sizes.len() as u32, self.per_chunk as u32);
        match (packets / each, packets % each) {
            (0, 0) => words([0]),
            (_, 0) => words([1, 1, each, 1]),
            (0, rest) => words([1, 1, rest, 1]),
            (_, rest) => words([2, 1, each, 1, chunks, rest, 1]),
        }
    }
}

fn mvhd(track: &Track, samples: u64) -> Vec<u8> {
    let times = [&longs([0, 0])[..], &words([track.rate]), &longs([samples])].concat();
    let rest = [&words([1 << 16])[..], b"\x01\0", &[0; 10], &words(MATRIX), &[0; 24], &words([2])].concat();
    full(b"mvhd", 1, 0, &[&times, &rest])
}

/// The track: `samples` are played, of `media` that there are.
fn trak(track: &Track, samples: u64, media: u64, tables: &[Vec<u8>]) -> Vec<u8> {
    const SHOWN: u32 = 7;
    let times = [&longs([0, 0])[..], &words([1, 0]), &longs([samples])].concat();
    let rest = [&[0; 12][..], b"\x01\0\0\0", &words(MATRIX), &[0; 8]].concat();
    // What the encoder added in front is left out, and so is what is beyond the end.
    let edit = [&words([1])[..], &longs([samples, track.priming.into()]), &words([1 << 16])].concat();
    parent(
        b"trak",
        &[
            full(b"tkhd", 1, SHOWN, &[&times, &rest]),
            parent(b"edts", &[full(b"elst", 1, 0, &[&edit])]),
            mdia(track, media, tables),
        ],
    )
}

fn mdia(track: &Track, media: u64, tables: &[Vec<u8>]) -> Vec<u8> {
    let times =
        [&longs([0, 0])[..], &words([track.rate]), &longs([media]), &words([UNDETERMINED << 16])].concat();
    let itself = full(b"url ", 0, 1, &[]);
    let references = parent(b"dinf", &[full(b"dref", 0, 0, &[&words([1]), &itself])]);
    let mut stbl = vec![full(b"stsd", 0, 0, &[&words([1]), &mp4a(track)])];
    stbl.extend_from_slice(tables);
    let minf = [full(b"smhd", 0, 0, &[&[0; 4]]), references, parent(b"stbl", &stbl)];
    parent(
        b"mdia",
        &[
            full(b"mdhd", 1, 0, &[&times]),
            full(b"hdlr", 0, 0, &[&[0; 4], b"soun", &[0; 12], b"sound\0"]),
            parent(b"minf", &minf),
        ],
    )
}

/// The sample entry (ISO 14496-14 §5.6).
fn mp4a(track: &Track) -> Vec<u8> {
    let channels = u16::from(track.channels).to_be_bytes();
    let sound =
        [&[0; 6][..], &[0, 1], &[0; 8], &channels, &[0, 16], &[0; 4], &words([track.rate << 16])].concat();
    plain(b"mp4a", &[&sound, &full(b"esds", 0, 0, &[&elementary(track)])])
}

/// The descriptors of an AAC stream (ISO 14496-1 §7.2.6).
fn elementary(track: &Track) -> Vec<u8> {
    let specific = descriptor(5, &track.config);
    // AAC, an audio stream, no buffer size told, at most and on average so many bits a second.
    let rates = words([track.bitrate; 2]);
    let decoder = descriptor(4, &[&[0x40, 0x15, 0, 0, 0][..], &rates, &specific].concat());
    descriptor(3, &[&[0, 1, 0][..], &decoder, &descriptor(6, &[2])].concat())
}

/// A descriptor whose content is below 128 bytes.
fn descriptor(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, content.len() as u8], content].concat()
}
