//! Records standard input (raw s16le, 16 kHz mono) and hands it on to standard output untouched, so that it fits
//! between a source and its speech-to-text:
//!
//! ```text
//! arecord -t raw -f S16_LE -r 16000 -c 1 | \
//!     ENABLE_AUDIO_RECORDING=true cargo run --example transcribe_tee | my-speech-to-text
//! ```
//!
//! Without `ENABLE_AUDIO_RECORDING=true` it only hands on.

use std::io::{Read, Write};
use std::process::ExitCode;

use reeltime::file::TranscribeRecorder;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let recorder = TranscribeRecorder::from_env()?;
    let mut session = recorder.begin("example")?;
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut frame = Vec::with_capacity(640);
    while input.by_ref().take(640).read_to_end(&mut frame)? > 0 {
        output.write_all(session.append(&frame))?;
        frame.clear();
    }
    if let Some(info) = session.finalize()? {
        eprintln!("recorded {}", info.path.display());
    }
    Ok(())
}
