//! Tracks to one file: what of them is heard where, at which rate and level, in which format.

use std::io;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::Duration;

use reeltime_core::codec::{Spec, Tags};
use reeltime_core::log::Record;
use reeltime_core::media::{Container, Format};
use reeltime_core::peaks::PeaksEncoder;
use reeltime_core::render::{
    Drift, DriftMeter, LoudnessMeter, MixRenderer, Mixer, Need, Plan, Run, TrackInput, TrackPcm,
};
use reeltime_core::time::Micros;
use reeltime_core::timeline::{Counters, Counting, Layout};
use tokio::sync::OwnedSemaphorePermit;

mod beside;
mod grow;
mod make;

pub(crate) use grow::{Ending, Growth};
use make::TURNS;

use super::feed::{Counted, Feed, Log, Origin};
use super::track::{Out, Progress, survey_chain};
use crate::blocking::blocking;
use crate::encode::{Encoding, Made};
use crate::error::Error;
use crate::recorder::MediaError;
use crate::spool::{Chain, Disk, Item, Reach, TrackLog, read_chain};
use crate::store::{ByteStream, Store};

/// A track to be heard.
#[derive(Clone)]
pub(crate) struct MixTrack {
    pub(crate) participant: String,
    pub(crate) format: Format,
    pub(crate) counting: Counting,
    pub(crate) layout: Layout,
    pub(crate) origin: Origin,
    /// Its log's packets count one after the other, whatever lay between them.
    pub(crate) gapless: bool,
    /// How much louder it is heard, where no loudness is asked for.
    pub(crate) gain: f32,
    /// How far its clock is off, where that is known: see [`Drift::ppm`].
    pub(crate) drift_ppm: Option<f64>,
    /// While it is being recorded and the file is to follow it.
    pub(crate) live: Option<Arc<TrackLog>>,
}

/// A file to make of tracks.
#[derive(Clone)]
pub(crate) struct MixJob {
    pub(crate) plan: Plan,
    pub(crate) tracks: Vec<MixTrack>,
    pub(crate) container: Container,
    pub(crate) bitrate: Option<u32>,
    pub(crate) tags: Tags,
    /// In LUFS: every track is brought there.
    pub(crate) loudness: Option<f32>,
}

/// A file that is ready to be made.
pub(crate) struct Prepared {
    renderer: MixRenderer,
    tracks: Vec<Source>,
    out: Out,
    /// Its room among those that are made, given back when it is.
    room: Option<OwnedSemaphorePermit>,
    /// Nobody waits for it.
    gentle: bool,
    beside: Option<Encoding<Box<dyn Made>>>,
}

struct Source {
    feed: Box<dyn Feed>,
    /// The log that grows, and its files as last found.
    live: Option<(Arc<TrackLog>, Arc<Chain>)>,
    /// See [`MixTrack::gapless`].
    gapless: bool,
}

/// What is known of a recording that goes on.
pub(crate) struct Live {
    pub(crate) disk: Arc<dyn Disk>,
    /// The time on the recording's clock for which nobody is waited any more.
    pub(crate) passed: Box<dyn Fn() -> Micros + Send>,
    /// The tracks that have begun since it was last asked. It may block.
    pub(crate) joined: Box<dyn FnMut() -> Vec<MixTrack> + Send>,
}

impl MixJob {
    /// What the encoder is told, and how long the file is where that is known beforehand.
    ///
    /// # Errors
    /// Where the tracks cannot be had in this way.
    pub(crate) fn describe(&self) -> Result<(Spec, Option<u64>), MediaError> {
        let mixer = self.mixer(&[])?;
        let spec = self.spec(&mixer);
        // An encoder that cannot be had says so before anything is sent.
        let len = file_len(self.container, &spec)?;
        Ok((spec, len))
    }

    /// Whether the file has all that its tracks have: an encoder may know fewer rates.
    pub(crate) fn is_at_full_rate(&self) -> bool {
        let inputs = self.inputs(&[]).ok();
        let full = inputs.and_then(|inputs| Mixer::rate(&self.plan, &inputs).ok());
        full.is_some_and(|full| reeltime_codec::rate_for(self.container, full) == full)
    }

    fn spec(&self, mixer: &Mixer) -> Spec {
        Spec { bitrate: self.bitrate, tags: self.tags.clone(), ..mixer.spec() }
    }

    /// `gains`: of each track; its own where there is none.
    ///
    /// # Errors
    /// Where the tracks cannot be had in this way.
    pub(crate) fn mixer(&self, gains: &[f32]) -> Result<Mixer, MediaError> {
        let (mut plan, inputs) = (self.plan.clone(), self.inputs(gains)?);
        if plan.rate.is_none() {
            // The highest that there is, where the format knows it.
            plan.rate = Some(reeltime_codec::rate_for(self.container, Mixer::rate(&plan, &inputs)?));
        }
        Ok(Mixer::new(plan, inputs)?)
    }

