//! Recordings that are sent when they are over, to an API that takes none while they last: one announcement, the files,
//! one word at the end. Each attempt asks for new addresses, since those of the last may have expired, and sends what has
//! not arrived yet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::{StreamExt, stream};
use tracing::info;

use super::Shared;
use super::api::{Api, Place};
use super::error::SendError;
use super::journal::{Segment, Sent};
use super::outgoing::Outgoing;
use super::upload::{Told, put_segment, refuse};

/// What earlier attempts at a recording have done.
#[derive(Default)]
pub(super) struct Batch {
    /// Its id at the API: what has arrived, has arrived there.
    id: String,
    sent: BTreeMap<u64, Sent>,
    /// How often each has failed.
    failed: BTreeMap<u64, u32>,
}

impl Batch {
    /// The API knows the recording by this id now.
    fn announced(&mut self, id: String) {
        if self.id != id {
            self.sent.clear();
            self.id = id;
        }
    }

    /// What is to be sent, and where. What has failed comes last: it is not to keep all the others.
    fn missing(&self, segments: &[Segment], places: Vec<Place>) -> Vec<(Segment, Place)> {
        let placed = segments.iter().cloned().zip(places);
        let mut missing: Vec<_> =
            placed.filter(|(segment, _)| !self.sent.contains_key(&segment.number)).collect();
        missing.sort_by_key(|(segment, _)| self.failed.get(&segment.number).copied());
        missing
    }

    /// Sends everything of a recording that is over.
    pub(super) async fn send(
        &mut self,
        shared: &Shared,
        outgoing: &Arc<Outgoing>,
        api: &Api,
        told: Told,
    ) -> Result<(), SendError> {
        let segments: Vec<_> = told.segments.into_iter().map(|(segment, _)| segment).collect();
        if segments.is_empty() {
            return Ok(());
        }
        let (id, places) = api.init(&told.begun, &segments).await?;
        self.announced(id);
        let each = self.missing(&segments, places).into_iter().map(|(segment, place)| async move {
            let done = send_one(shared, outgoing, api, &segment, &place).await;
            (segment, done)
        });
        let mut under_way = stream::iter(each).buffer_unordered(shared.config.parallel);
        while let Some((segment, done)) = under_way.next().await {
            match done {
                Ok(sent) => drop(self.sent.insert(segment.number, sent)),
                Err(error) if error.is_of_the_segment() => refuse(outgoing, &segment, &error).await?,
                Err(error) => {
                    *self.failed.entry(segment.number).or_default() += 1;
                    return Err(error);
                }
            }
        }
        api.complete(&self.id, &segments, &self.sent).await?;
        outgoing.ask(|journal| Ok(journal.take_all())).await?;
        info!(recording = %outgoing.id, segments = self.sent.len(), "segments sent at the end");
        Ok(())
    }
}

/// Sends a segment, for as long as its address may still take it.
async fn send_one(
    shared: &Shared,
    outgoing: &Outgoing,
    api: &Api,
    segment: &Segment,
    place: &Place,
) -> Result<Sent, SendError> {
    let _turn = shared.turns.acquire().await;
    let file = outgoing.folder.join(&segment.file);
    let mut tries = 0;
    let sent = loop {
        api.await_share(segment).await;
        match put_segment(api, segment, place, &file).await {
            Err(error @ (SendError::Unavailable { .. } | SendError::Busy { .. })) => {
                tokio::time::sleep(shared.failed(outgoing, &error, tries)).await;
                tries += 1;
            }
            done => break done?,
        }
    };
    shared.counts.sent.fetch_add(1, Ordering::Relaxed);
    shared.counts.sent_bytes.fetch_add(segment.bytes, Ordering::Relaxed);
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use reeltime_core::cuts::Mark;
    use reeltime_core::id::TrackId;
    use uuid::Uuid;

    use super::*;

    fn segment(number: u64) -> Segment {
        Segment {
            number,
            track: TrackId(Uuid::nil()),
            participant: "ann".to_owned(),
            index: number,
            file: format!("ann/segment_{number:03}.wav"),
            bytes: 100,
            start_ms: 1,
            end_ms: 2,
            next: Mark::default(),
        }
    }

    fn missing(batch: &Batch) -> Vec<u64> {
        let segments: Vec<_> = (0..4).map(segment).collect();
        let url = |_| Place { url: "https://a.example".parse().unwrap(), path: String::new() };
        let missing = batch.missing(&segments, (0..4).map(url).collect());
        missing.into_iter().map(|(segment, _)| segment.number).collect()
    }

    #[test]
    fn what_has_failed_comes_last_and_what_has_arrived_no_more_unless_the_api_begins_anew() {
        let mut batch = Batch::default();
        batch.announced("a".to_owned());
        batch.failed.extend([(0, 2), (1, 1)]);
        assert_eq!(missing(&batch), [2, 3, 1, 0]);
        batch.sent.insert(2, Sent { number: 2, url: "u".to_owned(), path: "p".to_owned() });
        batch.announced("a".to_owned());
        assert_eq!(missing(&batch), [3, 1, 0]);
        batch.announced("b".to_owned());
        assert_eq!(missing(&batch), [2, 3, 1, 0]);
    }
}
