//! Files that lose something: nothing of it is time, and little of it is level.

use reeltime_codec::rate_for;
use reeltime_core::codec::Spec;
use reeltime_core::media::Container::{self, Mp3, Mp4, Ogg, Webm};

use std::path::Path;

use crate::judges::{ffmpeg, ffmpeg_at, ffprobe, line, mediainfo, mpg123, opusdec, run, syom, text};
use crate::make::{Folder, make, spec};
use crate::sound::{channel, clicks, lag, level, loudest, melody};

const LOSSY: [Container; 4] = [Ogg, Mp3, Webm, Mp4];

/// What the file plays at: Opus always at 48 kHz.
fn played_rate(container: Container, rate: u32) -> u32 {
    if matches!(container, Ogg | Webm) { 48_000 } else { rate }
}

/// As many samples as went in, at the rate that comes out.
fn played(container: Container, rate: u32, samples: usize) -> usize {
    samples * (played_rate(container, rate) / rate) as usize
}

/// Samples per channel that are played: ffmpeg, also of its own files, plays the last packet of MP4 to its end.
fn heard(container: Container, path: &Path, channels: u8) -> usize {
    if container == Mp4 { syom(path) } else { ffmpeg(path).len() / usize::from(channels) }
}

#[test]
fn as_many_samples_come_out_as_went_in_for_any_number_of_them() {
    let folder = Folder::new();
    for container in LOSSY {
        for (rate, channels) in [(8_000, 1), (16_000, 2), (48_000, 1)] {
            for samples in [0, 1, 159, 960, 1_023, 1_025, 5_759, 16_001, 100_003] {
                let sound = melody(rate, channels, samples);
                let path = folder.file(container, &spec(rate, channels), &sound);
                let case = format!("{container}, {rate} Hz, {channels} channels, {samples} samples");
                if container == Mp4 {
                    let told = ffprobe(&path, "stream=duration_ts").replace("N/A", "0");
                    assert_eq!(told, format!("duration_ts={samples}"), "{case}");
                    let beyond = ffmpeg(&path).len() / usize::from(channels) - samples;
                    assert!(beyond < 2 * 1_024, "{case}: {beyond} too many");
                }
                // Of nothing there is nothing to decode.
                if container != Mp4 || samples > 0 {
                    assert_eq!(heard(container, &path, channels), played(container, rate, samples), "{case}");
                }
            }
        }
    }
}

#[test]
fn every_rate_of_every_kind_begins_where_it_began_and_is_as_loud() {
    let folder = Folder::new();
    for container in LOSSY {
        for wanted in [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 192_000] {
            let rate = rate_for(container, wanted);
            for channels in [1, 2] {
                let sound = melody(rate, channels, 3 * rate as usize / 2);
                let path = folder.file(container, &spec(rate, channels), &sound);
                let heard = ffmpeg_at(&path, rate);
                for index in 0..usize::from(channels) {
                    let (sent, heard) = (channel(&sound, channels, index), channel(&heard, channels, index));
                    let (lag, alike) = lag(&sent[..rate as usize / 2], &heard, 20);
                    let case = format!("{container} at {rate} Hz, channel {index} of {channels}");
                    assert_eq!(lag, 0, "{case}, alike {alike}");
                    assert!(alike > 0.98, "{case}: alike {alike}");
                    let (sent, heard) = (level(&sent), level(&heard));
                    // LAME's own scale, which is taken back, would be 0.45.
                    let most = if container == Container::Mp3 { 0.2 } else { 0.5 };
                    assert!((sent - heard).abs() < most, "{case}: {sent:.1} dB become {heard:.1}");
                }
            }
        }
    }
}

#[test]
fn clicks_stand_where_they_stood() {
    let folder = Folder::new();
    for container in LOSSY {
        for rate in [8_000, 16_000, 48_000] {
            let at = [0.25, 0.7001, 1.5].map(|time: f64| (time * f64::from(rate)) as usize + 1);
            let path = folder.file(container, &spec(rate, 1), &clicks(1, 2 * rate as usize, &at));
            let heard = ffmpeg(&path);
            let factor = (played_rate(container, rate) / rate) as usize;
            for place in at.map(|place| place * factor) {
                let around = 600 * factor.min(3);
                let found = loudest(&heard, place - around..place + around);
                assert!(found.abs_diff(place) <= factor, "{container} at {rate} Hz: {place} is at {found}");
            }
        }
    }
}

#[test]
fn silence_stays_silent() {
    let folder = Folder::new();
    for container in LOSSY {
        let path = folder.file(container, &spec(16_000, 2), &vec![0; 64_000]);
        let heard = ffmpeg(&path);
        assert!(heard.iter().all(|sample| sample.abs() <= 2), "{container}");
    }
}

