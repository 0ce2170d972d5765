//! Ogg files of Opus (RFC 7845), sent as the packets that they hold.

use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};

use ogg::PacketReader;
use reeltime_core::media::ogg::PRE_SKIP;
use reeltime_core::media::{Codec, Format, opus};

/// The packets of a file, by their places in samples at 48 kHz from the first that is sent.
pub(super) struct Packets {
    /// The same open file as the reader's: whoever moves one, moves both.
    file: File,
    reader: Reader,
    outline: Outline,
    /// The next packet's place.
    at: u64,
}

type Reader = PacketReader<BufReader<File>>;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outline {
    channels: u8,
    /// Samples of the packets at the beginning that are not heard and not sent.
    before: u64,
    /// Samples that are sent.
    total: u64,
}

impl std::fmt::Debug for Packets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packets")
            .field("outline", &self.outline)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Packets {
    /// Looks at all of a file. `None` where its packets alone do not say what is heard: it is no Ogg file of one Opus
    /// stream in one or two channels, it changes the volume, is damaged, or there are holes in it.
    ///
    /// # Errors
    /// Where the file cannot be read again.
    pub(super) fn open(file: &File) -> io::Result<Option<Self>> {
        let Some(outline) = survey(&mut reader(file)?) else { return Ok(None) };
        let (file, mut reader) = (file.try_clone()?, reader(file)?);
        begin(&mut reader, outline.before)?;
        Ok(Some(Self { file, reader, outline, at: 0 }))
    }

    /// What a server is told.
    pub(super) fn format(&self) -> anyhow::Result<Format> {
        Ok(Format::new(Codec::Opus, opus::RATE, self.outline.channels)?)
    }

    pub(super) const fn total(&self) -> u64 {
        self.outline.total
    }

    /// The packet that begins at `at` or is the next after it; empty at the end.
    ///
    /// # Errors
    /// Where the file cannot be read any more.
    pub(super) fn read(&mut self, at: u64) -> io::Result<Vec<u8>> {
        if at < self.at {
            self.reader = reader(&self.file)?;
            begin(&mut self.reader, self.outline.before)?;
            self.at = 0;
        }
        while self.at < self.outline.total {
            let Some((packet, samples)) = next(&mut self.reader)? else { break };
            let place = self.at;
            self.at += samples;
            if place >= at {
                return Ok(packet);
            }
        }
        Ok(Vec::new())
    }
}

/// Reads from the beginning.
fn reader(mut file: &File) -> io::Result<Reader> {
    file.seek(SeekFrom::Start(0))?;
    Ok(PacketReader::new(BufReader::new(file.try_clone()?)))
}

/// Passes over the heads, and over so many samples.
fn begin(reader: &mut Reader, before: u64) -> io::Result<()> {
    for _ in 0..2 {
        reader.read_packet().map_err(damaged)?;
    }
    let mut passed = 0;
    while passed < before {
        let Some((_, samples)) = next(reader)? else { break };
        passed += samples;
    }
    Ok(())
}

fn next(reader: &mut Reader) -> io::Result<Option<(Vec<u8>, u64)>> {
    let Some(packet) = reader.read_packet().map_err(damaged)? else { return Ok(None) };
    let samples = opus::packet_samples(&packet.data).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some((packet.data, samples.into())))
}

fn damaged(error: ogg::OggReadError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Reads all of it.
fn survey(reader: &mut Reader) -> Option<Outline> {
    let head = reader.read_packet().ok()??;
    let (channels, pre_skip) = identified(&head.data)?;
    let tags = reader.read_packet().ok()??;
    tags.data.starts_with(b"OpusTags").then_some(())?;
    // A server's file is heard from its own pre-skip on: what lies before that is left out, packet by packet.
    let unheard = u64::from(pre_skip.saturating_sub(PRE_SKIP));
    let (mut samples, mut before, mut start, mut last, mut end) = (0_u64, 0, None, 0, 0);
    while let Some(packet) = reader.read_packet().ok()? {
        let long = u64::from(opus::packet_samples(&packet.data)?);
        if packet.stream_serial() != head.stream_serial() {
            return None;
        }
        last = samples;
        samples += long;
        if samples <= unheard {
            before = samples;
        }
        if packet.last_in_page() {
            let granule = packet.absgp_page();
            // What is cut out of a broadcast does not begin at zero (section 4.5).
            let first = *start.get_or_insert(granule.saturating_sub(samples));
            end = granule.checked_sub(first)?;
            if end > samples {
                return None;
            }
        }
    }
    // The end may cut the last packet, and no packet more.
    (end > last && samples > before).then_some(Outline { channels, before, total: samples - before })
}

/// Channels and pre-skip of an identification header (RFC 7845, section 5.1) that asks for nothing else.
fn identified(head: &[u8]) -> Option<(u8, u16)> {
    let &[version, channels @ 1..=2, low, high, _, _, _, _, 0, 0, 0] = head.strip_prefix(b"OpusHead")? else {
        return None;
    };
    (version < 16).then_some((channels, u16::from_le_bytes([low, high])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reeltime_core::media::ogg::Muxer;
    use std::io::Write;

    /// 20 ms of CELT each, told apart by what they hold.
    fn packet(number: u8) -> [u8; 3] {
        [0xf8, number, 0]
    }

    fn file(pre_skip: u16, end: u64) -> File {
        let (mut bytes, mut muxer) =
            (Vec::new(), Muxer::encoded(1, 7, pre_skip, 48_000, &Default::default()));
        muxer.head(&mut bytes);
        (0..120).for_each(|number| muxer.packet(&packet(number), 960, &mut bytes));
        muxer.finish_at(end, &mut bytes);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        file
    }

    #[test]
    fn packets_are_found_at_their_places_again_and_again() {
        let mut packets = Packets::open(&file(312, 120 * 960)).unwrap().unwrap();
        assert_eq!((packets.total(), packets.format().unwrap().codec), (120 * 960, Codec::Opus));
        for number in [0, 1, 2, 50, 119, 7, 8, 0] {
            assert_eq!(packets.read(u64::from(number) * 960).unwrap(), packet(number));
        }
        assert_eq!(packets.read(3 * 960 + 1).unwrap(), packet(4), "the next whole one");
        assert_eq!(packets.read(120 * 960).unwrap(), b"");
    }

    #[test]
    fn what_lies_before_the_beginning_is_left_out_in_whole_packets() {
        for (pre_skip, first) in [(0, 0), (312, 0), (1_271, 0), (1_272, 1), (3_840, 3)] {
            let mut packets = Packets::open(&file(pre_skip, 120 * 960)).unwrap().unwrap();
            assert_eq!(packets.total(), (120 - u64::from(first)) * 960, "{pre_skip}");
            for at in [0, 960, 0] {
                assert_eq!(packets.read(at).unwrap(), packet(first + u8::try_from(at / 960).unwrap()));
            }
        }
    }

    #[test]
    fn what_its_packets_alone_do_not_say_is_left_to_a_decoder() {
        let mut text = tempfile::tempfile().unwrap();
        text.write_all(b"OggS, not quite").unwrap();
        assert!(Packets::open(&text).unwrap().is_none());
        let heads = [(2, 0), (3, 0), (1, 1)].map(|(channels, gain)| {
            let head = [&b"OpusHead\x01"[..], &[channels, 56, 1, 0, 0, 0, 0, gain, 0, 0]].concat();
            identified(&head)
        });
        assert_eq!(heads, [Some((2, 312)), None, None]);
    }
}
