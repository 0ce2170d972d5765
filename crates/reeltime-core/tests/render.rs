//! Tracks as files, to the byte.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use reeltime_core::log::{Counting, Event, GapReason, PacketMeta};
use reeltime_core::media::{Codec, Format, g711};
use reeltime_core::render::{Gaps, Output, RenderError, Samples, Sizes, TrackRenderer};
use reeltime_core::time::Micros;
use reeltime_core::timeline::{Layout, Survey};

const PCM: Format = Format { codec: Codec::S16le, rate: 16_000, channels: 1 };
const MULAW: Format = Format { codec: Codec::Mulaw, rate: 8_000, channels: 1 };
const ALAW: Format = Format { codec: Codec::Alaw, rate: 8_000, channels: 1 };
const OPUS: Format = Format { codec: Codec::Opus, rate: 48_000, channels: 1 };

const fn wav(samples: Samples, gaps: Gaps, sizes: Sizes) -> Output {
    Output::Wav { samples, gaps, sizes }
}

const AS_RECEIVED: Output = wav(Samples::AsReceived, Gaps::Fill, Sizes::Exact);

struct Track {
    format: Format,
    packets: Vec<(PacketMeta, Vec<u8>)>,
    survey: Survey,
    count: u64,
}

impl Track {
    fn new(format: Format) -> Self {
        let survey = Survey::new(format, Counting::Samples);
        Self { format, packets: Vec::new(), survey, count: 0 }
    }

    fn send(mut self, payload: &[u8]) -> Self {
        let meta = PacketMeta { arrival: Micros(0), timestamp: self.count, sequence: None };
        let samples = self.format.samples_in(payload).unwrap();
        self.survey.packet(meta, samples);
        self.packets.push((meta, payload.to_vec()));
        self.count += samples;
        self
    }

    fn miss(mut self, samples: u64) -> Self {
        let gap = Event::Gap { at: self.count, samples, reason: GapReason::Overflow };
        self.survey.event(Micros(0), &gap);
        self.count += samples;
        self
    }

    fn layout(&self) -> Layout {
        self.survey.layout()
    }

    fn renderer(&self, output: Output) -> TrackRenderer {
        TrackRenderer::new(self.format, Counting::Samples, &self.layout(), output).unwrap()
    }

    fn push(&self, renderer: &mut TrackRenderer) -> Vec<u8> {
        let mut out = Vec::new();
        renderer.head(&mut out);
        for (meta, payload) in &self.packets {
            renderer.packet(*meta, payload, &mut out);
        }
        let mut more = renderer.finish(&mut out);
        while more {
            more = renderer.more(&mut out);
        }
        out
    }

    fn render(&self, output: Output) -> Vec<u8> {
        self.push(&mut self.renderer(output))
    }
}

/// Every 16 bit value there is, in a row.
fn all_values() -> Vec<u8> {
    (i16::MIN..=i16::MAX).flat_map(i16::to_le_bytes).collect()
}

fn samples_of(bytes: &[u8]) -> Vec<i16> {
    bytes.chunks(2).map(|sample| i16::from_le_bytes(sample.try_into().unwrap())).collect()
}

#[test]
fn pcm_comes_back_bit_for_bit() {
    let track = all_values().chunks(640).fold(Track::new(PCM), Track::send);
    for samples in [Samples::AsReceived, Samples::Linear { gain: 1.0 }] {
        let mut renderer = track.renderer(wav(samples, Gaps::Fill, Sizes::Exact));
        let file = track.push(&mut renderer);
        assert_eq!(&file[44..], all_values());
        assert_eq!(renderer.wav_len(), Some(file.len() as u64));
    }
}

#[test]
fn two_seconds_are_64044_bytes() {
    let track = (0..100).fold(Track::new(PCM), |track, _| track.send(&[7; 640]));
    assert_eq!(track.render(AS_RECEIVED).len(), 64_044);
}

#[test]
fn gain_multiplies_rounds_and_saturates() {
    let track = Track::new(PCM).send(&all_values());
    for gain in [1.5_f32, 2.0, 4.0] {
        let file = track.render(wav(Samples::Linear { gain }, Gaps::Fill, Sizes::Exact));
        for (sample, got) in (i16::MIN..=i16::MAX).zip(samples_of(&file[44..])) {
            let exact = (f64::from(sample) * f64::from(gain)).round().clamp(-32_768.0, 32_767.0);
            assert_eq!(f64::from(got), exact, "{sample} × {gain}");
        }
    }
}

