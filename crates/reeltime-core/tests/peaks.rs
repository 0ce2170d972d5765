//! Peaks, to the byte.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use proptest::prelude::*;
use reeltime_core::codec::{Encoder, Spec};
use reeltime_core::peaks::{Bits, Drawer, Drawing, Peaks, PeaksEncoder, PeaksError, PeaksFormat};

fn peaks(channels: u8, samples_per_pixel: u32, bits: Bits, samples: &[i16]) -> Peaks {
    let mut peaks = Peaks::new(8_000, channels, samples_per_pixel, bits);
    peaks.push(samples);
    peaks
}

/// By hand, from the format's description: two channels, three samples a pixel, seven samples.
const STEREO: [i16; 14] = [0, 255, 300, -255, -600, 256, 32_767, -32_768, 511, -511, 1, -1, -1_000, 5_000];

#[test]
fn eight_bit_bytes_are_those_of_the_format() {
    let dat = peaks(2, 3, Bits::Eight, &STEREO).to_dat();
    let head = [2, 0, 0, 0, 1, 0, 0, 0, 0x40, 0x1F, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0];
    // -600/256 is -2.3, 300/256 is 1.2, -255/256 and 255/256 are 0; truncated toward zero.
    let values: [i8; 12] = [-2, 1, 0, 1, 0, 127, -128, 0, -3, -3, 19, 19];
    assert_eq!(dat, [&head[..], &values.map(|value| value as u8)].concat());
}

#[test]
fn sixteen_bit_bytes_are_those_of_the_format() {
    let dat = peaks(1, 2, Bits::Sixteen, &[5, -7, 30_000]).to_dat();
    let head = [2, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x1F, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0];
    assert_eq!(dat, [&head[..], &[0xF9, 0xFF, 5, 0, 0x30, 0x75, 0x30, 0x75]].concat());
}

#[test]
fn json_says_the_same() {
    let json = peaks(1, 2, Bits::Eight, &[512, -7, -30_000]).to_json();
    let expected = r#"{"version":2,"channels":1,"sample_rate":8000,"samples_per_pixel":2,"bits":8,"length":2,"data":[0,2,-117,-117]}"#;
    assert_eq!(json, expected);
}

#[test]
fn silence_is_samples_of_zero() {
    let mut silent = Peaks::new(8_000, 3, 700, Bits::Eight);
    silent.silence(9_999);
    assert_eq!(silent, peaks(3, 700, Bits::Eight, &[0; 29_997]));
}

#[test]
fn nothing_has_no_pixel() {
    let none = Peaks::new(8_000, 1, 256, Bits::Eight);
    assert!(none.is_empty() && none.get(0, 0).is_none());
    assert_eq!(none.to_dat().len(), 24);
    assert_eq!(Peaks::from_dat(&none.to_dat()), Ok(none));
}

#[test]
fn a_zoom_is_the_nearest_that_is_not_coarser() {
    let fine = peaks(1, 100, Bits::Eight, &[1_000; 1_000]);
    let zoomed = |wanted| fine.at_zoom(wanted).samples_per_pixel();
    assert_eq!(
        [1, 99, 100, 199, 200, 350, 5_000, u32::MAX].map(zoomed),
        [100, 100, 100, 100, 200, 300, 5_000, 2_147_483_600]
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    let good = peaks(2, 3, Bits::Eight, &STEREO).to_dat();
    let with = |place: usize, value: u32| {
        let mut bytes = good.clone();
        bytes[place..place + 4].copy_from_slice(&value.to_le_bytes());
        Peaks::from_dat(&bytes).err()
    };
    assert_eq!(Peaks::from_dat(&good[..good.len() - 1]), Err(PeaksError::Short));
    assert_eq!(with(0, 1), Some(PeaksError::Version(1)));
    assert_eq!(with(16, u32::MAX), Some(PeaksError::Short));
    assert_eq!(with(4, 0), Some(PeaksError::Short), "the values are half as long as 16 bit ones");
    for (place, value) in [(8, 0), (8, 1 << 31), (12, 0), (12, u32::MAX), (20, 0), (20, 256), (20, u32::MAX)]
    {
        assert_eq!(with(place, value), Some(PeaksError::Head), "{value} at {place}");
    }
}

/// The format's rule in the plainest words, for comparison.
fn reference(samples: &[i16], channels: usize, samples_per_pixel: usize, divide: i32) -> Vec<i32> {
    let mut values = Vec::new();
    for pixel in samples.chunks(samples_per_pixel * channels) {
        for channel in 0..channels {
            let heard: Vec<i32> =
                pixel.iter().skip(channel).step_by(channels).map(|&s| i32::from(s)).collect();
            values.push(heard.iter().min().unwrap() / divide);
            values.push(heard.iter().max().unwrap() / divide);
        }
    }
    values
}

fn values(peaks: &Peaks) -> Vec<i32> {
    let json: serde_json::Value = serde_json::from_str(&peaks.to_json()).unwrap();
    json["data"].as_array().unwrap().iter().map(|value| value.as_i64().unwrap() as i32).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_samples_give_what_the_rule_says_however_they_come(
        frames in prop::collection::vec(any::<[i16; 6]>(), 0..200),
        channels in prop::sample::select(vec![1_u8, 2, 3, 6]),
        pixel in 1_u32..50, step in 1_usize..40, factor in 1_u32..9, eight: bool,
    ) {
        let samples = frames.concat();
        let bits = if eight { Bits::Eight } else { Bits::Sixteen };
        let mut made = Peaks::new(16_000, channels, pixel, bits);
        samples.chunks(step * usize::from(channels)).for_each(|chunk| made.push(chunk));
        let divide = if eight { 256 } else { 1 };
        let by_rule = |pixel: u32| reference(&samples, usize::from(channels), pixel as usize, divide);
        prop_assert_eq!(values(&made), by_rule(pixel));
        prop_assert_eq!(values(&made.coarser(factor)), by_rule(pixel * factor));
        let read = Peaks::from_dat(&made.to_dat()).unwrap();
        prop_assert_eq!(read.to_dat(), made.to_dat());
        prop_assert_eq!(read.to_json(), made.to_json());
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200), fix: bool) {
        if fix && bytes.len() >= 24 {
            bytes[..4].copy_from_slice(&[2, 0, 0, 0]);
            for place in [10, 11, 14, 15, 18, 19, 21, 22, 23] {
                bytes[place] = 0;
            }
        }
        if let Ok(peaks) = Peaks::from_dat(&bytes) {
            let again = peaks.to_dat();
            prop_assert_eq!(&again[24..], &bytes[24..again.len()]);
        }
    }
}

