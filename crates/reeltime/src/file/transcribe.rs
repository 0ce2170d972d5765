//! The recorder beside a live speech-to-text consumer: a tee, which hands the audio on as it came and keeps a copy.

use std::path::PathBuf;
use std::time::Duration;

use reeltime_core::keys::safe_name;
use reeltime_core::media::Container;
use reeltime_core::render::scale;
use reeltime_core::wire::transcribe::{FORMAT, SILENT_CHUNKS, SilenceWatch};
use tracing::{debug, warn};

use super::encoded::encode;
use super::error::{FileError, TranscribeError};
use super::growing::{GrowingWav, LocalFileInfo};
use super::repair::repair;
use super::settings::{TranscribeConfig, clamp};
use crate::encode::check;
use crate::recorder::Clock;

/// How long the live path may be held up by a disk that stopped taking bytes; once, until it takes some again.
const PATIENCE: Duration = Duration::from_millis(100);

/// Records sessions of raw s16le, 16 kHz mono, beside whoever consumes them live: one file a session. While a session
/// goes on it is a WAV file; where another format is set, that takes its place at the end. Switched off, it does
/// nothing: no file, no buffer, no thread.
///
/// ```
/// use reeltime::file::{TranscribeConfig, TranscribeRecorder};
///
/// # let folder = tempfile::tempdir()?;
/// # let directory = folder.path().to_owned();
/// let config = TranscribeConfig { enabled: true, directory, ..TranscribeConfig::default() };
/// let recorder = TranscribeRecorder::new(config)?;
/// let mut session = recorder.begin("abc")?;
/// let frame = [0x10, 0x00, 0xf0, 0xff];
/// assert_eq!(session.append(&frame), frame); // for the speech-to-text; the file gets the louder copy
/// let info = session.finalize()?.expect("recording is on");
/// assert_eq!(std::fs::read(info.path)?[44..], [0x20, 0x00, 0xe0, 0xff]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TranscribeRecorder(Option<On>);

#[derive(Clone, Debug)]
struct On {
    directory: PathBuf,
    gain: f32,
    kind: Kind,
}

/// What files become in the end.
#[derive(Clone, Copy, Debug)]
struct Kind {
    format: Container,
    bitrate: u32,
}

impl TranscribeRecorder {
    /// As the environment says (see [`TranscribeConfig::from_vars`]); off by default.
    ///
    /// # Errors
    /// See [`TranscribeError`]; [`TranscribeError::Format`] says what is missing to the format that is set.
    pub fn from_env() -> Result<Self, TranscribeError> {
        let config = TranscribeConfig::from_env()?;
        if config.enabled {
            check(config.format, FORMAT, Some(config.bitrate))?;
        }
        Ok(Self::new(config)?)
    }

    /// As `config` says. Where it is on, the folder is made, and what an earlier crash left open in it is
    /// [repaired](repair()); sessions of other processes go on undisturbed.
    ///
    /// # Errors
    /// [`FileError::Create`] or [`FileError::Look`] where the folder cannot be used.
    pub fn new(config: TranscribeConfig) -> Result<Self, FileError> {
        let TranscribeConfig { enabled, directory, gain, format, bitrate } = config;
        if !enabled {
            return Ok(Self(None));
        }
        std::fs::create_dir_all(&directory).map_err(|source| FileError::create(&directory, source))?;
        repair(&directory)?;
        Ok(Self(Some(On { directory, gain: clamp(gain), kind: Kind { format, bitrate } })))
    }

    /// Whether it records.
    pub const fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Begins a session: `session_{id}_{unix seconds}.wav`, with what is not safe in `session_id` escaped.
    ///
    /// # Errors
    /// [`FileError::Create`]. The session can go on without a recording: see [`TranscribeSession::off`].
    pub fn begin(&self, session_id: &str) -> Result<TranscribeSession, FileError> {
        let Some(on) = &self.0 else { return Ok(TranscribeSession::off()) };
        let stem = format!("session_{}_{}", safe_name(session_id), Clock::utc().unix_seconds());
        let wav = GrowingWav::create(&on.directory, &stem, FORMAT.rate)?;
        Ok(TranscribeSession(Some(Box::new(Tee::new(wav, session_id, on.gain, on.kind)))))
    }
}

/// One session. Dropped without [`finalize`](Self::finalize), its file is closed as well as can be.
#[derive(Debug)]
pub struct TranscribeSession(Option<Box<Tee>>);

impl TranscribeSession {
    /// A session that is not recorded.
    pub const fn off() -> Self {
        Self(None)
    }

