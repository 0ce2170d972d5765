//! What a file says of the recording that it is made of.

use reeltime_core::codec::{Chapter, Tags};
use reeltime_core::manifest::{Manifest, Track};
use reeltime_core::media::Container;

use super::selection::MediaError;
use crate::render::MixJob;

/// Chapters in a file, at most: more are of no use to anyone.
const MOST_CHAPTERS: usize = 500;

/// Call, participants, start; marks and gaps as chapters. A WAV file without those is audio alone, and where its length is
/// unknown, so that all would stand before the sound, it is they alone.
pub(super) fn tags(manifest: &Manifest, tracks: &[&Track], job: &MixJob) -> Result<Tags, MediaError> {
    let mixer = job.mixer(&[])?;
    let spec = mixer.spec();
    let start = tracks.iter().map(|track| track.layout.start.0).min().unwrap_or(0);
    let of = |track: &&Track| chapters(track, start, spec.rate);
    let mut chapters: Vec<Chapter> = tracks.iter().flat_map(of).collect();
    chapters.iter_mut().for_each(|chapter| chapter.at = mixer.place(chapter.at));
    chapters.sort_by_key(|chapter| chapter.at);
    chapters.truncate(MOST_CHAPTERS);
    if job.container == Container::Wav && (chapters.is_empty() || spec.samples.is_none()) {
        return Ok(Tags { chapters, ..Tags::default() });
    }
    let mut artists: Vec<_> = tracks.iter().map(|track| track.participant.clone()).collect();
    artists.dedup();
    Ok(Tags {
        title: manifest.call_id.clone(),
        artists,
        date: Some(manifest.started_at.clone()),
        comment: Some(format!("recording {}", manifest.id)),
        chapters,
    })
}

/// A track's marks and gaps, counted at `rate` from `start` on the recording's clock.
fn chapters(track: &Track, start: u64, rate: u32) -> Vec<Chapter> {
    let before = (track.layout.start.0 - start) as f64 / 1e6;
    let place = |at: u64| {
        let seconds = before + at as f64 / f64::from(track.format.rate.max(1));
        (seconds * f64::from(rate)).round() as u64
    };
    let marks = track.layout.marks.iter().map(|mark| (mark.at, mark.name.clone()));
    let gaps = track.layout.gaps.iter().map(|gap| {
        let seconds = gap.samples as f64 / f64::from(track.format.rate.max(1));
        let reason = serde_json::to_value(gap.reason).ok();
        let reason = reason.as_ref().and_then(|reason| reason.as_str()).unwrap_or("gap").replace('_', " ");
        (gap.at, format!("{}: {seconds:.1} s missing ({reason})", track.participant))
    });
    marks.chain(gaps).map(|(at, name)| Chapter { at: place(at), name }).collect()
}
