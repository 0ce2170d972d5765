//! How many times faster than real time each encoder is, beside ffmpeg's of the same kind, by processor time:
//! `cargo run --release -p reeltime-codec --example speed -- [minutes]`.

use std::error::Error;
use std::f64::consts::TAU;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use reeltime_codec::encoder;
use reeltime_core::codec::Spec;
use reeltime_core::media::Container;

const RATE: u32 = 16_000;

fn main() -> Result<(), Box<dyn Error>> {
    let minutes: usize = std::env::args().nth(1).map_or(Ok(10), |text| text.parse())?;
    let sound = sound(minutes * 60 * RATE as usize);
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("source.wav");
    encode(Container::Wav, &sound, &source)?;
    let mut out = std::io::stdout();
    for container in Container::ALL {
        let path = folder.path().join(format!("ours.{container}"));
        let (ours, theirs) = (encode(container, &sound, &path)?, ffmpeg(container, &source)?);
        let times = |seconds: f64| minutes as f64 * 60.0 / seconds;
        let size = std::fs::metadata(&path)?.len() as f64 / (sound.len() * 2) as f64;
        writeln!(
            out,
            "{container:5} {:6.0} x real time, {:3.0} % of the size; ffmpeg {:6.0} x",
            times(ours),
            size * 100.0,
            times(theirs)
        )?;
    }
    Ok(())
}

/// Tones that come and go, with pauses and a little noise: about what a call is.
fn sound(samples: usize) -> Vec<i16> {
    let mut noise = 1_u32;
    let sample = |index: usize| {
        let time = index as f64 / f64::from(RATE);
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let pitch = 140.0 + 40.0 * (TAU * 0.4 * time).sin();
        let voice: f64 =
            (1..9).map(|part| (TAU * pitch * f64::from(part) * time).sin() / f64::from(part)).sum();
        let speaks = (TAU * 0.15 * time).sin().max(0.0) * (TAU * 3.1 * time).sin().abs();
        (voice * speaks * 6_000.0 + f64::from(noise >> 16) / 4_096.0) as i16
    };
    (0..samples).map(sample).collect()
}

/// Seconds of processor time of this process and of the children that it waited for (proc(5): fields 14 to 17, in
/// hundredths).
fn processor_time() -> Result<f64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(4).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}

/// Seconds that our encoder takes, in blocks of 100 ms.
fn encode(container: Container, sound: &[i16], path: &Path) -> Result<f64, Box<dyn Error>> {
    let began = processor_time()?;
    let spec = Spec { rate: RATE, channels: 1, ..Spec::default() };
    let mut encoder = encoder(container, &spec)?;
    let mut bytes = Vec::new();
    encoder.start(&mut bytes);
    for block in sound.chunks(RATE as usize / 10) {
        encoder.push(block, &mut bytes)?;
    }
    encoder.finish(&mut bytes)?;
    if let Some(head) = encoder.head() {
        bytes[..head.len()].copy_from_slice(&head);
    }
    let took = processor_time()? - began;
    std::fs::write(path, bytes)?;
    Ok(took)
}

/// Seconds that ffmpeg takes.
fn ffmpeg(container: Container, source: &Path) -> Result<f64, Box<dyn Error>> {
    let codec: &[&str] = match container {
        Container::Wav => &["-c:a", "pcm_s16le"],
        Container::Flac => &["-c:a", "flac"],
        Container::Ogg | Container::Webm => &["-c:a", "libopus", "-b:a", "48k"],
        Container::Mp3 => &["-c:a", "libmp3lame", "-b:a", "64k"],
        Container::Mp4 => &["-c:a", "aac", "-b:a", "64k"],
    };
    let path = source.with_file_name(format!("theirs.{container}"));
    let began = processor_time()?;
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-threads", "1", "-i"])
        .arg(source)
        .args(codec)
        .arg(path)
        .status()?;
    let took = processor_time()? - began;
    if status.success() { Ok(took) } else { Err("ffmpeg failed".into()) }
}
