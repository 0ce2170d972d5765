//! The recorder in a voice channel's bot: users come and go, and what each says leaves in segments while they talk, to a
//! folder or to a recording API. One is heard as stereo PCM at 48 kHz, the other as Opus packets.
//!
//! `cargo run --example record_segments -- [folder] [--api https://recordings.example]`, the API's key in the environment
//! as `REELTIME_SEGMENTS_API_KEY`.

use std::f32::consts::TAU;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reeltime::catalogue::SqliteCatalogue;
use reeltime::recorder::{Recorder, RecorderConfig};
use reeltime::segments::SegmentRecorder;
use reeltime::segments::send::{ApiTarget, SegmentsConfig, Target};
use reeltime::spool::FolderLock;
use reeltime::store::FolderStore;
use reeltime_core::codec::Spec;
use reeltime_core::media::{Codec, Container, Format};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const PCM: Format = Format { codec: Codec::S16le, rate: 48_000, channels: 2 };
const OPUS: Format = Format { codec: Codec::Opus, rate: 48_000, channels: 2 };
/// Samples per channel of a packet, which lasts 20 ms.
const PACKET: usize = 960;

#[tokio::main]
async fn main() -> Outcome<()> {
    let (folder, target) = arguments()?;
    let recorder = open(Path::new(&folder), SegmentsConfig::new(target)).await?;
    let summary =
        talk(SegmentRecorder::begin(&recorder, "default", "voice-channel").await?).await?.close().await?;
    for segment in &summary.segments {
        let place = segment.place.as_deref().unwrap_or("sent");
        eprintln!(
            "{} {}: {} ms, {place}",
            segment.participant,
            segment.index,
            segment.end_ms - segment.start_ms
        );
    }
    recorder.published().await;
    recorder.drain(Duration::ZERO).await;
    Ok(())
}

fn arguments() -> Outcome<(String, Target)> {
    let (mut folder, mut target) = ("reeltime-data".to_owned(), Target::Store);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--api" => {
                let key = std::env::var("REELTIME_SEGMENTS_API_KEY").ok().map(Into::into);
                target = Target::Api(ApiTarget::new(&arguments.next().ok_or("--api: say which")?, key)?);
            }
            _ => folder = argument,
        }
    }
    Ok((folder, target))
}

/// Takes the data folder; segments that an earlier run has left are sent too.
async fn open(folder: &Path, segments: SegmentsConfig) -> Outcome<Recorder> {
    let lock = FolderLock::take(folder)?;
    let catalogue = SqliteCatalogue::open(folder.join("catalogue.db")).await?;
    let store = FolderStore::open(folder.join("store")).await?;
    let config = RecorderConfig { segments: Some(segments), ..RecorderConfig::new(folder) };
    Ok(Recorder::open(config, lock, Arc::new(catalogue), Arc::new(store)).await?)
}

/// Five seconds of a channel, a packet of each who speaks every 20 ms: nothing comes of who is silent.
async fn talk(mut call: SegmentRecorder) -> Outcome<SegmentRecorder> {
    let (alice, bob) = (pcm(440.0), opus(660.0)?);
    let mut beat = tokio::time::interval(Duration::from_millis(20));
    for now in 0..250 {
        beat.tick().await;
        if let Some(packet) = spoken(&alice, now, &[0, 200]) {
            call.write("alice", PCM, packet).await?;
        }
        if let Some(packet) = spoken(&bob, now, &[25, 175]) {
            call.write("bob", OPUS, packet).await?;
        }
        if now == 100 {
            call.leave("bob").await;
        }
    }
    Ok(call)
}

/// The packet of this moment, of somebody who says the same from each of these moments on.
fn spoken<'a>(said: &'a [Vec<u8>], now: usize, from: &[usize]) -> Option<&'a Vec<u8>> {
    from.iter().find_map(|&from| said.get(now.checked_sub(from)?))
}

/// A second of a tone on both channels.
fn tone(hertz: f32) -> Vec<i16> {
    let sample = |n: usize| ((n as f32 * hertz * TAU / PCM.rate as f32).sin() * 8_000.0) as i16;
    (0..50 * PACKET).flat_map(|n| [sample(n); 2]).collect()
}

fn pcm(hertz: f32) -> Vec<Vec<u8>> {
    let bytes = |packet: &[i16]| packet.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    tone(hertz).chunks(2 * PACKET).map(bytes).collect()
}

/// The packets, as a client would send them.
fn opus(hertz: f32) -> Outcome<Vec<Vec<u8>>> {
    let mut file = Vec::new();
    let mut encoder =
        reeltime_codec::encoder(Container::Ogg, &Spec { rate: 48_000, channels: 2, ..Spec::default() })?;
    encoder.start(&mut file);
    encoder.push(&tone(hertz), &mut file)?;
    encoder.finish(&mut file)?;
    let mut packets = ogg::PacketReader::new(std::io::Cursor::new(file));
    let mut found = Vec::new();
    while let Some(packet) = packets.read_packet()? {
        found.push(packet.data);
    }
    // The first two are the file's own.
    Ok(found.split_off(2))
}