#[test]
fn a_gain_out_of_range_is_refused() {
    for gain in [0.99, 4.01, f32::NAN, f32::INFINITY, -1.0] {
        let output = wav(Samples::Linear { gain }, Gaps::Fill, Sizes::Exact);
        let refused = TrackRenderer::new(PCM, Counting::Samples, &Layout::default(), output).err();
        assert!(matches!(refused, Some(RenderError::Gain(_))), "{gain}");
    }
}

#[test]
fn g711_stays_or_is_decoded() {
    let bytes: Vec<u8> = (0..=255).collect();
    for (format, table) in [(MULAW, &g711::MULAW), (ALAW, &g711::ALAW)] {
        let track = Track::new(format).send(&bytes);
        assert_eq!(&track.render(AS_RECEIVED)[58..], bytes);
        let linear = track.render(wav(Samples::Linear { gain: 1.0 }, Gaps::Fill, Sizes::Exact));
        assert_eq!(samples_of(&linear[44..]), table);
        let loud = track.render(wav(Samples::Linear { gain: 2.0 }, Gaps::Fill, Sizes::Exact));
        assert_eq!(samples_of(&loud[44..]), table.map(|sample| sample.saturating_mul(2)));
    }
}

#[test]
fn gaps_are_silence_of_the_codec_or_nothing() {
    for (format, head, zero) in [(PCM, 44, 0), (MULAW, 58, 0xFF), (ALAW, 58, 0xD5)] {
        let track = Track::new(format).send(&[9; 4]).miss(40_000).send(&[8; 4]).miss(3);
        let align = format.block_align().unwrap();
        let filled = [vec![9; 4], vec![zero; 40_000 * align], vec![8; 4], vec![zero; 3 * align]].concat();
        let file = track.render(AS_RECEIVED);
        assert_eq!(&file[head..head + filled.len()], filled);
        assert_eq!(file.len() % 2, 0, "padded where it is odd");
        let cut = track.render(wav(Samples::AsReceived, Gaps::Cut, Sizes::Exact));
        assert_eq!(&cut[head..], [9, 9, 9, 9, 8, 8, 8, 8]);
        assert_eq!(cut[head - 4..head], [8, 0, 0, 0], "and the head says so");
    }
}

#[test]
fn hours_of_silence_come_in_small_pieces() {
    let track = Track::new(PCM).send(&[1; 2]).miss(3 * 3_600 * 16_000).send(&[2; 2]).miss(16_000 * 60);
    let mut renderer = track.renderer(AS_RECEIVED);
    let (mut total, mut out) = (0, Vec::new());
    let mut take = |out: &mut Vec<u8>| {
        assert!(out.len() <= 40_000, "{} bytes at once", out.len());
        total += out.len() as u64;
        out.clear();
    };
    renderer.head(&mut out);
    for (meta, payload) in &track.packets {
        let mut more = renderer.packet(*meta, payload, &mut out);
        while more {
            take(&mut out);
            more = renderer.more(&mut out);
        }
    }
    let mut more = renderer.finish(&mut out);
    while more {
        take(&mut out);
        more = renderer.more(&mut out);
    }
    take(&mut out);
    assert_eq!(Some(total), renderer.wav_len());
}

#[test]
fn output_may_begin_at_any_byte() {
    let track = Track::new(PCM).send(&[1, 2, 3, 4]).miss(30).send(&[5; 20]).miss(2);
    let odd = Track::new(MULAW).send(&[1, 2, 3, 4]).miss(30).send(&[5; 21]);
    for track in [track, odd] {
        let whole = track.render(AS_RECEIVED);
        for offset in 0..=whole.len() {
            let mut renderer = track.renderer(AS_RECEIVED);
            assert!(renderer.seek(offset as u64));
            assert_eq!(track.push(&mut renderer), whole[offset..], "from {offset}");
        }
    }
}

#[test]
fn a_seek_past_hours_of_silence_writes_none_of_it() {
    let silence = 3 * 3_600 * 16_000;
    let track = Track::new(PCM).miss(silence).send(&[5; 4]);
    let mut renderer = track.renderer(AS_RECEIVED);
    renderer.seek(44 + 2 * silence);
    let mut out = Vec::new();
    renderer.head(&mut out);
    let (meta, payload) = &track.packets[0];
    assert!(!renderer.packet(*meta, payload, &mut out), "nothing is left for later");
    assert_eq!(out, [5; 4]);
}

