//! Opus in Ogg (RFC 7845, RFC 3533), append-only: a file that is cut anywhere plays to the cut.
//!
//! Packets are stored as they were received; the first samples that a decoder gives are its encoder's delay, which a
//! player leaves out ([`PRE_SKIP`], or what the encoder says of itself). Missing media is filled with packets: with
//! such that ask the decoder to conceal it where it is short, with silence where it is long; never by jumping the
//! granule position (RFC 7845 §4.1).

use ogg::writing::{PacketWriteEndInfo, PacketWriter};

use super::{opus, vorbis};
use crate::codec::Tags;

/// Samples at the start that players leave out (RFC 7845 §4.2): the delay of libopus at its defaults, since a sender
/// does not tell its own.
pub const PRE_SKIP: u16 = 312;
/// Samples after which a page is closed: one second.
const PAGE_SAMPLES: u64 = opus::RATE as u64;
/// What stands for missing media before any packet came: full band, 20 ms, mono.
const DEFAULT_TOC: u8 = 0xF8;

/// Writes one logical stream; every call appends whole pages to its `out`.
pub struct Muxer {
    pages: PacketWriter<'static, Vec<u8>>,
    serial: u32,
    opus_head: Vec<u8>,
    comments: Vec<u8>,
    /// The newest packet and the samples up to its end: held back, since the last one must be marked as such.
    held: Option<(Vec<u8>, u64)>,
    samples: u64,
    page_start: u64,
    toc: u8,
    /// Missing samples not filled yet: less than the shortest frame of the stream's mode.
    owed: u64,
}

impl Muxer {
    /// A stream of 1 or 2 channels. `serial` tells it from other streams in the same file; any number will do.
    pub fn new(channels: u8, serial: u32) -> Self {
        Self::encoded(channels, serial, PRE_SKIP, opus::RATE, &Tags::default())
    }

    /// A stream of which more is known: the delay of its encoder, in samples at 48 kHz, and its tags, whose chapters
    /// are counted at `rate`, the rate of what was encoded.
    pub fn encoded(channels: u8, serial: u32, pre_skip: u16, rate: u32, tags: &Tags) -> Self {
        let toc = if channels > 1 { DEFAULT_TOC | 4 } else { DEFAULT_TOC };
        let pages = PacketWriter::new(Vec::new());
        let opus_head = opus::head(channels, pre_skip, rate);
        let comments = vorbis::comments(tags, rate);
        Self { pages, serial, opus_head, comments, held: None, samples: 0, page_start: 0, toc, owed: 0 }
    }

    /// The two header pages: `OpusHead` and `OpusTags` (RFC 7845 §5).
    pub fn head(&mut self, out: &mut Vec<u8>) {
        self.write(self.opus_head.clone(), PacketWriteEndInfo::EndPage, 0);
        self.write([b"OpusTags", self.comments.as_slice()].concat(), PacketWriteEndInfo::EndPage, 0);
        out.append(self.pages.inner_mut());
    }

    /// Appends a packet of `samples` samples per channel.
    pub fn packet(&mut self, packet: &[u8], samples: u64, out: &mut Vec<u8>) {
        if let Some(&toc) = packet.first() {
            self.toc = toc;
            self.push(packet.to_vec(), samples);
            out.append(self.pages.inner_mut());
        }
    }

    /// Fills `samples` missing samples per channel with what a decoder makes of those before. What is shorter than a
    /// frame of the stream's mode is carried over to the next call or the end, so that nothing adds up.
    pub fn conceal(&mut self, samples: u64, out: &mut Vec<u8>) {
        self.fill(samples, out, |toc, owed| opus::filler_within(toc, owed).map(Vec::from));
    }

    /// Fills `samples` missing samples per channel with silence; what is shorter than a frame is carried over.
    pub fn silence(&mut self, samples: u64, out: &mut Vec<u8>) {
        self.fill(samples, out, |toc, owed| opus::silence_within(toc, owed).map(Vec::from));
    }

    /// `filler`: the longest packet of the last TOC byte's kind that is no longer than so many samples.
    fn fill(&mut self, samples: u64, out: &mut Vec<u8>, filler: impl Fn(u8, u64) -> Option<Vec<u8>>) {
        self.owed += samples;
        while let Some(packet) = filler(self.toc, self.owed) {
            let length = u64::from(opus::frame_samples(packet[0]));
            self.owed -= length;
            self.push(packet, length);
        }
        out.append(self.pages.inner_mut());
    }

    /// Ends the stream: its length is exactly the samples of all calls (end trimming, RFC 7845 §4.4).
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let end = self.samples + self.owed;
        if self.owed > 0 || self.held.is_none() {
            let filler = opus::shortest_filler(self.toc);
            self.push(filler.to_vec(), u64::from(opus::frame_samples(filler[0])));
        }
        self.owed = 0;
        self.finish_at(end, out);
    }

    /// Ends the stream after `end` samples per channel, pre-skip counted, which lie in its last packet: what that one
    /// has beyond is not played.
    pub fn finish_at(&mut self, end: u64, out: &mut Vec<u8>) {
        if let Some((packet, _)) = self.held.take() {
            self.write(packet, PacketWriteEndInfo::EndStream, end);
        }
        out.append(self.pages.inner_mut());
    }

    fn push(&mut self, packet: Vec<u8>, samples: u64) {
        self.samples += samples;
        let Some((packet, end)) = self.held.replace((packet, self.samples)) else { return };
        if end - self.page_start >= PAGE_SAMPLES {
            self.page_start = end;
            self.write(packet, PacketWriteEndInfo::EndPage, end);
        } else {
            self.write(packet, PacketWriteEndInfo::NormalPacket, end);
        }
    }

    fn write(&mut self, packet: Vec<u8>, end: PacketWriteEndInfo, granule: u64) {
        // A `Vec` takes every write.
        let _ = self.pages.write_packet(packet, self.serial, end, granule);
    }
}