fn encoded(spec: &Spec, gain: f32, samples: &[i16], step: usize) -> Vec<u8> {
    let mut encoder = PeaksEncoder::new(spec, 4, gain);
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    encoder.start(&mut first);
    samples.chunks(step).for_each(|samples| encoder.push(samples, &mut rest).unwrap());
    encoder.finish(&mut rest).unwrap();
    [encoder.head().unwrap_or(first), rest].concat()
}

fn drawn(file: &[u8], factor: u32, bits: Bits, format: PeaksFormat, step: usize) -> Vec<u8> {
    let pixels = (file.len() as u64 - Drawing::HEAD) / 8;
    let drawing = Drawing { rate: 8_000, channels: 2, samples_per_pixel: 4, pixels, factor, bits, format };
    let mut out = Vec::new();
    let mut drawer = Drawer::new(drawing, &mut out);
    file[Drawing::HEAD as usize..].chunks(8 * step).for_each(|pixels| drawer.push(pixels, &mut out));
    drawer.finish(&mut out);
    assert!(drawing.bytes().is_none_or(|bytes| bytes == out.len() as u64));
    out
}

proptest! {
    #[test]
    fn a_file_made_and_drawn_in_steps_is_the_one_made_at_once(
        samples in proptest::collection::vec(any::<i16>(), 0..400),
        known in any::<bool>(),
        steps in (1_usize..50, 1_usize..20),
        factor in 1_u32..9,
    ) {
        let samples = &samples[..samples.len() / 2 * 2];
        let length = known.then_some(samples.len() as u64 / 2);
        let spec = Spec { rate: 8_000, channels: 2, samples: length, ..Spec::default() };
        let file = encoded(&spec, 1.0, samples, 2 * steps.0);
        let whole = peaks(2, 4, Bits::Sixteen, samples);
        prop_assert_eq!(&file, &whole.to_dat());
        for bits in [Bits::Eight, Bits::Sixteen] {
            let coarser = peaks(2, 4 * factor, bits, samples);
            let dat = drawn(&file, factor, bits, PeaksFormat::Dat, steps.1);
            prop_assert_eq!(dat, coarser.to_dat());
            let json = drawn(&file, factor, bits, PeaksFormat::Json, steps.1);
            prop_assert_eq!(String::from_utf8(json).unwrap(), coarser.to_json());
        }
    }

    #[test]
    fn louder_peaks_are_those_of_louder_samples(
        samples in proptest::collection::vec(any::<i16>(), 0..100),
        gain in 1.0_f32..4.0,
    ) {
        let spec = Spec { rate: 8_000, channels: 1, ..Spec::default() };
        let louder: Vec<_> = samples.iter().map(|&sample| reeltime_core::render::scale(sample, gain)).collect();
        prop_assert_eq!(encoded(&spec, gain, &samples, 7), encoded(&spec, 1.0, &louder, 7));
    }
}
