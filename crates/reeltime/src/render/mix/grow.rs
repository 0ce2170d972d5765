//! A mix that grows with its recording and comes out as what is made of the recording at its end, byte for byte but for
//! its head: or says that it does not.
//!
//! Who is silent is waited for as long as the horizon is. What is mixed was known a beat before, so that who began
//! meanwhile has joined by then.

use std::sync::Arc;
use std::time::Duration;

use reeltime_core::codec::Spec;
use reeltime_core::media::Container;
use reeltime_core::render::MixRenderer;
use reeltime_core::time::Micros;
use reeltime_core::timeline::Layout;
use tokio::sync::{oneshot, watch};

use super::{MixJob, MixTrack, Out, Prepared, Since, TURNS};
use crate::blocking::blocking;
use crate::recorder::MediaError;
use crate::render::track::Progress;
use crate::spool::{Disk, TrackLog};
use crate::store::{ByteStream, Store};

/// How often a mix goes on.
const BEAT: Duration = Duration::from_secs(2);
/// Nobody is passed over up to the very end of what is known of the others, which may be rounded.
const MARGIN: Micros = Micros::from_millis(1);

/// What is known of a recording that goes on.
pub(crate) struct Growth {
    pub(crate) disk: Arc<dyn Disk>,
    /// The time on the recording's clock for which nobody is waited any more.
    pub(crate) passed: Box<dyn Fn() -> Micros + Send>,
    /// Whether nothing more will be recorded.
    pub(crate) over: watch::Receiver<bool>,
    /// The tracks that have begun since it was last asked. It may block.
    pub(crate) joined: Box<dyn FnMut() -> Vec<MixTrack> + Send>,
}

/// How it came out.
#[derive(Debug)]
pub(crate) struct Ending {
    /// It is what is made of tracks with these layouts.
    pub(crate) steady: bool,
    pub(crate) layouts: Vec<Layout>,
    /// Samples per channel.
    pub(crate) samples: u64,
    /// What belongs at its beginning, where that is something else than what stands there.
    pub(crate) head: Option<Vec<u8>>,
}

impl MixJob {
    /// Opens the tracks for a file whose head keeps its length, with what is told the encoder.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub(crate) async fn prepare_growing(
        &self,
        store: &Arc<dyn Store>,
    ) -> Result<(Prepared, Spec), MediaError> {
        let mixer = self.mixer(&[])?;
        // A WAV file of unknown length leaves room for more than it will need.
        let samples = (self.container == Container::Wav).then_some(0);
        let spec = Spec { samples, ..self.spec(&mixer) };
        let encoder = reeltime_codec::encoder(self.container, &spec)?;
        let renderer = MixRenderer::new(mixer, encoder);
        Ok((self.opened(store, renderer, Out::new(0, u64::MAX)).await?, spec))
    }
}

impl Prepared {
    /// Starts to make the file, to the end of its recording; then it is told how that came out.
    pub(crate) fn grow(self, mut growth: Growth) -> (ByteStream, oneshot::Receiver<Ending>) {
        let (sender, stream) = ByteStream::channel(2);
        let (told, ending) = oneshot::channel();
        tokio::spawn(async move {
            let mut growing = self;
            let mut before = None;
            loop {
                let over = *growth.over.borrow_and_update();
                let joined = blocking(move || {
                    growing.join((growth.joined)());
                    std::io::Result::Ok((growing, growth))
                });
                let Ok(next) = joined.await else { return };
                (growing, growth) = next;
                let patient = (growth.passed)();
                let logs = growing.logs().map(Option::<&_>::cloned).collect();
                let now = look(logs, over, patient).await;
                let known = if over { Some(now.clone()) } else { before.replace(now.clone()) };
                let mut progress = Progress::AllRead;
                if let Some(since) = known {
                    let turn = TURNS.acquire().await;
                    // A log that cannot be read breaks the body off, and so does a reader that went away.
                    let Ok(next) = growing.advance(&growth.disk, since).await else { return };
                    drop(turn);
                    (growing, progress) = next;
                }
                let chunk = growing.out.take();
                if !chunk.is_empty() && sender.send(chunk).await.is_err() {
                    return;
                }
                match progress {
                    Progress::Full => {}
                    Progress::AllRead if over => {
                        let _ = told.send(growing.ending(now.layouts));
                        let _ = sender.finish().await;
                        return;
                    }
                    Progress::AllRead if sender.is_closed() => return,
                    Progress::AllRead => {
                        let _ = tokio::time::timeout(BEAT, growth.over.changed()).await;
                    }
                }
            }
        });
        (stream, ending)
    }

    fn ending(&mut self, layouts: Vec<Option<Layout>>) -> Ending {
        let head = self.renderer.head();
        let mixer = self.renderer.mixer();
        Ending {
            steady: mixer.is_steady() && layouts.iter().all(Option::is_some),
            layouts: layouts.into_iter().flatten().collect(),
            samples: mixer.samples(),
            head,
        }
    }
}

/// What is known of tracks now; nobody is waited for before `patient`. As long as the recording is not `over` somebody may
/// join, so one stays open.
async fn look(logs: Vec<Option<Arc<TrackLog>>>, over: bool, patient: Micros) -> Since {
    // In this order: what is appended before the end is seen, is also read.
    let mut ended: Vec<bool> =
        logs.iter().map(|log| log.as_ref().is_none_or(|log| log.is_closed())).collect();
    let last = logs.iter().rposition(Option::is_some);
    if let Some(last) = last.filter(|_| !over && ended.iter().all(|ended| *ended)) {
        ended[last] = false;
    }
    for log in logs.iter().flatten() {
        log.flush().await;
    }
    let layouts: Vec<_> = logs.iter().map(|log| log.as_ref().and_then(|log| log.layout())).collect();
    let end = |(log, layout): (&Option<Arc<TrackLog>>, &Option<Layout>)| {
        let (rate, layout) = (log.as_ref()?.header().format.rate, layout.as_ref()?);
        Some(layout.start.0 + Micros::from_samples(layout.samples, rate).0)
    };
    let latest = logs.iter().zip(&layouts).filter_map(end).max().unwrap_or(0);
    let passed = Micros(patient.0.min(latest.saturating_sub(MARGIN.0)));
    Since { ended, layouts, passed }
}
