//! What is neither WAV as we record it nor raw: decoded by ffmpeg, where it is installed.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context, bail};
use reeltime_core::media::Format;

use super::input::Input;
use super::wav;

/// Of what ffmpeg complains about, so much is kept.
const MOST_WORDS: u64 = 4_096;
/// For what no call is recorded as: more channels or another rate than the server takes.
const PLAIN: [&str; 4] = ["-ar", "48000", "-ac", "2"];

/// Decodes a file to 16-bit samples at its own rate.
///
/// # Errors
/// Where there is no ffmpeg, or none of its decoders fits: in ffmpeg's own words.
pub(super) fn decode(path: &Path) -> anyhow::Result<Input> {
    let (mut decoder, mut format) = Decoder::start(path, &[])?.format(path)?;
    if format.is_none() {
        (decoder, format) = Decoder::start(path, &PLAIN)?.format(path)?;
    }
    let Some(format) = format else { bail!("{}: ffmpeg gives no samples that are recorded", path.display()) };
    let block = format.block_align().unwrap_or(1) as f64;
    let bytes = length(path).map(|seconds| (seconds * f64::from(format.rate)).round() * block);
    let Decoder { child, output, words } = decoder;
    let name = path.display().to_string();
    let finish =
        move |read: io::Result<()>| finish(child, words, read).map_err(|why| format!("{name}: {why}"));
    Input::piped(format, bytes.map(|bytes| bytes as u64), output, finish)
}

struct Decoder {
    child: Child,
    output: ChildStdout,
    words: JoinHandle<String>,
}

impl Decoder {
    fn start(path: &Path, more: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-v", "error", "-i"]).arg(url(path));
        command.args(["-map", "0:a:0", "-c:a", "pcm_s16le"]).args(more).args(["-f", "wav", "pipe:1"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own: Ctrl-C is ours to answer.
        command.process_group(0);
        let mut child = match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
                "{} is no WAV of 16-bit or G.711 samples, and ffmpeg, which decodes everything else, is not \
                 installed: install it, or decode the file before",
                path.display()
            ),
            started => started.context("cannot start ffmpeg")?,
        };
        let (Some(output), Some(complaints)) = (child.stdout.take(), child.stderr.take()) else {
            bail!("ffmpeg was started without pipes");
        };
        // Read to its end, or ffmpeg would wait for somebody to listen.
        let words = std::thread::spawn(move || {
            let (mut words, mut complaints) = (Vec::new(), complaints);
            let _ = complaints.by_ref().take(MOST_WORDS).read_to_end(&mut words);
            let _ = io::copy(&mut complaints, &mut io::sink());
            String::from_utf8_lossy(&words).into_owned()
        });
        Ok(Self { child, output, words })
    }

    /// What it gives; none where it is of no format that is recorded.
    fn format(mut self, path: &Path) -> anyhow::Result<(Self, Option<Format>)> {
        if let Some(wav) = wav::read(&mut self.output)? {
            return Ok((self, wav.format));
        }
        self.child.wait()?;
        let words = self.words.join().unwrap_or_default();
        bail!("ffmpeg finds no audio in {}: {}", path.display(), last_line(&words));
    }
}

/// A file and nothing else, whatever its name looks like.
fn url(path: &Path) -> OsString {
    let mut url = OsString::from("file:");
    url.push::<&OsStr>(path.as_ref());
    url
}

fn finish(mut child: Child, words: JoinHandle<String>, read: io::Result<()>) -> Result<(), String> {
    read.map_err(|error| format!("reading from ffmpeg broke off: {error}"))?;
    let status = child.wait().map_err(|error| format!("ffmpeg was lost: {error}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("ffmpeg gave up: {}", last_line(&words.join().unwrap_or_default()))),
    }
}

fn last_line(words: &str) -> String {
    let last = words.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it does not say why");
    crate::client::printable(last.trim(), 300)
}

/// How long it is, in seconds, where ffprobe stands beside ffmpeg and knows.
fn length(path: &Path) -> Option<f64> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "quiet", "-show_entries", "format=duration", "-of", "csv=p=0", "-i"]).arg(url(path));
    let told = command.stdin(Stdio::null()).output().ok()?;
    String::from_utf8(told.stdout).ok()?.trim().parse().ok().filter(|seconds: &f64| seconds.is_finite())
}
