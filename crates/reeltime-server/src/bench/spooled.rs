//! Logs written by the library's own spool, without a server.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reeltime::spool::{LocalDisk, Spool, SpoolConfig, TrackLog};
use reeltime_core::id::{RecordingId, SessionId, TrackId};
use reeltime_core::log::{Counting, LogHeader, PacketMeta, Purpose};
use reeltime_core::media::{Codec, Format};
use reeltime_core::time::{Micros, UtcMicros};
use uuid::Uuid;

use super::pcm;

/// A spool in a data folder, with some logs.
pub(super) struct Spooled {
    pub(super) spool: Spool,
    pub(super) logs: Vec<Arc<TrackLog>>,
}

impl Spooled {
    /// `resumable`: their sessions may be resumed, so that a start waits for their clients.
    pub(super) fn start(
        data: &Path,
        config: SpoolConfig,
        logs: u64,
        resumable: bool,
    ) -> anyhow::Result<Self> {
        let disk = Arc::new(LocalDisk::open(&reeltime::spool::folder(data)?)?);
        let spool = Spool::start(disk, config)?;
        let logs = (0..logs).map(|number| spool.create(header(number, resumable))).collect();
        Ok(Self { spool, logs })
    }

    /// Logs of one recording of `speakers` tracks, then of `others` recordings of one.
    pub(super) fn start_call(
        data: &Path,
        config: SpoolConfig,
        speakers: u64,
        others: u64,
    ) -> anyhow::Result<Self> {
        let disk = Arc::new(LocalDisk::open(&reeltime::spool::folder(data)?)?);
        let spool = Spool::start(disk, config)?;
        let recording = RecordingId(Uuid::now_v7());
        let of_call = (0..speakers).map(|number| LogHeader { recording, ..header(number, true) });
        let alone = (speakers..speakers + others).map(|number| header(number, true));
        let logs = of_call.chain(alone).map(|header| spool.create(header)).collect();
        Ok(Self { spool, logs })
    }

    /// Appends one frame, as the session's number `frame`.
    pub(super) fn append_to(log: &Arc<TrackLog>, frame: u64, sound: &[u8]) -> anyhow::Result<()> {
        let meta = PacketMeta {
            arrival: Micros::from_millis(frame * 20),
            timestamp: frame * pcm::FRAME,
            sequence: None,
        };
        log.append_blocking(meta, pcm::FRAME, sound)?;
        Ok(())
    }

    /// Appends one frame to each of the logs, as the session's number `frame`.
    pub(super) fn append(&self, frame: u64, sound: &[u8]) -> anyhow::Result<()> {
        self.logs.iter().try_for_each(|log| Self::append_to(log, frame, sound))
    }

    /// Waits until `bytes` in all are written.
    pub(super) fn wait_written(&self, bytes: u64) {
        while self.spool.usage().bytes < bytes {
            std::thread::sleep(Duration::from_micros(500));
        }
    }
}

fn header(number: u64, resumable: bool) -> LogHeader {
    LogHeader {
        tenant: "default".to_owned(),
        recording: RecordingId(Uuid::now_v7()),
        call: None,
        session: SessionId(Uuid::now_v7()),
        track: TrackId(Uuid::now_v7()),
        participant: format!("bench-{number:05}"),
        format: Format { codec: Codec::S16le, rate: pcm::RATE as u32, channels: 1 },
        epoch: UtcMicros(1_735_787_045_000_000),
        opened: Micros::default(),
        number: 0,
        continues: None,
        resume_token_sha256: resumable.then(|| format!("{number:064x}")),
        counting: Counting::Samples,
        purpose: Purpose::Plain,
    }
}

#[cfg(test)]
pub(super) mod tests {
    pub(crate) fn any_header() -> reeltime_core::log::LogHeader {
        super::header(0, false)
    }
}
