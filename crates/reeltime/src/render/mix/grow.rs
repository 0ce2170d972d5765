//! A mix that grows with its recording and comes out as what is made of the recording at its end, byte for byte but for
//! its head: or says that it does not.
//!
//! Nobody is passed over: who is silent is waited for. What is mixed was known a beat before, so that who began meanwhile
//! has joined by then. It stands as long as no track's time was told by stalls, which hindsight may take back, and nobody
//! joined behind what was mixed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reeltime_core::codec::Spec;
use reeltime_core::render::MixRenderer;
use reeltime_core::time::Micros;
use reeltime_core::timeline::Layout;

use super::{BEAT, MixJob, MixTrack, Out, Prepared, Since, TURNS};
use crate::recorder::MediaError;
use crate::render::track::Progress;
use crate::spool::{Disk, TrackLog};
use crate::store::{ByteStream, Store};

/// What is known of a recording that goes on.
pub(crate) struct Growth {
    pub(crate) disk: Arc<dyn Disk>,
    /// Whether nothing more will be recorded.
    pub(crate) over: Box<dyn Fn() -> bool + Send>,
    /// The tracks that have begun since it was last asked. It may block.
    pub(crate) joined: Box<dyn FnMut() -> Vec<MixTrack> + Send>,
    /// Set to false once what was made is not what will be made at the end.
    pub(crate) stands: Arc<AtomicBool>,
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
        let spec = Spec { samples: Some(0), ..self.spec(&mixer) };
        let encoder = reeltime_codec::encoder(self.container, &spec)?;
        let renderer = MixRenderer::new(mixer, encoder);
        Ok((self.opened(store, renderer, Out::new(0, u64::MAX)).await?, spec))
    }
}

impl Prepared {
    /// Starts to make the file, to the end of its recording. The head at its beginning is that of a file without sound.
    pub(crate) fn grow(self, mut growth: Growth) -> ByteStream {
        let (sender, stream) = ByteStream::channel(2);
        tokio::spawn(async move {
            let mut growing = self;
            let mut before = None;
            loop {
                let over = (growth.over)();
                let joined = tokio::task::spawn_blocking(move || {
                    growing.join_in_time((growth.joined)(), &growth.stands);
                    (growing, growth)
                });
                let Ok(next) = joined.await else { return };
                (growing, growth) = next;
                let logs = growing.logs().map(Option::<&_>::cloned).collect();
                let now = look(logs, over, &growth.stands).await;
                let known = if over { Some(now) } else { before.replace(now) };
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
                        let _ = sender.finish().await;
                        return;
                    }
                    Progress::AllRead if sender.is_closed() => return,
                    Progress::AllRead => tokio::time::sleep(BEAT).await,
                }
            }
        });
        stream
    }

    /// Takes in the tracks that have begun since.
    fn join_in_time(&mut self, tracks: Vec<MixTrack>, stands: &AtomicBool) {
        let mixer = self.renderer.mixer();
        let late = tracks.iter().any(|track| mixer.is_past(track.layout.start));
        let all = self.tracks.len() + tracks.len();
        self.join(tracks);
        if late || self.tracks.len() < all {
            stands.store(false, Ordering::Release);
        }
    }
}

/// What is known of tracks now, by their logs where they are being recorded. As long as the recording is not `over`
/// somebody may join, so one stays open.
async fn look(logs: Vec<Option<Arc<TrackLog>>>, over: bool, stands: &AtomicBool) -> Since {
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
    let told = |(log, layout): (&Option<_>, &Option<Layout>)| {
        log.is_none() || layout.as_ref().is_some_and(|layout| layout.stalls.is_empty())
    };
    if !logs.iter().zip(&layouts).all(told) {
        stands.store(false, Ordering::Release);
    }
    Since { ended, layouts, passed: Micros(0) }
}