    fn inputs(&self, gains: &[f32]) -> Result<Vec<TrackInput>, reeltime_codec::Error> {
        let gain = |number: usize, track: &MixTrack| gains.get(number).copied().unwrap_or(track.gain);
        self.tracks.iter().enumerate().map(|(number, track)| track.input(gain(number, track))).collect()
    }

    /// Opens the tracks; levels are measured here.
    ///
    /// # Errors
    /// Where a track cannot be read, or not be had in this way.
    pub(crate) async fn prepare(
        &self,
        store: &Arc<dyn Store>,
        range: Option<Range<u64>>,
    ) -> Result<Prepared, MediaError> {
        let gains = match self.loudness {
            Some(target) => self.gains(store, target).await?,
            None => Vec::new(),
        };
        let job = self.clone();
        let (renderer, out) = blocking(move || job.renderer(&gains, range)).await?;
        self.opened(store, renderer, out).await
    }

    fn renderer(&self, gains: &[f32], range: Option<Range<u64>>) -> Result<(MixRenderer, Out), MediaError> {
        let (mut pass, left) = range.map_or((0, u64::MAX), |range| (range.start, range.end - range.start));
        let mut sought = self.clone();
        if pass > 0 && self.container == Container::Wav && self.plan.range.is_none() {
            // Samples lie where they can be counted: those before are not made, but for the head, which is left out.
            let (spec, _) = self.describe()?;
            let (align, samples) = (u64::from(spec.channels) * 2, spec.samples.unwrap_or(0));
            let mut head = Vec::new();
            reeltime_codec::encoder(self.container, &spec)?.start(&mut head);
            let head = head.len() as u64;
            let first = (pass.saturating_sub(head) / align).min(samples);
            sought.plan.range = Some(first..samples);
            pass -= first * align;
        }
        let mixer = sought.mixer(gains)?;
        let encoder = reeltime_codec::encoder(self.container, &self.spec(&mixer))?;
        Ok((MixRenderer::new(mixer, encoder), Out::new(pass, left)))
    }

    /// Opens the tracks to make peaks of them, as loud as with this linear gain, instead of a sound file.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub(crate) async fn prepare_peaks(
        &self,
        store: &Arc<dyn Store>,
        samples_per_pixel: u32,
        gain: f32,
    ) -> Result<Prepared, MediaError> {
        let job = self.clone();
        let made = blocking(move || {
            let mixer = job.mixer(&[])?;
            let encoder = PeaksEncoder::new(&mixer.spec(), samples_per_pixel, gain);
            Ok::<_, MediaError>(MixRenderer::new(mixer, Box::new(encoder)))
        });
        self.opened(store, made.await?, Out::new(0, u64::MAX)).await
    }

    async fn opened(
        &self,
        store: &Arc<dyn Store>,
        renderer: MixRenderer,
        out: Out,
    ) -> Result<Prepared, MediaError> {
        let mut tracks = Vec::new();
        for track in &self.tracks {
            let feed = track.open(store, self.plan.open).await?;
            let live = match &track.origin {
                Origin::Log(chain) => track.live.clone().map(|log| (log, Arc::clone(chain))),
                Origin::Stored(_) | Origin::Flac(_) => None,
            };
            tracks.push(Source { feed, live, gapless: track.gapless });
        }
        Ok(Prepared { renderer, tracks, out, room: None, gentle: false, beside: None })
    }

    async fn gains(&self, store: &Arc<dyn Store>, target: f32) -> Result<Vec<f32>, MediaError> {
        let mut gains = Vec::new();
        for track in &self.tracks {
            let mut feed = track.open(store, false).await?;
            let MixTrack { format, counting, layout, .. } = track.clone();
            let measured = blocking(move || {
                let decoder = reeltime_codec::decoder(format)?;
                let mut meter = LoudnessMeter::new(decoder.channels(), format.rate);
                let mut pcm = TrackPcm::new(format, counting, &layout, decoder);
                let mut more = true;
                while more {
                    more = feed.give(&mut |meta, payload| pcm.push(meta, payload)).map_err(Error::Spool)?;
                    let there = pcm.available();
                    pcm.read(there, |run| match run {
                        Run::Samples(samples) => meter.samples(samples),
                        Run::Silence(samples) => meter.silence(samples),
                    });
                }
                Ok::<_, MediaError>(meter.gain(target))
            });
            gains.push(measured.await?);
        }
        Ok(gains)
    }
}

