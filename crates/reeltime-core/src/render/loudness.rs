//! How loud a speaker is, and the gain that makes all speakers equally loud.

use ebur128::{EbuR128, Mode};

/// The most that a speaker is made louder: beyond, it is noise that grows.
const MOST_DB: f64 = 20.0;
/// The most that a speaker is made quieter.
const LEAST_DB: f64 = -20.0;

/// Measures the integrated loudness of one track (EBU R 128, ITU-R BS.1770): pauses between sentences do not count.
/// Takes constant memory.
pub struct LoudnessMeter {
    meter: Option<EbuR128>,
    channels: usize,
    rate: u32,
    zeros: Vec<i16>,
}

impl LoudnessMeter {
    /// Of a track of so many interleaved channels and samples per second.
    pub fn new(channels: u8, rate: u32) -> Self {
        let channels = channels.max(1);
        // A format that cannot be measured is silent: its gain is 1.
        let meter = EbuR128::new(u32::from(channels), rate, Mode::I | Mode::HISTOGRAM).ok();
        Self { meter, channels: usize::from(channels), rate, zeros: Vec::new() }
    }

    /// The track's next interleaved samples.
    pub fn samples(&mut self, samples: &[i16]) {
        let whole = samples.len() / self.channels * self.channels;
        if let Some(meter) = &mut self.meter
            && meter.add_frames_i16(&samples[..whole]).is_err()
        {
            self.meter = None;
        }
    }

    /// So many samples per channel of silence. Of a long one only as much is looked at as can matter.
    pub fn silence(&mut self, samples: u64) {
        let length = samples.min(u64::from(self.rate)) as usize * self.channels;
        let mut zeros = std::mem::take(&mut self.zeros);
        zeros.resize(zeros.len().max(length), 0);
        self.samples(&zeros[..length]);
        self.zeros = zeros;
    }

    /// The loudness in LUFS; `None` where nothing was heard.
    pub fn lufs(&self) -> Option<f32> {
        let lufs = self.meter.as_ref()?.loudness_global().ok()?;
        lufs.is_finite().then_some(lufs as f32)
    }

    /// The linear gain that brings the track to `target` LUFS, between -20 and 20 dB; 1 where nothing was heard.
    pub fn gain(&self, target: f32) -> f32 {
        let Some(lufs) = self.lufs() else { return 1.0 };
        let db = f64::from(target - lufs).clamp(LEAST_DB, MOST_DB);
        if db.is_finite() { 10_f64.powf(db / 20.0) as f32 } else { 1.0 }
    }
}
