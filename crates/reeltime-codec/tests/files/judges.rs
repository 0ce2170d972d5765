//! ffmpeg, ffprobe, flac, metaflac, opusinfo, opusdec, mpg123, mediainfo, sox and soxi. A test fails where one of
//! them is missing.

use std::path::Path;
use std::process::{Command, Output};

fn ask(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{program} is needed to judge files: {error}"))
}

/// What a program that must succeed writes.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = ask(program, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?} fails: {errors}");
    output.stdout
}

/// The same, which must not complain either.
pub(crate) fn run_silently(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = ask(program, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{program} {arguments:?} says: {errors}");
    output.stdout
}

/// The same for ffmpeg, which always warns that it guesses which side one channel of WAV is on, that nothing comes of
/// nothing, and that a few frames of MP3 may be something else.
fn warned(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = ask(program, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    let harmless = ["Guessed Channel Layout", "Output file is empty", "misdetection possible"];
    let silent = errors.lines().all(|line| harmless.iter().any(|words| line.contains(words)));
    assert!(output.status.success() && silent, "{program} {arguments:?} says: {errors}");
    output.stdout
}

pub(crate) fn line(program: &str, arguments: &[&str]) -> String {
    String::from_utf8(run(program, arguments)).unwrap().trim().to_owned()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn samples(bytes: &[u8]) -> Vec<i16> {
    bytes.as_chunks().0.iter().map(|&sample| i16::from_le_bytes(sample)).collect()
}

/// What ffmpeg plays of a whole file, about which it has no warning.
pub(crate) fn ffmpeg(path: &Path) -> Vec<i16> {
    samples(&warned("ffmpeg", &["-v", "warning", "-i", text(path), "-f", "s16le", "-"]))
}

/// The same at another rate.
pub(crate) fn ffmpeg_at(path: &Path, rate: u32) -> Vec<i16> {
    let rate = rate.to_string();
    samples(&warned("ffmpeg", &["-v", "warning", "-i", text(path), "-ar", &rate, "-f", "s16le", "-"]))
}

/// What ffmpeg plays of a file that may be cut.
pub(crate) fn ffmpeg_of_cut(path: &Path) -> Vec<i16> {
    samples(&run("ffmpeg", &["-v", "fatal", "-i", text(path), "-f", "s16le", "-"]))
}

/// Entries that ffprobe shows, one a line.
pub(crate) fn ffprobe(path: &Path, entries: &str) -> String {
    line("ffprobe", &["-v", "error", "-show_entries", entries, "-of", "default=nw=1", text(path)])
}

/// What mpg123 plays.
pub(crate) fn mpg123(path: &Path) -> Vec<i16> {
    samples(&run_silently("mpg123", &["-q", "-e", "s16", "-s", text(path)]))
}

/// What opusdec plays, at 48 kHz.
pub(crate) fn opusdec(path: &Path) -> Vec<i16> {
    samples(&run("opusdec", &["--quiet", "--rate", "48000", "--no-dither", text(path), "-"]))
}

/// What sox plays.
pub(crate) fn sox(path: &Path) -> Vec<i16> {
    samples(&run_silently("sox", &["-V2", text(path), "-t", "raw", "-e", "signed", "-b", "16", "-"]))
}

/// A field of mediainfo's.
pub(crate) fn mediainfo(path: &Path, field: &str) -> String {
    line("mediainfo", &[&format!("--Inform={field}"), text(path)])
}

/// Samples per channel that syom plays of MP4.
pub(crate) fn syom(path: &Path) -> usize {
    let bytes = std::fs::read(path).unwrap();
    syom::decode_with(&bytes, &syom::DecodeOptions::audio()).unwrap().channels[0].len()
}
