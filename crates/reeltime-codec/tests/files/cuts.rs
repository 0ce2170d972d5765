//! A file that is cut anywhere behind its head plays to the cut.

use reeltime_core::codec::Spec;
use reeltime_core::media::Container::{self, Flac, Mp3, Mp4, Ogg, Wav, Webm};

use crate::judges::{ffmpeg, ffmpeg_of_cut};
use crate::make::{Folder, Made, make, spec};
use crate::sound::{Chance, melody};

const RATE: u32 = 16_000;

/// Samples that a kind holds back while it grows, at the most.
fn held_back(container: Container) -> u64 {
    match container {
        Wav => 0,
        Flac => 4_096,
        Mp3 => 5 * 576,
        Ogg => u64::from(RATE) + 640,
        Webm | Mp4 => 2 * u64::from(RATE) + 4 * 1_024,
    }
}

/// Cuts the file at many places; what is left is the beginning of the whole.
fn cut(folder: &Folder, container: Container, made: &Made, bytes: &[u8], whole: &[i16], seed: u64) {
    let mut chance = Chance::new(seed);
    for _ in 0..8 {
        let at = made.begins + chance.below(bytes.len() - made.begins);
        let path = folder.write("cut", container, &bytes[..at]);
        let given = made.steps.iter().rev().find(|(_, length)| *length <= at).map_or(0, |step| step.0);
        let factor = if matches!(container, Ogg | Webm) { 3 } else { 1 };
        let least = given.saturating_sub(held_back(container)) as usize * factor;
        if least == 0 {
            continue;
        }
        let heard = ffmpeg_of_cut(&path);
        assert!(
            heard.len() >= least,
            "seed {seed}: {container} cut at {at} of {}: {} samples, not {least}",
            bytes.len(),
            heard.len()
        );
        // The last frame may sound differently without the one behind it.
        let same = heard.len().min(whole.len()).saturating_sub(1_152 * factor);
        assert!(heard[..same] == whole[..same], "seed {seed}: {container} cut at {at} sounds differently");
    }
}

fn sound() -> Vec<i16> {
    melody(RATE, 1, RATE as usize * 12 + 345)
}

#[test]
fn while_it_grows() {
    let folder = Folder::new();
    for container in Container::ALL {
        let made = make(container, &spec(RATE, 1), &sound());
        let whole = ffmpeg_of_cut(&folder.write("open", container, &made.bytes));
        cut(&folder, container, &made, &made.bytes, &whole, 1);
    }
}

#[test]
fn once_it_is_complete() {
    let folder = Folder::new();
    // MP4 needs its tail then: it is either a row of fragments or a plain file.
    for container in [Wav, Flac, Ogg, Mp3, Webm] {
        let made = make(container, &spec(RATE, 1), &sound());
        let bytes = made.complete();
        let whole = ffmpeg(&folder.write("whole", container, &bytes));
        cut(&folder, container, &made, &bytes, &whole, 2);
    }
}

#[test]
fn when_its_length_was_known_beforehand() {
    let folder = Folder::new();
    let sound = sound();
    for container in Container::ALL {
        let made = make(container, &Spec { samples: Some(sound.len() as u64), ..spec(RATE, 1) }, &sound);
        let whole = ffmpeg_of_cut(&folder.write("whole", container, &made.bytes));
        cut(&folder, container, &made, &made.bytes, &whole, 3);
    }
}

#[test]
fn a_file_whose_head_was_never_set_right_plays_to_its_end() {
    let folder = Folder::new();
    let sound = sound();
    for container in Container::ALL {
        let made = make(container, &spec(RATE, 1), &sound);
        let heard = ffmpeg_of_cut(&folder.write("open", container, &made.bytes)).len();
        let expected = sound.len() * if matches!(container, Ogg | Webm) { 3 } else { 1 };
        // What the encoder added at the end cannot be known then.
        assert!((expected..expected + 2_400).contains(&heard), "{container}: {heard} of {expected}");
    }
}
