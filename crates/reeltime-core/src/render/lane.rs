//! One track on its way into a mix: at the mix's rate, on the recording's clock, a block at a time.

use super::pcm::{Run, TrackPcm};
use super::plan::MixError;
use super::resample::{ClockConverter, Planar, RateConverter};

/// Which of a track's channels is heard where.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Route {
    pub from: usize,
    pub to: usize,
    pub gain: f32,
}

/// Between the track's samples and the mix: in this order, each with what waits for it.
#[derive(Default)]
pub(super) struct Stages {
    pub clock: Option<Box<(ClockConverter, Planar)>>,
    pub rate: Option<Box<(RateConverter, Planar)>>,
}

/// One track in a mix.
pub(super) struct Lane {
    pub pcm: TrackPcm,
    /// Where in the mix it begins.
    pub at: u64,
    /// Where in the mix it ends, but for what still rings in its filter.
    pub end: u64,
    ring: u64,
    pub routes: Vec<Route>,
    stages: Stages,
    /// Of the mix's rate, and not mixed yet. Its channels: those of the track, or one that is their mean.
    ready: Planar,
}

impl Lane {
    /// `mono`: all its channels as one that is their mean.
    pub(super) fn new(pcm: TrackPcm, stages: Stages, routes: Vec<Route>, mono: bool) -> Self {
        let channels = if mono { 1 } else { pcm.channels() };
        let ring = stages.rate.as_ref().map_or(0, |rate| rate.0.ring());
        Self { pcm, at: 0, end: 0, ring, routes, stages, ready: Planar::new(channels) }
    }

    /// How much of `from..to` of the mix it takes part in.
    pub(super) fn share(&self, from: u64, to: u64) -> usize {
        to.min(self.end.saturating_add(self.ring)).saturating_sub(from.max(self.at)) as usize
    }

    /// Whether its next `samples` can be mixed; converts what is needed for it.
    pub(super) fn is_ready(&mut self, samples: usize) -> Result<bool, MixError> {
        if self.is_plain() {
            return Ok(self.pcm.available() >= samples as u64);
        }
        while self.ready.len() < samples {
            if !self.convert()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds its next `samples` to each channel of the mix, from sample `begin` of those on.
    pub(super) fn add(&mut self, mix: &mut [Vec<f32>], begin: usize, samples: usize) {
        if self.is_plain() {
            return self.add_plain(mix, begin, samples);
        }
        if !self.ready.is_silent() {
            let heard: Vec<&[f32]> = self.ready.front(samples).collect();
            for route in &self.routes {
                let into = &mut mix[route.to][begin..begin + samples];
                into.iter_mut()
                    .zip(heard[route.from])
                    .for_each(|(into, sample)| *into += sample * route.gain);
            }
        }
        self.ready.take(samples);
    }

    /// Samples held, for tests of what memory is bounded by.
    pub(super) fn held(&self) -> usize {
        let clock = self.stages.clock.as_ref().map_or(0, |clock| clock.1.held());
        let rate = self.stages.rate.as_ref().map_or(0, |rate| rate.1.held());
        self.pcm.held() + self.ready.held() + clock + rate
    }

    /// One channel at the mix's rate goes straight from the decoder into the mix.
    fn is_plain(&self) -> bool {
        self.stages.clock.is_none() && self.stages.rate.is_none() && self.pcm.channels() == 1
    }

    fn add_plain(&mut self, mix: &mut [Vec<f32>], mut begin: usize, samples: usize) {
        let routes = &self.routes;
        self.pcm.read(samples as u64, |run| match run {
            Run::Silence(silent) => begin += silent as usize,
            Run::Samples(heard) => {
                for route in routes {
                    let into = &mut mix[route.to][begin..begin + heard.len()];
                    add_samples(into, heard, route.gain);
                }
                begin += heard.len();
            }
        });
    }

    /// Moves a unit on by one stage, the last that has one; whether there was one.
    fn convert(&mut self) -> Result<bool, MixError> {
        let Stages { clock, rate } = &mut self.stages;
        if let Some(rate) = rate {
            let (rate, waiting) = &mut **rate;
            while waiting.len() < rate.input() {
                let fed = match clock {
                    Some(clock) => correct(&mut self.pcm, clock, waiting)?,
                    None => fill(&mut self.pcm, waiting, rate.input() - waiting.len()),
                };
                if !fed {
                    return Ok(false);
                }
            }
            rate.process(waiting, &mut self.ready)?;
            return Ok(true);
        }
        match clock {
            Some(clock) => correct(&mut self.pcm, clock, &mut self.ready),
            None => Ok(fill(&mut self.pcm, &mut self.ready, SPREAD)),
        }
    }
}

/// Samples that are taken at once where no converter asks for a number.
const SPREAD: usize = 1_024;

/// Takes what there is of the next `samples`, at least one; whether there was one.
fn fill(pcm: &mut TrackPcm, into: &mut Planar, samples: usize) -> bool {
    let samples = pcm.available().min(samples as u64);
    let channels = pcm.channels();
    pcm.read(samples, |run| match run {
        // Who is muted often sends zeros: they cost no more than a gap.
        Run::Samples(samples) if samples.iter().any(|&sample| sample != 0) => {
            into.interleaved(samples, channels)
        }
        Run::Samples(samples) => into.silence(samples.len() / channels),
        Run::Silence(samples) => into.silence(samples as usize),
    });
    samples > 0
}

/// Takes a unit onto the recording's clock; whether there was one.
fn correct(
    pcm: &mut TrackPcm,
    (clock, waiting): &mut (ClockConverter, Planar),
    into: &mut Planar,
) -> Result<bool, MixError> {
    while waiting.len() < clock.input() {
        if !fill(pcm, waiting, clock.input() - waiting.len()) {
            return Ok(false);
        }
    }
    clock.process(waiting, into)?;
    Ok(true)
}

fn add_samples(into: &mut [f32], heard: &[i16], gain: f32) {
    into.iter_mut().zip(heard).for_each(|(into, &sample)| *into += f32::from(sample) * gain);
}
