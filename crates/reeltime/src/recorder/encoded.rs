//! The transcribe socket's files in the format that is set: what the WAV would hold, encoded when the session is over.

use std::io;
use std::sync::Arc;

use futures_util::StreamExt;
use reeltime_core::codec::{Spec, Tags};
use reeltime_core::log::Purpose;
use reeltime_core::manifest;
use reeltime_core::media::{Codec, Container};
use reeltime_core::peaks::PeaksEncoder;
use reeltime_core::render::TrackRenderer;
use tracing::warn;

use super::Recorder;
use super::live::LiveRecording;
use super::part::Part;
use super::peaks::{BASE, kept_key};
use super::publish::{Settled, master, new_object};
use super::selection::MediaError;
use super::view::is_flat;
use crate::blocking::blocking;
use crate::catalogue::{ObjectKind, StoredObject};
use crate::encode::{Encoding, WavSamples, nearest};
use crate::error::Error;
use crate::render::{Job, render};
use crate::spool::Chain;

impl Recorder {
    /// Stores a track in the format that its façade asks for. `None` where that is WAV, or cannot be made: no recording
    /// is lost for want of an encoder.
    pub(super) async fn store_encoded(
        &self,
        recording: &LiveRecording,
        track: &Settled,
    ) -> Result<Option<(StoredObject, Container)>, Error> {
        let Purpose::Transcribe { format, bitrate, .. } = track.header.purpose else { return Ok(None) };
        if format == Container::Wav {
            return Ok(None);
        }
        let part = match self.encode(recording, track, format, bitrate).await {
            Ok(part) => part,
            Err(error) => {
                warn!(recording = %recording.id, %format, %error, "cannot make the format that is set; the recording is kept as WAV");
                return Ok(None);
            }
        };
        let key = self.key(recording, &track.header, format.name())?;
        let object = new_object(recording, Some(track.log.id()), ObjectKind::Master, key, format.mime());
        let stored = self.put(recording, object, Some(part.path()), || part.read()).await?;
        Ok(Some((stored, format)))
    }

    /// Makes the file, and the peaks: nobody reads the samples out of it again.
    async fn encode(
        &self,
        recording: &LiveRecording,
        track: &Settled,
        container: Container,
        bitrate: Option<u32>,
    ) -> Result<Part, MediaError> {
        let (format, counting, output) = (track.header.format, track.header.counting, master(track));
        let mut renderer = TrackRenderer::new(format, counting, &track.layout, output)?;
        let mut head = Vec::new();
        renderer.head(&mut head);
        let bytes = renderer.wav_len().unwrap_or(0).saturating_sub(head.len() as u64);
        let samples = bytes / (2 * u64::from(format.channels.max(1)));
        let tags = Tags {
            title: Some(recording.call_name()),
            artists: vec![track.header.participant.clone()],
            date: Some(track.header.epoch.to_string()),
            comment: Some(format!("recording {}", recording.id)),
            chapters: Vec::new(),
        };
        let spec =
            Spec { rate: format.rate, channels: format.channels, samples: Some(samples), bitrate, tags };
        let ((file_part, file), (peaks_part, peaks_file)) = (self.part().await?, self.part().await?);
        let (disk, id) = (Arc::clone(self.inner().spool.disk()), track.log.id());
        let begun = blocking(move || {
            let peaks = PeaksEncoder::new(&spec, BASE, 1.0);
            let encodings = vec![
                Encoding::begin(nearest(container, &spec)?, file),
                Encoding::begin(Box::new(peaks), peaks_file),
            ];
            let chain = Chain::find(&*disk, id).map_err(Error::from)?;
            Ok::<_, MediaError>((encodings, chain))
        });
        let (mut encodings, chain) = begun.await?;
        let layout = track.layout.clone();
        let mut samples = WavSamples::new(Codec::S16le, head.len());
        let mut wav = render(Job { chain: Arc::new(chain), format, counting, layout, output, range: None });
        while let Some(chunk) = wav.next().await {
            let chunk = chunk.map_err(Error::Spool)?;
            let step = blocking(move || {
                samples
                    .each(&chunk, |some| encodings.iter_mut().try_for_each(|encoding| encoding.push(some)))?;
                io::Result::Ok((samples, encodings))
            });
            (samples, encodings) = step.await.map_err(Error::Spool)?;
        }
        let finished =
            blocking(move || encodings.into_iter().try_for_each(|encoding| encoding.finish().map(drop)));
        finished.await.map_err(Error::Spool)?;
        let key = kept_key(recording.id, &[track.log.id()], format.channels, BASE);
        self.keep(&key, peaks_part).await?;
        Ok(file_part)
    }
}

/// The format of a track's file where that is not one that samples are read out of.
pub(super) fn encoded_as(track: &manifest::Track) -> Option<Container> {
    let object = track.object.as_ref().filter(|object| is_flat(object))?;
    Container::ALL
        .into_iter()
        .find(|container| container.mime() == object.mime)
        .filter(|&c| c != Container::Wav)
}
