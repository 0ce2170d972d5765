//! What files say of themselves.

use reeltime_core::codec::{Chapter, Spec, Tags};
use reeltime_core::media::Container::{self, Flac, Mp3, Mp4, Ogg, Wav, Webm};

use crate::judges::{ffmpeg, ffprobe, line, mediainfo, mpg123, run_silently, syom, text};
use crate::make::{Folder, make, spec, tagged};
use crate::sound::melody;

fn tags() -> Tags {
    let chapter = |at, name: &str| Chapter { at, name: name.to_owned() };
    Tags {
        title: Some("Anruf für Zoë".to_owned()),
        artists: vec!["Anna".to_owned(), "Bo Ø.".to_owned()],
        date: Some("2026-05-04T12:00:01Z".to_owned()),
        comment: Some("recording 123".to_owned()),
        chapters: vec![chapter(0, "begin"), chapter(8_000, "on hold"), chapter(24_008, "Ende ✓")],
    }
}

#[test]
fn every_kind_tells_title_artists_date_and_comment() {
    let folder = Folder::new();
    for container in Container::ALL {
        let sound = melody(16_000, 1, 40_001);
        let path = folder.file(container, &tagged(&spec(16_000, 1), tags()), &sound);
        let said = ffprobe(&path, "format_tags:stream_tags").to_lowercase();
        for word in ["anruf für zoë", "anna", "bo ø.", "2026-05-04", "recording 123"] {
            assert!(said.contains(word), "{container} does not tell {word}: {said}");
        }
        let factor = if matches!(container, Ogg | Webm) { 3 } else { 1 };
        if container == Mp4 {
            assert_eq!(syom(&path), 40_001, "tags cost no sample");
        } else {
            assert_eq!(ffmpeg(&path).len(), 40_001 * factor, "{container}: tags cost no sample");
        }
    }
}

#[test]
fn chapters_stand_at_their_times() {
    let folder = Folder::new();
    for container in [Ogg, Mp3, Webm, Mp4] {
        let path = folder.file(container, &tagged(&spec(16_000, 1), tags()), &melody(16_000, 1, 40_000));
        let arguments = ["-v", "error", "-show_chapters", "-of", "default=nw=1", text(&path)];
        let said = line("ffprobe", &arguments);
        let of = |key: &str| {
            let lines = said.lines().filter_map(|line| line.strip_prefix(key));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(of("TAG:title="), ["begin", "on hold", "Ende ✓"], "{container}");
        let starts: Vec<f64> = of("start_time=").iter().map(|time| time.parse().unwrap()).collect();
        let expected = [0.0, 0.5, 1.5005];
        assert!(starts.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.001), "{container}: {starts:?}");
    }
}

#[test]
fn mediainfo_reads_them_as_well() {
    let folder = Folder::new();
    for container in Container::ALL {
        let path = folder.file(container, &tagged(&spec(16_000, 1), tags()), &melody(16_000, 1, 40_000));
        assert_eq!(mediainfo(&path, "General;%Comment%"), "recording 123", "{container}");
        // RIFF does not say how its text is coded: mediainfo takes it for Latin-1, ffmpeg for UTF-8, which it is.
        let title = if container == Wav { "Anruf fÃ¼r ZoÃ«" } else { "Anruf für Zoë" };
        assert_eq!(mediainfo(&path, "General;%Title%"), title, "{container}");
        assert_eq!(mediainfo(&path, "General;%AudioCount%"), "1", "{container}");
    }
}

#[test]
fn flac_and_mp3_with_tags_are_what_their_own_tools_expect() {
    let folder = Folder::new();
    let sound = melody(16_000, 1, 40_000);
    let path = folder.file(Flac, &tagged(&spec(16_000, 1), tags()), &sound);
    run_silently("flac", &["-t", "-s", "-w", text(&path)]);
    let said = line("metaflac", &["--show-tag=CHAPTER002", "--show-tag=CHAPTER002NAME", text(&path)]);
    assert_eq!(said, "CHAPTER002=00:00:01.500\nCHAPTER002NAME=Ende ✓");
    let path = folder.file(Mp3, &tagged(&spec(16_000, 1), tags()), &sound);
    assert_eq!(mpg123(&path).len(), sound.len());
}

#[test]
fn wav_has_places_with_names_before_its_audio_where_its_length_is_not_known() {
    let made = make(Wav, &tagged(&spec(16_000, 1), tags()), &melody(16_000, 1, 40_000));
    let head = &made.bytes[..made.begins];
    let cue = head.windows(8).position(|bytes| bytes == b"cue \x4c\0\0\0").unwrap();
    assert_eq!(head[cue + 8..cue + 12], [3, 0, 0, 0]);
    assert_eq!(head[cue + 12 + 24 + 20..cue + 12 + 48], 8_000_u32.to_le_bytes());
    assert!(head.windows(8).any(|bytes| bytes == b"on hold\0"));
    assert_eq!(&head[head.len() - 8..head.len() - 4], b"data");
}

#[test]
fn wav_of_known_length_has_them_behind_its_audio_so_that_its_head_is_the_plain_one() {
    let sound = melody(16_000, 1, 40_001);
    let known = Spec { samples: Some(40_001), ..spec(16_000, 1) };
    let made = make(Wav, &tagged(&known, tags()), &sound);
    let (plain, end) = (make(Wav, &known, &sound), made.begins + 2 * sound.len());
    assert_eq!((made.begins, made.head), (44, None));
    assert_eq!(made.bytes[44..end], plain.bytes[44..]);
    assert_eq!(made.bytes[4..8], (made.bytes.len() as u32 - 8).to_le_bytes());
    let tail = &made.bytes[end..];
    let cue = tail.windows(8).position(|bytes| bytes == b"cue \x4c\0\0\0").unwrap();
    assert_eq!(tail[cue + 12 + 24 + 20..cue + 12 + 48], 8_000_u32.to_le_bytes());
    assert!(tail.windows(8).any(|bytes| bytes == b"on hold\0"));
    let folder = Folder::new();
    let path = folder.write("tail", Wav, &made.bytes);
    assert_eq!(line("soxi", &["-s", text(&path)]), "40001");
    assert_eq!(
        line(
            "ffprobe",
            &["-v", "error", "-show_entries", "stream=duration_ts", "-of", "csv=p=0", text(&path)]
        ),
        "40001"
    );
    run_silently("flac", &["-s", "-f", "-o", text(&path.with_extension("flac")), text(&path)]);
}