#[test]
fn a_snapshot_of_a_live_track_ends_where_its_layout_does() {
    let track = Track::new(PCM).send(&[1; 640]);
    let mut renderer = track.renderer(AS_RECEIVED);
    let file = track.send(&[2; 640]).miss(9).send(&[3; 640]).push(&mut renderer);
    assert_eq!(&file[44..], [1; 640]);
}

#[test]
fn a_file_that_follows_a_live_track_says_that_it_is_open() {
    let output = wav(Samples::AsReceived, Gaps::Fill, Sizes::Open);
    let mut track = Track::new(PCM).send(&[1; 6]);
    let mut renderer = track.renderer(output);
    let mut out = Vec::new();
    renderer.head(&mut out);
    assert_eq!((&out[4..8], &out[40..44], renderer.wav_len()), (&[0xFF; 4][..], &[0xFF; 4][..], None));
    let (meta, payload) = track.packets[0].clone();
    renderer.packet(meta, &payload, &mut out);
    track = track.miss(1).send(&[2; 4]);
    renderer.extend(&track.layout());
    let (meta, payload) = track.packets[1].clone();
    renderer.packet(meta, &payload, &mut out);
    while renderer.finish(&mut out) {}
    assert_eq!(&out[44..], [1, 1, 1, 1, 1, 1, 0, 0, 2, 2, 2, 2]);
}

#[test]
fn what_cannot_be_made_is_refused_with_a_way_out() {
    let refused =
        |format, output| TrackRenderer::new(format, Counting::Samples, &Layout::default(), output).err();
    let ogg = Output::Ogg { gaps: Gaps::Fill, serial: 1 };
    assert_eq!(refused(OPUS, AS_RECEIVED), Some(RenderError::WavFromOpus));
    assert_eq!(refused(PCM, ogg), Some(RenderError::OggFrom(Codec::S16le)));
    assert!(RenderError::WavFromOpus.to_string().contains("format=ogg"));
    assert_eq!(refused(PCM, Output::as_received(Codec::S16le)), None);
    assert_eq!(refused(OPUS, Output::as_received(Codec::Opus)), None);
}

#[test]
fn opus_is_kept_as_received_and_gaps_are_concealed() {
    let track = Track::new(OPUS).send(&[0x48, 1]).miss(1_920).send(&[0x48, 2]).miss(960);
    let read = |file: Vec<u8>| {
        let mut reader = ogg::PacketReader::new(std::io::Cursor::new(file));
        let packets: Vec<_> = std::iter::from_fn(|| reader.read_packet().unwrap()).skip(2).collect();
        let end = packets.last().unwrap().absgp_page();
        (packets.into_iter().map(|packet| packet.data).collect::<Vec<_>>(), end)
    };
    let filled = vec![vec![0x48, 1], vec![0x48], vec![0x48], vec![0x48, 2], vec![0x48]];
    assert_eq!(read(track.render(Output::Ogg { gaps: Gaps::Fill, serial: 5 })), (filled, 4_800));
    let cut = vec![vec![0x48, 1], vec![0x48, 2]];
    assert_eq!(read(track.render(Output::Ogg { gaps: Gaps::Cut, serial: 5 })), (cut, 1_920));
}

#[test]
fn a_long_gap_of_opus_is_silence_in_frames_of_one_size() {
    let file = Track::new(OPUS).send(&[0x48, 1]).miss(480_000).render(Output::as_received(Codec::Opus));
    let mut reader = ogg::PacketReader::new(std::io::Cursor::new(file));
    let packets: Vec<_> = std::iter::from_fn(|| reader.read_packet().unwrap()).skip(3).collect();
    assert_eq!(packets.len(), 500);
    assert!(packets.iter().all(|packet| packet.data == [0xF8, 0xFF, 0xFE]));
}

#[test]
fn an_empty_track_is_an_empty_file() {
    assert_eq!(Track::new(PCM).render(AS_RECEIVED).len(), 44);
    assert!(!Track::new(OPUS).render(Output::as_received(Codec::Opus)).is_empty());
}
