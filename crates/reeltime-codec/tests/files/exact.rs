//! Files that lose nothing: every sample is what it was.

use reeltime_core::codec::Spec;
use reeltime_core::media::Container::{Flac, Wav};

use crate::judges::{ffmpeg, ffprobe, line, run_silently, sox, text};
use crate::make::{Folder, make, spec};
use crate::sound::{clicks, melody, noise};

/// Sounds that take every way through an encoder.
fn sounds(rate: u32, channels: u8) -> Vec<Vec<i16>> {
    let many = usize::from(channels);
    let mut edges = [i16::MIN, i16::MAX, i16::MIN, i16::MIN, 0, -1, 1, i16::MAX].repeat(1_024 * many);
    edges.truncate(8_000 * many);
    vec![
        Vec::new(),
        vec![-7; many],
        vec![1_234; 4_097 * many],
        clicks(channels, 12_289, &[0, 1, 4_095, 4_096, 12_288]),
        melody(rate, channels, 5 * 4_096),
        melody(rate, channels, 30_011),
        noise(9_999 * many, 3),
        noise(16 * many, 4),
        edges,
    ]
}

#[test]
fn flac_gives_back_every_sample_and_its_own_sums_agree() {
    let folder = Folder::new();
    for (rate, channels) in [(8_000, 1), (16_000, 2), (44_100, 2), (48_000, 1), (11_111, 3), (192_000, 8)] {
        for sound in sounds(rate, channels) {
            let path = folder.file(Flac, &spec(rate, channels), &sound);
            if !sound.is_empty() {
                run_silently("flac", &["-t", "-s", "-w", text(&path)]);
            }
            let said = line(
                "metaflac",
                &["--show-total-samples", "--show-sample-rate", "--show-channels", text(&path)],
            );
            let samples = sound.len() / usize::from(channels);
            assert_eq!(said, format!("{samples}\n{rate}\n{channels}"));
            if samples > 0 {
                let raw = ["-d", "-c", "-s", "--force-raw-format", "--endian=little", "--sign=signed"];
                let bytes = run_silently("flac", &[&raw[..], &[text(&path)]].concat());
                let expected: Vec<_> = sound.iter().flat_map(|sample| sample.to_le_bytes()).collect();
                assert!(
                    bytes == expected,
                    "{rate} Hz, {channels} channels, {samples} samples: flac hears another"
                );
                assert!(ffmpeg(&path) == sound, "ffmpeg hears another");
            }
        }
    }
}

#[test]
fn flac_finds_what_two_channels_have_in_common() {
    let mono = noise(40_960, 9).iter().map(|sample| sample / 4).collect::<Vec<_>>();
    let alike: Vec<_> = mono.iter().flat_map(|&sample| [sample, sample + 1]).collect();
    let opposed: Vec<_> = mono.iter().flat_map(|&sample| [sample, sample.wrapping_neg()]).collect();
    let one = make(Flac, &spec(48_000, 1), &mono).bytes.len();
    for sound in [alike, opposed] {
        let both = make(Flac, &spec(48_000, 2), &sound).bytes.len();
        assert!(both < one * 11 / 10, "{both} bytes for two, {one} for one");
    }
}

#[test]
fn wav_gives_back_every_sample_whether_its_length_was_known_or_not() {
    let folder = Folder::new();
    for (rate, channels) in [(8_000, 1), (16_000, 1), (48_000, 2), (44_100, 3)] {
        for sound in sounds(rate, channels) {
            let samples = sound.len() / usize::from(channels);
            for known in [None, Some(samples as u64)] {
                let path = folder.file(Wav, &Spec { samples: known, ..spec(rate, channels) }, &sound);
                let fields = line("soxi", &["-s", text(&path)]);
                assert_eq!(fields, samples.to_string());
                assert!(sox(&path) == sound, "sox hears another");
                if samples > 0 {
                    assert!(ffmpeg(&path) == sound, "ffmpeg hears another");
                    assert_eq!(ffprobe(&path, "stream=duration_ts"), format!("duration_ts={samples}"));
                }
            }
        }
    }
}

#[test]
fn a_plain_wav_of_known_length_is_44_bytes_and_its_samples() {
    let sound = melody(16_000, 1, 1_000);
    let made = make(Wav, &Spec { samples: Some(1_000), ..spec(16_000, 1) }, &sound);
    assert_eq!((made.begins, made.bytes.len(), made.head), (44, 2_044, None));
}

#[test]
fn a_flac_of_known_length_says_so_from_the_beginning() {
    let sound = melody(16_000, 1, 10_000);
    let made = make(Flac, &Spec { samples: Some(10_000), ..spec(16_000, 1) }, &sound);
    let path = Folder::new();
    let open = path.write("open", Flac, &made.bytes);
    assert_eq!(ffprobe(&open, "stream=duration_ts"), "duration_ts=10000");
    assert!(ffmpeg(&open) == sound);
}