#[cfg(test)]
mod tests {
    use ogg::reading::PacketReader;

    use super::*;

    const TOC: u8 = 0x48; // SILK, wide band, 20 ms, mono

    fn read(bytes: &[u8]) -> Vec<ogg::Packet> {
        let mut reader = PacketReader::new(std::io::Cursor::new(bytes));
        std::iter::from_fn(|| reader.read_packet().ok().flatten()).collect()
    }

    fn stream(write: impl FnOnce(&mut Muxer, &mut Vec<u8>)) -> Vec<u8> {
        let (mut muxer, mut out) = (Muxer::new(1, 7), Vec::new());
        muxer.head(&mut out);
        write(&mut muxer, &mut out);
        muxer.finish(&mut out);
        out
    }

    #[test]
    fn packets_come_back_as_they_were_on_pages_of_a_second() {
        let bytes = stream(|muxer, out| {
            for index in 0..120_u8 {
                muxer.packet(&[TOC, index], 960, out);
            }
        });
        let packets = read(&bytes);
        assert_eq!(packets[0].data, b"OpusHead\x01\x01\x38\x01\x80\xbb\0\0\0\0\0");
        assert_eq!(packets[1].data, b"OpusTags\x08\0\0\0reeltime\0\0\0\0");
        let audio = &packets[2..];
        assert!(audio.iter().enumerate().all(|(index, packet)| packet.data == [TOC, index as u8]));
        let ends: Vec<_> = audio.iter().filter(|p| p.last_in_page()).map(ogg::Packet::absgp_page).collect();
        assert_eq!(ends, [48_000, 96_000, 115_200]);
        assert_eq!(audio.iter().filter(|p| p.last_in_stream()).count(), 1);
        assert!(audio[119].last_in_stream());
    }

    #[test]
    fn missing_media_is_filled_with_packets_of_the_last_mode() {
        let bytes = stream(|muxer, out| {
            muxer.packet(&[TOC | 3, 1, 9], 960, out);
            muxer.conceal(960 + 480 + 100, out);
            muxer.packet(&[TOC, 1], 960, out);
            muxer.conceal(380, out);
            muxer.packet(&[TOC, 2], 960, out);
        });
        let data: Vec<_> = read(&bytes).into_iter().skip(2).map(|packet| packet.data).collect();
        let short = TOC - 8; // 10 ms
        assert_eq!(
            data,
            [vec![TOC | 3, 1, 9], vec![TOC], vec![short], vec![TOC, 1], vec![short], vec![TOC, 2]]
        );
    }

    #[test]
    fn a_long_silence_is_packets_of_silence_to_the_shortest_frame() {
        let bytes = stream(|muxer, out| {
            muxer.packet(&[TOC, 1], 960, out);
            muxer.silence(2 * 960 + 480 + 120 + 100, out);
            muxer.packet(&[TOC, 2], 960, out);
        });
        let data: Vec<_> = read(&bytes).into_iter().skip(2).map(|packet| packet.data).collect();
        let silence = |toc| vec![toc, 0xFF, 0xFE];
        let filled = [silence(0xF8), silence(0xF8), silence(0xF0), silence(0xE0)];
        assert_eq!(data[1..5], filled);
        assert_eq!((&data[0], &data[5]), (&vec![TOC, 1], &vec![TOC, 2]));
        // What is left over is put behind.
        assert_eq!(read(&bytes).last().unwrap().absgp_page(), 2 * 960 + 2 * 960 + 480 + 120 + 100);
    }

    #[test]
    fn the_length_is_exact_whatever_the_frames_are() {
        for (silence, length) in [(0, 960), (1, 961), (480, 1_440), (48_001, 48_961)] {
            let bytes = stream(|muxer, out| {
                muxer.packet(&[TOC, 1], 960, out);
                muxer.conceal(silence, out);
            });
            assert_eq!(read(&bytes).last().unwrap().absgp_page(), length);
        }
    }

    #[test]
    fn a_stream_of_nothing_is_a_stream() {
        let packets = read(&stream(|_, _| ()));
        assert_eq!(packets.len(), 3);
        assert_eq!((packets[2].absgp_page(), packets[2].last_in_stream()), (0, true));
    }

    #[test]
    fn a_cut_file_plays_to_the_cut() {
        let bytes = stream(|muxer, out| (0..200).for_each(|_| muxer.packet(&[TOC; 40], 960, out)));
        for cut in (200..bytes.len()).step_by(311) {
            let packets = read(&bytes[..cut]);
            assert!((packets.len() - 2).is_multiple_of(50), "whole pages, {} packets", packets.len());
        }
    }
}
