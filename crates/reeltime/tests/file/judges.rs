//! ffprobe, sox and Python's `wave`. A test fails where one of them is missing.

use std::path::Path;
use std::process::Command;

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is needed to judge recordings: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?} fails: {errors}");
    output.stdout
}

fn line(program: &str, arguments: &[&str]) -> String {
    String::from_utf8(run(program, arguments)).unwrap().trim().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Samples in the file, as ffprobe sees it; also of one that is open.
pub(crate) fn ffprobe_samples(path: &Path) -> u64 {
    let fields = "stream=codec_name,sample_rate,channels,duration_ts";
    let arguments = ["-v", "error", "-show_entries", fields, "-of", "csv=p=0", text(path)];
    let found = line("ffprobe", &arguments);
    let samples =
        found.strip_prefix("pcm_s16le,16000,1,").unwrap_or_else(|| panic!("ffprobe says {found:?}"));
    samples.parse().unwrap_or_else(|_| panic!("ffprobe says {found:?}"))
}

/// Samples in a closed file, as soxi sees it.
pub(crate) fn soxi_samples(path: &Path) -> u64 {
    line("soxi", &["-s", text(path)]).parse().unwrap()
}

/// The rate, as soxi sees it; also of an open file.
pub(crate) fn soxi_rate(path: &Path) -> u32 {
    line("soxi", &["-r", text(path)]).parse().unwrap()
}

/// The audio that sox plays; also of an open file.
pub(crate) fn sox_audio(path: &Path) -> Vec<u8> {
    run("sox", &["-V1", text(path), "-t", "raw", "-"])
}

/// The audio that ffmpeg decodes, as 16 bit at 16 kHz; of any file.
pub(crate) fn ffmpeg_samples(path: &Path) -> Vec<u8> {
    run("ffmpeg", &["-v", "error", "-i", text(path), "-f", "s16le", "-ar", "16000", "-"])
}

/// What Python's `wave` says of a closed file: channels, bytes a sample, rate, samples.
pub(crate) fn wave_parameters(path: &Path) -> String {
    let program = "import sys, wave; print(*wave.open(sys.argv[1]).getparams()[:4])";
    line("python3", &["-c", program, text(path)])
}

/// The audio that Python's `wave` reads; also of an open file.
pub(crate) fn wave_audio(path: &Path) -> Vec<u8> {
    let program = "import sys, wave; sys.stdout.buffer.write(wave.open(sys.argv[1]).readframes(2**30))";
    run("python3", &["-c", program, text(path)])
}

/// All of them agree that the closed file holds exactly this, mono at 16 kHz.
pub(crate) fn assert_holds(path: &Path, audio: &[u8]) {
    let samples = audio.len() as u64 / 2;
    assert_eq!((ffprobe_samples(path), soxi_samples(path)), (samples, samples));
    assert_eq!(wave_parameters(path), format!("1 2 16000 {samples}"));
    assert!(sox_audio(path) == audio, "sox plays something else");
    assert!(wave_audio(path) == audio, "wave reads something else");
}