    /// Keeps a copy of a frame and hands the frame on as it came, whatever happens to the copy:
    ///
    /// - An empty frame, or one of odd length, is dropped, counted and logged.
    /// - More than 50 silent frames in a row give one warning.
    /// - A disk that takes nothing holds this up for 100 ms, once; then what finds no room in the queue is dropped and
    ///   counted until it takes bytes again.
    /// - An error of the disk is logged, and returned by [`finalize`](Self::finalize).
    pub fn append<'a>(&mut self, raw: &'a [u8]) -> &'a [u8] {
        if let Some(tee) = &mut self.0 {
            tee.append(raw);
        }
        raw
    }

    /// Closes the file, makes another format of it where one is set, and waits for the disk: call it in `spawn_blocking`
    /// from async code. The second time it only returns the same again. `None` where the session is not recorded. A
    /// format that cannot be made is warned of, and the WAV stays.
    ///
    /// # Errors
    /// [`FileError::Write`], [`FileError::Finish`]. Either way what is in the file stays, and plays.
    pub fn finalize(&mut self) -> Result<Option<LocalFileInfo>, FileError> {
        self.0.as_mut().map(|tee| tee.close()).transpose()
    }

    /// Frames that were dropped because they were empty or of odd length.
    pub fn dropped_frames(&self) -> u64 {
        self.0.as_ref().map_or(0, |tee| tee.dropped_frames)
    }

    /// Samples that are not in the file because the disk was too slow.
    pub fn overflow_samples(&self) -> u64 {
        self.0.as_ref().map_or(0, |tee| tee.overflow_samples)
    }
}

/// The recorded copy of a session.
#[derive(Debug)]
struct Tee {
    wav: GrowingWav,
    session: String,
    gain: f32,
    kind: Kind,
    /// What [`TranscribeSession::finalize`] said.
    closed: Option<Result<LocalFileInfo, FileError>>,
    silence: SilenceWatch,
    dropped_frames: u64,
    overflow_samples: u64,
    /// The disk took nothing the last time.
    stalled: bool,
    /// The file's error has been logged.
    failed: bool,
}

impl Tee {
    fn new(wav: GrowingWav, session: &str, gain: f32, kind: Kind) -> Self {
        Self {
            wav,
            session: session.to_owned(),
            gain,
            kind,
            closed: None,
            silence: SilenceWatch::default(),
            dropped_frames: 0,
            overflow_samples: 0,
            stalled: false,
            failed: false,
        }
    }

    fn append(&mut self, raw: &[u8]) {
        let (samples, []) = raw.as_chunks::<2>() else { return self.drop_frame(raw) };
        if samples.is_empty() {
            return self.drop_frame(raw);
        }
        if self.silence.is_silent_run(raw) {
            warn!(session = %self.session, "more than {SILENT_CHUNKS} frames in a row are silent: is the microphone on?");
        }
        let patience = if self.stalled { Duration::ZERO } else { PATIENCE };
        let louder = samples.iter().map(|&sample| scale(i16::from_le_bytes(sample), self.gain));
        match self.wav.append(louder, patience) {
            Ok(0) => self.stalled = false,
            Ok(left) => self.overflow(left),
            Err(error) => self.fail(&error),
        }
    }

    fn close(&mut self) -> Result<LocalFileInfo, FileError> {
        if let Some(closed) = &self.closed {
            return closed.clone();
        }
        let closed = self.wav.close().map(|wav| self.encoded(wav));
        self.closed.insert(closed).clone()
    }

    /// The closed WAV in the format that is set, or as it is.
    fn encoded(&self, wav: LocalFileInfo) -> LocalFileInfo {
        let Kind { format, bitrate } = self.kind;
        if format == Container::Wav {
            return wav;
        }
        match encode(&wav.path, self.wav.rate(), format, bitrate) {
            Ok(path) => LocalFileInfo { path, format, ..wav },
            Err(error) => {
                warn!(session = %self.session, %format, %error, "cannot make the format that is set; the recording is kept as WAV");
                wav
            }
        }
    }

    fn drop_frame(&mut self, raw: &[u8]) {
        self.dropped_frames += 1;
        metrics::counter!("reeltime_dropped_frames_total").increment(1);
        let (session, bytes) = (&self.session, raw.len());
        if self.dropped_frames == 1 {
            warn!(%session, bytes, "a frame that is empty or of odd length was dropped; more are not warned of");
        } else {
            debug!(%session, bytes, "a frame that is empty or of odd length was dropped");
        }
    }

    fn overflow(&mut self, left: usize) {
        if !self.stalled {
            warn!(session = %self.session, "the disk is too slow: audio is missing from the recording");
        }
        self.stalled = true;
        self.overflow_samples += left as u64;
        metrics::counter!("reeltime_overflow_samples_total").increment(left as u64);
    }

    fn fail(&mut self, error: &FileError) {
        if !self.failed {
            warn!(session = %self.session, %error, "the session goes on without its recording");
        }
        self.failed = true;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_disk_that_hangs_holds_the_live_path_up_once_and_what_is_missing_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let config = TranscribeConfig {
            enabled: true,
            directory: folder.path().to_owned(),
            gain: 1.0,
            ..TranscribeConfig::default()
        };
        let mut session = TranscribeRecorder::new(config).unwrap().begin("s").unwrap();
        let file = Arc::clone(&session.0.as_ref().unwrap().wav.file);
        let frame = [1, 0].repeat(320);
        let hung = file.turn.lock().unwrap();
        let start = Instant::now();
        for _ in 0..2_000 {
            assert_eq!(session.append(&frame), frame);
        }
        let taken = start.elapsed();
        // Waiting each time would be 159 s.
        assert!(taken >= PATIENCE && taken < PATIENCE * 50, "{taken:?}");
        let kept = 640_000 - session.overflow_samples();
        assert_eq!(kept, 131_072, "a full queue");
        drop(hung);
        let info = session.finalize().unwrap().unwrap();
        assert_eq!(std::fs::metadata(info.path).unwrap().len(), 44 + kept * 2);
    }
}
