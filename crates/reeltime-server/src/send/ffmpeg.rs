//! What is neither WAV as we record it nor raw: decoded by ffmpeg, where it is installed.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, OnceLock};
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
pub(super) fn file(path: &Path) -> anyhow::Result<Input> {
    let name = path.display().to_string();
    let decode = |more| Decoder::start(&url(path), Stdio::null(), more, &name)?.format(&name);
    let (mut decoder, mut format) = decode(&[])?;
    if format.is_none() {
        (decoder, format) = decode(&PLAIN)?;
    }
    let Some(format) = format else { bail!("{name}: ffmpeg gives no samples that are recorded") };
    let block = format.block_align().unwrap_or(1) as f64;
    let bytes = length(path).map(|seconds| (seconds * f64::from(format.rate)).round() * block);
    decoder.input(&name, format, bytes.map(|bytes| bytes as u64))
}

/// Decodes what comes through a pipe, called `name`.
///
/// # Errors
/// As with a file; and where its samples are not recorded as they are, since it cannot be read again.
pub(super) fn pipe(input: impl Read + Send + 'static, name: &str) -> anyhow::Result<Input> {
    let mut decoder = Decoder::start(OsStr::new("pipe:0"), Stdio::piped(), &[], name)?;
    decoder.feed(input);
    let (decoder, Some(format)) = decoder.format(name)? else {
        bail!(
            "{name} has more channels, or another rate, than is recorded: send it as a file, or decode it before"
        );
    };
    decoder.input(name, format, None)
}

struct Decoder {
    child: Child,
    output: ChildStdout,
    words: JoinHandle<String>,
    /// Why what it was fed from could not be read to its end.
    starved: Arc<OnceLock<io::Error>>,
}

impl Decoder {
    fn start(from: &OsStr, stdin: Stdio, more: &[&str], name: &str) -> anyhow::Result<Self> {
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-v", "error", "-i"]).arg(from);
        command.args(["-map", "0:a:0", "-c:a", "pcm_s16le"]).args(more).args(["-f", "wav", "pipe:1"]);
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own: Ctrl-C is ours to answer.
        command.process_group(0);
        let mut child = match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
                "{name} is no WAV of 16-bit or G.711 samples, and ffmpeg, which decodes everything else, is not \
                 installed: install it, or decode it before"
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
        Ok(Self { child, output, words, starved: Arc::default() })
    }

    /// Feeds it on a thread of its own: it is to be heard meanwhile.
    fn feed(&mut self, mut input: impl Read + Send + 'static) {
        let (stdin, starved) = (self.child.stdin.take(), Arc::clone(&self.starved));
        std::thread::spawn(move || {
            let Some(mut stdin) = stdin else { return };
            match io::copy(&mut input, &mut stdin) {
                // It has heard enough, or says itself what is wrong.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                // Noted before its stdin is closed, after which it ends as if that were all.
                Err(error) => drop(starved.set(error)),
                Ok(_) => {}
            }
        });
    }

    /// What it gives; none where it is of no format that is recorded.
    fn format(mut self, name: &str) -> anyhow::Result<(Self, Option<Format>)> {
        if let Some(wav) = wav::read(&mut self.output)? {
            return Ok((self, wav.format));
        }
        self.child.wait()?;
        let words = self.words.join().unwrap_or_default();
        bail!("ffmpeg finds no audio in {name}: {}", last_line(&words));
    }

    /// What it gives from now on, of which there are about so many bytes.
    fn input(self, name: &str, format: Format, bytes: Option<u64>) -> anyhow::Result<Input> {
        let Self { child, output, words, starved } = self;
        let finish = move |read: io::Result<()>| match (finish(child, words, read), starved.get()) {
            (_, Some(error)) => Err(format!("reading broke off: {error}")),
            (finished, None) => finished,
        };
        Input::piped(name, format, bytes, output, finish)
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
