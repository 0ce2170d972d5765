//! Decoders: the samples that were sent, what is made where packets are missing, and bytes that are nothing.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::f64::consts::TAU;
use std::ops::Range;

use opus::{Application, Bitrate, Channels, Encoder};
use reeltime_codec::decoder;
use reeltime_core::media::{Codec, Format};

const OPUS: Format = Format { codec: Codec::Opus, rate: 48_000, channels: 1 };

fn format(codec: Codec, rate: u32, channels: u8) -> Format {
    Format::new(codec, rate, channels).unwrap()
}

/// Packets of 20 ms of a voice-like tone at 48 kHz, each with a copy of the one before where `fec` says so.
fn packets(count: usize, fec: bool) -> (Vec<i16>, Vec<Vec<u8>>) {
    // Only the mode for speech carries copies.
    let application = if fec { Application::Voip } else { Application::Audio };
    let mut encoder = Encoder::new(48_000, Channels::Mono, application).unwrap();
    encoder.set_bitrate(Bitrate::Bits(if fec { 32_000 } else { 64_000 })).unwrap();
    encoder.set_inband_fec(fec).unwrap();
    encoder.set_packet_loss_perc(if fec { 30 } else { 0 }).unwrap();
    let value = |index: usize| {
        let time = index as f64 / 48_000.0;
        let pitch = 160.0 * time + 0.2 * (TAU * 0.9 * time).sin();
        let voice: f64 = (1..8).map(|part| (TAU * pitch * f64::from(part)).sin() / f64::from(part)).sum();
        (voice * 6_000.0) as i16
    };
    let sound: Vec<_> = (0..count * 960).map(value).collect();
    let packets = sound.chunks(960).map(|frame| encoder.encode_vec(frame, 1_275).unwrap()).collect();
    (sound, packets)
}

fn energy(sound: &[i16]) -> f64 {
    sound.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / sound.len().max(1) as f64
}

/// Decodes all packets but those of `lost`, which are concealed.
fn decode(packets: &[Vec<u8>], lost: &[usize], with_next: bool) -> Vec<i16> {
    let (mut decoder, mut out) = (decoder(OPUS).unwrap(), Vec::new());
    for (index, packet) in packets.iter().enumerate() {
        if lost.contains(&index) {
            let next = packets.get(index + 1).filter(|_| with_next).map(Vec::as_slice);
            decoder.conceal(960, next, &mut out);
        } else {
            assert_eq!(decoder.packet(packet, &mut out), Ok(960));
        }
    }
    out
}

#[test]
fn linear_samples_are_as_they_were() {
    let mut decoder = decoder(format(Codec::S16le, 44_100, 2)).unwrap();
    let mut out = Vec::new();
    assert_eq!(decoder.packet(&[1, 0, 0xFF, 0xFF, 0, 0x80, 0xFF, 0x7F], &mut out), Ok(2));
    assert_eq!((decoder.rate(), decoder.channels(), &out[..]), (44_100, 2, &[1, -1, i16::MIN, i16::MAX][..]));
    assert!(decoder.packet(&[1, 0, 0], &mut out).is_err());
    assert!(decoder.packet(&[], &mut out).is_err());
    decoder.conceal(3, None, &mut out);
    assert_eq!(out[4..], [0; 6]);
}

#[test]
fn g711_is_what_the_standard_says() {
    for (codec, bytes, samples) in [
        (Codec::Mulaw, [0x00, 0x80, 0xFF], [-32_124, 32_124, 0]),
        (Codec::Alaw, [0xD5, 0x55, 0x2A], [8, -8, -32_256]),
    ] {
        let (mut decoder, mut out) = (decoder(format(codec, 8_000, 1)).unwrap(), Vec::new());
        assert_eq!(decoder.packet(&bytes, &mut out), Ok(3));
        assert_eq!(out, samples, "{codec}");
    }
}

#[test]
fn opus_sounds_as_it_was_sent_312_samples_later() {
    let (sound, packets) = packets(50, false);
    let heard = decode(&packets, &[], false);
    assert_eq!(heard.len(), sound.len());
    let alike: f64 = sound.iter().zip(&heard[312..]).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    let alike = alike
        / (energy(&sound[..sound.len() - 312]) * energy(&heard[312..])).sqrt()
        / (heard.len() - 312) as f64;
    assert!(alike > 0.95, "alike {alike}");
}