#[test]
fn opus_tools_agree_about_ogg() {
    let folder = Folder::new();
    for (rate, channels, samples) in [(8_000, 1, 8_001), (16_000, 2, 123_456), (48_000, 1, 1)] {
        let sound = melody(rate, channels, samples);
        let path = folder.file(Ogg, &spec(rate, channels), &sound);
        let said = line("opusinfo", &[text(&path)]);
        assert!(!said.contains("WARNING") && said.contains("Pre-skip: 960"), "{said}");
        assert!(said.contains(&format!("Original sample rate: {rate} Hz")), "{said}");
        // opusdec always writes two channels of a file that has them, one of another.
        assert_eq!(opusdec(&path).len(), played(Ogg, rate, samples) * usize::from(channels));
    }
}

#[test]
fn mpg123_agrees_about_mp3() {
    let folder = Folder::new();
    for rate in [8_000, 16_000, 44_100, 48_000] {
        for (channels, samples) in [(1, 0), (1, 1), (1, 575), (2, 20_001), (1, 576 * 9), (2, 1_152 * 5 - 1)] {
            let sound = melody(rate, channels, samples);
            let path = folder.file(Mp3, &spec(rate, channels), &sound);
            let heard = mpg123(&path);
            assert_eq!(heard.len(), sound.len(), "{rate} Hz, {channels} channels");
            if samples > 10_000 {
                let lag = lag(&channel(&sound, channels, 0), &channel(&heard, channels, 0), 20);
                assert!(lag.0 == 0 && lag.1 > 0.98, "{lag:?}");
            }
        }
    }
}

#[test]
fn lengths_are_told_before_anything_is_decoded() {
    let folder = Folder::new();
    for container in LOSSY {
        let path = folder.file(container, &spec(16_000, 1), &melody(16_000, 1, 40_000));
        let said = ffprobe(&path, "format=duration");
        let seconds: f64 = said.trim_start_matches("duration=").parse().unwrap();
        // ffprobe counts Opus' delay in, and the silence at both ends of MP3.
        assert!((2.5..2.6).contains(&seconds), "{container}: {said}");
        let told = mediainfo(&path, "General;%Duration%");
        let told: f64 = told.parse().unwrap_or_else(|_| panic!("{container}: mediainfo says {told}"));
        assert!((2_490.0..2_600.0).contains(&told), "{container}: mediainfo says {told} ms");
    }
}

#[test]
fn a_known_length_stands_in_the_head_from_the_beginning() {
    let folder = Folder::new();
    for container in [Mp3, Webm, Mp4] {
        let known = Spec { samples: Some(40_000), ..spec(16_000, 1) };
        let made = make(container, &known, &melody(16_000, 1, 40_000));
        let path = folder.write("open", container, &made.bytes);
        let said = ffprobe(&path, "format=duration");
        let seconds: f64 = said.trim_start_matches("duration=").parse().unwrap();
        assert!((2.5..2.65).contains(&seconds), "{container}: {said}");
    }
}

#[test]
fn mp3_frames_are_as_many_as_the_head_says() {
    let folder = Folder::new();
    for (rate, samples) in [(16_000, 33_333), (44_100, 100_000), (48_000, 0)] {
        let path = folder.file(Mp3, &spec(rate, 1), &melody(rate, 1, samples));
        let args =
            ["-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0"];
        let packets: usize = line("ffprobe", &[&args[..], &[text(&path)]].concat()).parse().unwrap();
        let size = if rate < 32_000 { 576 } else { 1_152 };
        assert_eq!(packets, (samples + 623 + 576).div_ceil(size).max(4_608 / size));
    }
}

#[test]
fn seeking_lands_on_the_place() {
    let folder = Folder::new();
    for container in [Ogg, Webm, Mp4] {
        let sound = melody(16_000, 1, 16_000 * 9);
        let path = folder.file(container, &spec(16_000, 1), &sound);
        let arguments =
            ["-v", "warning", "-ss", "5.5", "-i", text(&path), "-ar", "16000", "-f", "s16le", "-"];
        let bytes = run("ffmpeg", &arguments);
        let heard: Vec<_> = bytes.as_chunks().0.iter().map(|&sample| i16::from_le_bytes(sample)).collect();
        // A decoder that begins in the middle is right after 80 ms. In WebM, of its own making as well, ffmpeg then
        // plays the encoder's delay, which it should leave out: 20 ms here.
        let most = if container == Webm { 330 } else { 0 };
        let (lag, alike) = lag(&sound[90_000..106_000], &heard[2_000..], 340);
        assert!(lag.abs() <= most && alike > 0.98, "{container}: {lag} samples late, alike {alike}");
    }
}

#[test]
fn more_bits_make_a_larger_file() {
    for (container, few, many) in
        [(Ogg, 12_000, 96_000), (Webm, 6_000, 510_000), (Mp3, 16_000, 160_000), (Mp4, 16_000, 96_000)]
    {
        let sound = melody(16_000, 1, 64_000);
        let size = |bitrate| {
            let spec = Spec { bitrate: Some(bitrate), ..spec(16_000, 1) };
            make(container, &spec, &sound).bytes.len() as u32
        };
        let (small, large) = (size(few), size(many));
        assert!(
            small < few / 8 * 4 * 3 / 2 + 4_000 && large > 2 * small,
            "{container}: {small}, {large} bytes"
        );
    }
}