impl MixTrack {
    fn input(&self, gain: f32) -> Result<TrackInput, reeltime_codec::Error> {
        Ok(TrackInput {
            participant: self.participant.clone(),
            format: self.format,
            counting: self.counting,
            layout: self.layout.clone(),
            decoder: reeltime_codec::decoder(self.format)?,
            gain,
            drift: self.drift_ppm.and_then(Drift::from_ppm),
        })
    }

    async fn open(&self, store: &Arc<dyn Store>, growing: bool) -> Result<Box<dyn Feed>, Error> {
        Ok(self.counted(self.origin.open(&**store, self.format, &self.layout, growing).await?))
    }

    fn counted(&self, feed: Box<dyn Feed>) -> Box<dyn Feed> {
        if self.gapless { Box::new(Counted::new(self.format, feed)) } else { feed }
    }
}

/// The media alone, without what lay between; all packets count.
pub(crate) fn gapless(layout: &Layout) -> Layout {
    Layout {
        start: layout.start,
        samples: layout.counters.media_samples,
        counters: Counters { packets: u64::MAX, ..layout.counters },
        ..Layout::default()
    }
}

/// Bytes of a file with these samples, where that is known before it is made.
///
/// # Errors
/// Where there is no such encoder.
pub(crate) fn file_len(container: Container, spec: &Spec) -> Result<Option<u64>, reeltime_codec::Error> {
    let mut encoder = reeltime_codec::encoder(container, spec)?;
    let (Container::Wav, Some(samples)) = (container, spec.samples) else { return Ok(None) };
    let mut around = Vec::new();
    encoder.start(&mut around);
    let _ = encoder.finish(&mut around);
    Ok(Some(around.len() as u64 + samples * u64::from(spec.channels) * 2))
}

/// How far the clock of a logged track is off, in parts in a million.
///
/// # Errors
/// Where the log cannot be read.
pub(crate) fn drift_of(chain: &Chain, layout: &Layout) -> io::Result<Option<f64>> {
    let header = chain.header();
    let mut meter = DriftMeter::new(header.format.rate, header.counting);
    read_chain(chain, |item| {
        if let Item::Record(Record::Packet(packet)) = item {
            meter.packet(packet.meta, header.format.samples_in(packet.payload).unwrap_or(0));
        }
        ControlFlow::Continue(())
    })?;
    Ok(meter.drift(layout).map(Drift::ppm))
}

impl Prepared {
    /// Makes a chunk, or what is left.
    fn step(&mut self) -> io::Result<Progress> {
        let failed = |error| io::Error::other(format!("cannot render: {error}"));
        while !self.out.is_full() {
            let mixer = self.renderer.mixer();
            if let Need::Packet(number) = mixer.needs().map_err(failed)? {
                let source = &mut self.tracks[number];
                if !source.feed.give(&mut |meta, payload| mixer.push(number, meta, payload))? {
                    mixer.end(number);
                }
            } else if !self.mix()? {
                return Ok(Progress::AllRead);
            }
        }
        Ok(self.out.progress())
    }

    /// Starts to make a file of tracks that are being recorded, to their end: its bytes come as they are received,
    /// that much [later](Live::passed) at most where a track is silent.
    pub(crate) fn follow(self, mut live: Live) -> ByteStream {
        let (sender, stream) = ByteStream::channel(2);
        tokio::spawn(async move {
            let mut following = self;
            loop {
                let joined = blocking(move || {
                    following.join((live.joined)());
                    io::Result::Ok((following, live))
                });
                let Ok(next) = joined.await else { return };
                (following, live) = next;
                // In this order: what is appended before the end is seen, is also read.
                let ended: Vec<bool> =
                    following.logs().map(|log| log.is_none_or(|log| log.is_closed())).collect();
                for log in following.logs().flatten().cloned().collect::<Vec<_>>() {
                    log.flush().await;
                }
                let layouts: Vec<_> = following.logs().map(|log| log.and_then(|log| log.layout())).collect();
                let passed = (live.passed)();
                let done = ended.iter().all(|ended| *ended);
                let turn = TURNS.acquire().await;
                let since = Since { ended, layouts, passed };
                // A log that cannot be read breaks the body off, and so does a reader that went away.
                let Ok((next, progress)) = following.advance(&live.disk, since).await else { return };
                drop(turn);
                following = next;
                let chunk = following.out.take();
                if !chunk.is_empty() && sender.send(chunk).await.is_err() {
                    return;
                }
                match progress {
                    Progress::Full => {}
                    Progress::AllRead if done => {
                        let _ = sender.finish().await;
                        return;
                    }
                    Progress::AllRead => tokio::time::sleep(BEAT).await,
                }
            }
        });
        stream
    }

