//! Records two seconds of a tone into one WAV file: `cargo run --example record_to_file -- [folder]`.
//! The file plays at any instant, also if this is killed half way; the next start repairs its sizes.

use std::f32::consts::TAU;
use std::io::Write;

use reeltime::file::{ConversationRecorder, repair};

const RATE: u32 = 16_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "recordings".to_owned());
    let mut out = std::io::stdout();
    for found in repair(&folder)? {
        writeln!(out, "left open by an earlier run: {} ({:?})", found.path.display(), found.outcome)?;
    }

    let mut recorder = ConversationRecorder::create(&folder, "session-123", RATE)?;
    let tone = |n: u32| ((n as f32 * 440.0 * TAU / RATE as f32).sin() * 8_000.0) as i16;
    for frame in 0..100 {
        let samples: Vec<i16> = (frame * 320..(frame + 1) * 320).map(tone).collect();
        recorder.write_samples(&samples, RATE)?;
    }
    let info = recorder.close()?;
    writeln!(out, "{} ({}), begun {}", info.path.display(), info.format, info.started_at)?;
    Ok(())
}