#[test]
fn what_was_lost_is_made_from_the_next_packet_or_from_before() {
    let (_, packets) = packets(60, true);
    let lost: Vec<_> = (10..58).step_by(6).collect();
    let whole = decode(&packets, &[], false);
    let error = |heard: &[i16]| {
        let of = |index: &usize| index * 960..(index + 1) * 960;
        let wrong = |range: Range<usize>| {
            whole[range.clone()].iter().zip(&heard[range]).map(|(a, b)| a.saturating_sub(*b))
        };
        energy(&lost.iter().map(of).flat_map(wrong).collect::<Vec<_>>())
    };
    let from_next = error(&decode(&packets, &lost, true));
    let from_before = error(&decode(&packets, &lost, false));
    let silent = error(&vec![0; whole.len()]);
    assert!(from_next < from_before * 0.8, "{from_next} from the next, {from_before} from before");
    assert!(from_before < silent, "{from_before} from before, {silent} silent");
}

#[test]
fn a_long_loss_fades_into_silence() {
    let (_, packets) = packets(20, false);
    let (mut decoder, mut out) = (decoder(OPUS).unwrap(), Vec::new());
    for packet in &packets {
        decoder.packet(packet, &mut out).unwrap();
    }
    let before = energy(&out[out.len() - 4_800..]);
    out.clear();
    decoder.conceal(48_000, None, &mut out);
    assert!(energy(&out[..960]) > before / 20.0, "it goes on at first");
    assert!(energy(&out[8_640..9_600]) < before / 20.0, "it fades");
    assert!(out[9_600..].iter().all(|&sample| sample == 0));
}

#[test]
fn exactly_as_many_samples_are_made_as_were_lost() {
    let (_, packets) = packets(30, true);
    for channels in [1, 2] {
        for samples in [0, 1, 119, 120, 121, 959, 960, 961, 2_880, 9_599, 9_601, 30_000] {
            for next in [None, Some(packets[20].as_slice()), Some(&[][..]), Some(&[0xFF, 0xFF][..])] {
                let (mut decoder, mut out) = (decoder(Format { channels, ..OPUS }).unwrap(), Vec::new());
                decoder.packet(&packets[10], &mut out).unwrap();
                out.clear();
                decoder.conceal(samples, next, &mut out);
                assert_eq!(out.len() as u64, samples * u64::from(channels), "{next:?}");
            }
        }
    }
}

#[test]
fn after_a_reset_nothing_of_before_is_heard() {
    let (_, packets) = packets(20, false);
    let (mut used, mut fresh) = (decoder(OPUS).unwrap(), decoder(OPUS).unwrap());
    let (mut out, mut expected) = (Vec::new(), Vec::new());
    for packet in &packets {
        used.packet(packet, &mut out).unwrap();
    }
    used.reset();
    out.clear();
    used.packet(&packets[5], &mut out).unwrap();
    fresh.packet(&packets[5], &mut expected).unwrap();
    assert!(out == expected);
}

#[test]
fn one_decoder_takes_packets_of_one_channel_and_of_two() {
    let mut encoder = Encoder::new(48_000, Channels::Stereo, Application::Audio).unwrap();
    let stereo = encoder.encode_vec(&[1_000; 1_920], 1_275).unwrap();
    let (_, mono) = packets(1, false);
    for channels in [1, 2] {
        let (mut decoder, mut out) = (decoder(Format { channels, ..OPUS }).unwrap(), Vec::new());
        for packet in [&stereo, &mono[0]] {
            assert_eq!(decoder.packet(packet, &mut out), Ok(960));
        }
        assert_eq!(out.len(), 2 * 960 * usize::from(channels));
    }
}

#[test]
fn bytes_that_are_nothing_are_refused_or_played_but_never_more_than_they_say() {
    for seed in 0..2_000_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 16) as usize
        };
        let (_, real) = if seed % 50 == 0 { packets(3, true) } else { (Vec::new(), Vec::new()) };
        for codec in Codec::ALL {
            let format = Format { codec, rate: 48_000, channels: 1 + (next() % 2) as u8 };
            let mut decoder = decoder(format).unwrap();
            for _ in 0..6 {
                let mut payload: Vec<u8> = (0..next() % 200).map(|_| next() as u8).collect();
                if let Some(packet) = real.get(next() % 4) {
                    payload.clone_from(packet);
                    let place = next() % payload.len();
                    payload[place] ^= 1 << (next() % 8);
                }
                let mut out = Vec::new();
                match decoder.packet(&payload, &mut out) {
                    Ok(samples) => {
                        assert_eq!(format.samples_in(&payload), Some(samples), "seed {seed}");
                        assert_eq!(out.len() as u64, samples * u64::from(format.channels), "seed {seed}");
                    }
                    Err(_) => assert!(out.is_empty(), "seed {seed}: what is refused leaves nothing"),
                }
                decoder.conceal(next() as u64 % 5_000, Some(&payload), &mut out);
            }
        }
    }
}