    /// Makes what can be made of tracks that are being recorded, as they are now, and gives it to `made`. What is
    /// known of the tracks was so before their logs were flushed.
    ///
    /// # Errors
    /// Where a log cannot be read, or `made` takes nothing.
    pub(crate) async fn catch_up<M: Made + 'static>(
        mut self,
        mut made: M,
        disk: &Arc<dyn Disk>,
        since: &Since,
    ) -> io::Result<(Self, M)> {
        loop {
            let (disk, since) = (Arc::clone(disk), since.clone());
            let step = blocking(move || {
                let progress = self.go_on(&*disk, &since)?;
                // Nothing is kept until the next time.
                made.bytes(&std::mem::take(&mut self.out.buffer))?;
                io::Result::Ok((self, made, progress))
            });
            let progress;
            (self, made, progress) = step.await?;
            if progress == Progress::AllRead {
                return Ok((self, made));
            }
        }
    }

    /// Takes in the tracks that have begun since. One that cannot be heard is left out: the others go on.
    fn join(&mut self, tracks: Vec<MixTrack>) {
        for track in tracks {
            let (Origin::Log(chain), Some(log)) = (&track.origin, &track.live) else { continue };
            let joined = track.input(track.gain).ok().map(|input| self.renderer.mixer().join(input));
            if matches!(joined, Some(Ok(true))) {
                let feed = Box::new(Log::new(Arc::clone(chain), &track.layout, Reach::Growing));
                let live = Some((Arc::clone(log), Arc::clone(chain)));
                self.tracks.push(Source { feed: track.counted(feed), live, gapless: track.gapless });
            }
        }
    }

    /// Of each track the log, where it is being recorded.
    fn logs(&self) -> impl Iterator<Item = Option<&Arc<TrackLog>>> {
        self.tracks.iter().map(|source| source.live.as_ref().map(|(log, _)| log))
    }

    /// Makes a chunk, on a thread that may block.
    async fn advance(mut self, disk: &Arc<dyn Disk>, since: Since) -> io::Result<(Self, Progress)> {
        let disk = Arc::clone(disk);
        blocking(move || {
            let progress = self.go_on(&*disk, &since)?;
            Ok((self, progress))
        })
        .await
    }

    /// Mixes what has come since.
    fn go_on(&mut self, disk: &dyn Disk, since: &Since) -> io::Result<Progress> {
        let failed = |error| io::Error::other(format!("cannot render: {error}"));
        for (number, source) in self.tracks.iter_mut().enumerate() {
            let Some((log, found)) = &mut source.live else {
                self.renderer.mixer().close(number);
                continue;
            };
            // One that was released meanwhile is read on from the files that are open.
            if let Ok(chain) = Chain::find(disk, log.id()) {
                *found = Arc::new(chain);
            }
            // Who joined after what is known was found out is mixed from the next time on.
            let Some(known) = since.layouts.get(number) else { continue };
            let layout = match known {
                Some(layout) => layout.clone(),
                None => survey_chain(found)?,
            };
            source.feed.renew(Arc::clone(found), layout.counters.packets);
            let layout = if source.gapless { gapless(&layout) } else { layout };
            self.renderer.mixer().extend(number, &layout);
            match since.ended[number] {
                true => self.renderer.mixer().close(number),
                false => self.renderer.mixer().pass_to(number, since.passed),
            }
        }
        while !self.out.is_full() {
            let mixer = self.renderer.mixer();
            match mixer.needs().map_err(failed)? {
                Need::Packet(number) => {
                    let source = &mut self.tracks[number];
                    let mut given = false;
                    let more = source.feed.give(&mut |meta, payload| {
                        given = true;
                        mixer.push(number, meta, payload);
                    })?;
                    match (more, since.ended.get(number).is_some_and(|ended| *ended)) {
                        (false, true) => mixer.end(number),
                        (false, false) if !given => return Ok(Progress::AllRead),
                        _ => {}
                    }
                }
                Need::Extend => return Ok(Progress::AllRead),
                Need::Step | Need::Done => {
                    if !self.mix()? {
                        return Ok(Progress::AllRead);
                    }
                }
            }
        }
        Ok(Progress::Full)
    }
}

/// What is known of tracks that are being recorded.
#[derive(Clone)]
pub(crate) struct Since {
    /// Of each: nothing more will come.
    ended: Vec<bool>,
    /// Of each: its layout, where that is known.
    layouts: Vec<Option<Layout>>,
    /// On the recording's clock: nobody waits for what is before this and has not come.
    passed: Micros,
}

impl Since {
    /// Of tracks with these layouts, all of which may go on: their ends are left to the file that is made when all is
    /// over.
    pub(crate) fn open(layouts: Vec<Layout>, passed: Micros) -> Self {
        Self { ended: vec![false; layouts.len()], layouts: layouts.into_iter().map(Some).collect(), passed }
    }
}

/// How often live tracks that are followed are looked at.
const BEAT: Duration = Duration::from_millis(250);
