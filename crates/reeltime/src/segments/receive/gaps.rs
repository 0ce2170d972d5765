//! What never came, as gaps of its speaker's track.

use std::ops::Range;

use reeltime_core::log::GapReason;
use reeltime_core::time::Micros;
use reeltime_core::timeline::{Gap, Layout};

use super::cover::Cover;
use crate::catalogue::{Segment, SegmentState};
use crate::error::Error;
use crate::recorder::{LiveRecording, Recorder, Settled};

impl Recorder {
    /// Marks the segments that never came in the layouts of a recording's tracks: each in its speaker's first.
    pub(crate) async fn note_missing(
        &self,
        recording: &LiveRecording,
        tracks: &mut [Settled],
    ) -> Result<(), Error> {
        let catalogue = &self.inner().catalogue;
        if catalogue.segment_recording(&recording.tenant, recording.id).await?.is_none() {
            return Ok(());
        }
        let segments = catalogue.segments(&recording.tenant, recording.id).await?;
        let epoch = recording.clock().map_or(recording.created, |clock| clock.epoch).0;
        let micros = |at: i64| u64::try_from(at.saturating_sub(epoch)).unwrap_or(0);
        let stretch = |segment: &Segment| micros(segment.starts_at.0)..micros(segment.ends_at.0);
        tracks.sort_by_key(|track| track.layout.start);
        for segment in segments.iter().filter(|segment| segment.state == SegmentState::Missing) {
            let of_speaker = |track: &&mut Settled| track.header.participant == segment.participant;
            let Some(track) = tracks.iter_mut().find(of_speaker) else { continue };
            let mut came = Cover::default();
            let kept = segments.iter().filter(|kept| kept.state.is_kept());
            kept.filter(|kept| kept.participant == segment.participant)
                .for_each(|kept| came.insert(stretch(kept)));
            for missing in came.missing(stretch(segment)) {
                add_gap(&mut track.layout, track.header.format.rate, &missing);
            }
        }
        Ok(())
    }
}

/// Adds a gap to a layout, which begins earlier or ends later where the gap does.
fn add_gap(layout: &mut Layout, rate: u32, missing: &Range<u64>) {
    if missing.start < layout.start.0 {
        lead(layout, Micros(layout.start.0 - missing.start).to_samples(rate));
        layout.start = Micros(missing.start);
    }
    let at = |time: u64| Micros(time.saturating_sub(layout.start.0)).to_samples(rate);
    let (begin, end) = (at(missing.start), at(missing.end));
    layout.samples = layout.samples.max(end);
    let place = layout.gaps.partition_point(|gap| gap.at < begin);
    // What is said to be missing already is not said twice.
    let begin = place
        .checked_sub(1)
        .map_or(begin, |before| begin.max(layout.gaps[before].at + layout.gaps[before].samples));
    let end = layout.gaps.get(place).map_or(end, |next| end.min(next.at));
    if begin < end {
        layout.gaps.insert(place, Gap { at: begin, samples: end - begin, reason: GapReason::Loss });
    }
}

/// Has a layout begin so many samples earlier.
fn lead(layout: &mut Layout, samples: u64) {
    layout.lead += samples;
    layout.samples += samples;
    layout.gaps.iter_mut().for_each(|gap| gap.at += samples);
    layout.pauses.iter_mut().for_each(|pause| pause.at += samples);
    layout.marks.iter_mut().for_each(|mark| mark.at += samples);
    layout.turns.iter_mut().for_each(|turn| turn.at += samples);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_before_within_and_behind_a_track_are_marked_in_order() {
        let mut layout = Layout { start: Micros(2_000_000), samples: 16_000, ..Layout::default() };
        add_gap(&mut layout, 8_000, &(3_000_000..3_500_000));
        add_gap(&mut layout, 8_000, &(5_000_000..6_000_000));
        add_gap(&mut layout, 8_000, &(1_000_000..1_250_000));
        add_gap(&mut layout, 8_000, &(3_000_000..3_250_000));
        let gap = |at, samples| Gap { at, samples, reason: GapReason::Loss };
        assert_eq!(layout.gaps, [gap(0, 2_000), gap(16_000, 4_000), gap(32_000, 8_000)]);
        assert_eq!((layout.start, layout.lead, layout.samples), (Micros(1_000_000), 8_000, 40_000));
    }
}
