//! The append path of the library alone, beside the least that could be done: copy, CRC32C, write(2).
//!
//! Both write the same bytes to as many files, in the same order: a block of 200 ms (ten frames) of each file, one
//! write a block, no sync. The library's side is the spool itself: one thread appends ten frames to every log, then
//! waits while the writer thread writes the blocks, so never more than one of them runs. What is compared is bytes
//! for each second of CPU, which a disk that makes both of them wait does not change.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use reeltime::spool::SpoolConfig;
use reeltime_core::log::Encoder;

use super::figure::{Better, Figure};
use super::machine::own_cpu;
use super::spooled::Spooled;
use super::{Plan, pcm, progress};

/// Few enough that what is compared is the path, not how far away their memory is.
const LOGS: u64 = 50;
/// Frames of one block.
const BLOCK: u64 = 10;
/// Rounds measured, of either side; the median counts.
const ROUNDS: usize = 3;
/// Bytes of a frame: record head, arrival, timestamp, place, length and CRC of the sound; the sound.
const RECORD: usize = Encoder::packet_size(pcm::FRAME_BYTES) - 8;

/// Bytes a second of CPU, of the library and of the bare loop.
pub(super) async fn measure(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let bytes = plan.pick(1_000_000_000, 200_000_000);
    let blocks = bytes / (LOGS * BLOCK * RECORD as u64);
    plan.scratch.touch_memory(3 * bytes)?;
    let (mut library, mut bare) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let folder = plan.scratch.folder(&format!("append-{round}"), bytes * 5 / 2)?;
        let measured = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            Ok((by_library(folder.path(), blocks)?, by_hand(folder.path(), blocks)?))
        });
        let (ours, least) = measured.await??;
        progress(&format!("append: {ours:.0} MB a second of CPU; the bare loop {least:.0}"));
        library.push(ours);
        bare.push(least);
    }
    let (library, bare) = (median(library), median(bare));
    let figure = Figure::new("append_ratio", library, "MB a second of CPU", Better::Higher);
    Ok(vec![figure.against("memcpy + CRC32C + write", bare).bar(0.7)])
}

/// The middle one of an odd number of values.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn megabytes_a_second(blocks: u64, cpu: Duration) -> f64 {
    (blocks * LOGS * BLOCK * RECORD as u64) as f64 / 1e6 / cpu.as_secs_f64()
}

fn by_library(folder: &Path, blocks: u64) -> anyhow::Result<f64> {
    let config = SpoolConfig {
        flush_interval: Duration::from_millis(4),
        sync_interval: Duration::from_secs(3_600),
        reserve: 0,
        shards: 1,
        ..SpoolConfig::default()
    };
    let spooled = Spooled::start(folder, config, LOGS, false)?;
    let sound = pcm::frame(0, 0);
    // Creates the files, on both sides outside what is measured.
    spooled.append(0, &sound)?;
    std::thread::sleep(Duration::from_millis(200));
    let before = spooled.spool.usage().bytes;
    let start = own_cpu();
    for block in 0..blocks {
        (1..=BLOCK).try_for_each(|frame| spooled.append(block * BLOCK + frame, &sound))?;
        spooled.wait_written(before + (block + 1) * LOGS * BLOCK * RECORD as u64);
    }
    Ok(megabytes_a_second(blocks, own_cpu() - start))
}

fn by_hand(folder: &Path, blocks: u64) -> anyhow::Result<f64> {
    let folder = folder.join("bare");
    std::fs::create_dir(&folder)?;
    let mut files = Vec::new();
    for number in 0..LOGS {
        let file = File::create_new(folder.join(number.to_string()))?;
        file.write_all_at(&[0; RECORD], 0)?;
        files.push((file, Vec::with_capacity(BLOCK as usize * RECORD)));
    }
    let sound = pcm::frame(0, 0);
    let start = own_cpu();
    for block in 0..blocks {
        for _ in 0..BLOCK {
            files.iter_mut().for_each(|(_, bytes)| copy(&sound, bytes));
        }
        let at = (1 + block * BLOCK) * RECORD as u64;
        for (file, bytes) in &mut files {
            file.write_all_at(bytes, at)?;
            bytes.clear();
        }
    }
    Ok(megabytes_a_second(blocks, own_cpu() - start))
}

/// One record as the bare loop makes it: a head with the sound's CRC, then the sound.
fn copy(sound: &[u8], out: &mut Vec<u8>) {
    let mut head = [0; RECORD - pcm::FRAME_BYTES];
    head[..4].copy_from_slice(&crc32c::crc32c(sound).to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(sound);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_write_records_of_the_same_length() {
        let (mut log, mut bare) = (Vec::new(), Vec::new());
        let mut encoder = Encoder::create(&super::super::spooled::tests::any_header(), 7, &mut log).unwrap();
        let header = log.len();
        let meta = reeltime_core::log::PacketMeta {
            arrival: reeltime_core::time::Micros(1),
            timestamp: 2,
            sequence: None,
        };
        encoder.beside(meta, 44, &pcm::frame(0, 0), &mut log);
        log.extend(pcm::frame(0, 0));
        copy(&pcm::frame(0, 0), &mut bare);
        assert_eq!((log.len() - header, bare.len()), (RECORD, RECORD));
    }

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
    }
}
