//! A recording's sound as a stream of bytes: from the store once it is published, from the spool before.

use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use reeltime_core::id::{RecordingId, TrackId};
use reeltime_core::keys::ObjectKey;
use reeltime_core::log::Purpose;
use reeltime_core::manifest::Manifest;
use reeltime_core::media::{Codec, Format};
use reeltime_core::render::{Gaps, Output, RenderError, Samples, Sizes, TrackRenderer};

use super::live::LiveRecording;
use super::publish::{Settled, extension, master};
use super::{Recorder, decode};
use crate::error::Error;
use crate::render::{Job, follow, render};
use crate::spool::{Chain, TrackLog};
use crate::store::ByteStream;

/// A container to serve. More come with the renderer's encoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaFormat {
    /// WAV.
    Wav,
    /// Ogg, from Opus as received.
    Ogg,
}

impl FromStr for MediaFormat {
    type Err = MediaError;
    fn from_str(text: &str) -> Result<Self, MediaError> {
        match text {
            "wav" => Ok(Self::Wav),
            "ogg" => Ok(Self::Ogg),
            _ => Err(MediaError::UnknownFormat(text.chars().take(32).collect())),
        }
    }
}

/// Which sound of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The container; by default the one that holds the track as received.
    pub format: Option<MediaFormat>,
    /// Whose; needed where there are several.
    pub participant: Option<String>,
    /// Which track; needed where a participant has several.
    pub track: Option<TrackId>,
    /// How many channels it must have; as recorded where absent.
    pub channels: Option<u8>,
    /// G.711 as 16 bit linear.
    pub decode: bool,
    /// Of a live recording: go on to its end.
    pub follow: bool,
}

/// Why a sound cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// The tenant has no such recording.
    #[error("Recording not found")]
    NotFound,
    /// Nothing was recorded, or nothing yet.
    #[error("nothing is recorded yet")]
    Empty,
    /// Several participants and none named, or one that is not there.
    #[error("name one participant, or one track; this recording has {}", .known.join(", "))]
    Participant {
        /// Those that it has, with their tracks.
        known: Vec<String>,
    },
    /// Another number of channels than was recorded.
    #[error("the recording has {recorded} channels, not {asked}: mixes and other layouts are not made yet")]
    Channels {
        /// Channels asked for.
        asked: u8,
        /// Channels recorded.
        recorded: u8,
    },
    /// A container that does not exist here.
    #[error("the format {0} is not available: ask for wav or ogg")]
    UnknownFormat(String),
    /// One that does not fit the track.
    #[error(transparent)]
    Format(#[from] RenderError),
    /// Something failed.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// A sound, ready to be read.
#[derive(Debug)]
pub struct Media {
    /// Its media type.
    pub mime: &'static str,
    /// The file name's extension.
    pub extension: &'static str,
    /// Its length in bytes: of a live one, as of now; unknown where only rendering tells.
    pub len: Option<u64>,
    /// Nothing will change any more.
    pub complete: bool,
    /// An entity tag, once complete.
    pub etag: Option<String>,
    recorder: Recorder,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Object {
        key: ObjectKey,
    },
    /// A G.711 master in the store, to be decoded.
    Decode {
        key: ObjectKey,
        format: Format,
        samples: u64,
    },
    /// Still in the spool: opened here, so that a publication meanwhile takes nothing away.
    Spool(Box<Job>),
    /// Nothing yet but a head.
    Head(Bytes),
    /// Being recorded: to its end.
    Live {
        log: Arc<TrackLog>,
        output: Output,
    },
}

impl Recorder {
    /// Finds the sound that `selection` asks for.
    ///
    /// # Errors
    /// See [`MediaError`].
    pub async fn media(
        &self,
        tenant: &str,
        id: RecordingId,
        selection: &Selection,
    ) -> Result<Media, MediaError> {
        if let Some((live, tracks)) = self.live_tracks(tenant, id).await? {
            match self.live_media(&live, &tracks, selection) {
                // Published meanwhile: the catalogue has it now.
                Err(MediaError::Failed(_)) if self.live(tenant, id).is_none() => {}
                found => return found,
            }
        }
        let row =
            self.inner().catalogue.get(tenant, id).await.map_err(Error::from)?.ok_or(MediaError::NotFound)?;
        let manifest: Option<Manifest> =
            row.manifest.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let tracks = manifest.map(|manifest| manifest.tracks).unwrap_or_default();
        let track = choose(&tracks, selection, |track| (&track.participant, track.id))?;
        let object = track.object.as_ref().ok_or(MediaError::Empty)?;
        let output = wanted(track.format, selection)?;
        let key = ObjectKey::new(object.key.clone()).map_err(Error::from)?;
        let decoded = matches!(output, Output::Wav { samples: Samples::Linear { .. }, .. });
        let (samples, format) = (track.layout.samples, track.format);
        let len = if decoded { decode::wav_len(format, samples) } else { object.bytes };
        let source = if decoded { Source::Decode { key, format, samples } } else { Source::Object { key } };
        Ok(Media {
            mime: output.mime(),
            extension: extension(&output),
            len: Some(len),
            complete: true,
            etag: Some(format!("\"{}-{len}\"", track.id)),
            recorder: self.clone(),
            source,
        })
    }

    fn live_media(
        &self,
        live: &LiveRecording,
        tracks: &[Settled],
        selection: &Selection,
    ) -> Result<Media, MediaError> {
        let track = choose(tracks, selection, |track| (&track.header.participant, track.log.id()))?;
        let output = match live.purpose {
            Purpose::Transcribe { .. } => master(track),
            Purpose::Plain => wanted(track.header.format, selection)?,
        };
        if selection.follow && !track.log.is_closed() {
            return Ok(self.followed(Arc::clone(&track.log), output));
        }
        let (format, counting) = (track.header.format, track.header.counting);
        let mut renderer = TrackRenderer::new(format, counting, &track.layout, output)?;
        let len = renderer.wav_len();
        if track.layout.samples == 0 {
            let mut head = Vec::new();
            renderer.head(&mut head);
            return Ok(self.empty(output, head));
        }
        let chain = Chain::find(&**self.inner().spool.disk(), track.log.id()).map_err(Error::from)?;
        let layout = track.layout.clone();
        let job = Job { chain: Arc::new(chain), format, counting, layout, output, range: None };
        Ok(Media {
            mime: output.mime(),
            extension: extension(&output),
            len,
            complete: false,
            etag: None,
            recorder: self.clone(),
            source: Source::Spool(Box::new(job)),
        })
    }
}

impl Recorder {
    /// A live track of which nothing was received yet: a file without sound.
    fn empty(&self, output: Output, head: Vec<u8>) -> Media {
        Media {
            mime: output.mime(),
            extension: extension(&output),
            len: Some(head.len() as u64),
            complete: false,
            etag: None,
            recorder: self.clone(),
            source: Source::Head(Bytes::from(head)),
        }
    }

    fn followed(&self, log: Arc<TrackLog>, output: Output) -> Media {
        let output = match output {
            Output::Wav { samples, gaps, .. } => Output::Wav { samples, gaps, sizes: Sizes::Open },
            Output::Ogg { .. } => output,
        };
        Media {
            mime: output.mime(),
            extension: extension(&output),
            len: None,
            complete: false,
            etag: None,
            recorder: self.clone(),
            source: Source::Live { log, output },
        }
    }
}

/// The one track that is meant.
fn choose<'a, T>(
    tracks: &'a [T],
    selection: &Selection,
    name: impl Fn(&T) -> (&String, TrackId),
) -> Result<&'a T, MediaError> {
    let meant = |track: &&T| {
        let (participant, id) = name(track);
        selection.participant.as_ref().is_none_or(|wanted| wanted == participant)
            && selection.track.is_none_or(|wanted| wanted == id)
    };
    let mut chosen = tracks.iter().filter(meant);
    match (tracks.is_empty(), chosen.next(), chosen.next()) {
        (true, _, _) => Err(MediaError::Empty),
        (_, Some(one), None) => Ok(one),
        _ => Err(MediaError::Participant { known: told(tracks, name) }),
    }
}

/// Names for the person who has to choose, as many as fit a sentence.
fn told<T>(tracks: &[T], name: impl Fn(&T) -> (&String, TrackId)) -> Vec<String> {
    const MOST: usize = 10;
    let one = |track: &T| {
        let (participant, id) = name(track);
        format!("{participant} (track {id})")
    };
    let mut known: Vec<_> = tracks.iter().take(MOST).map(one).collect();
    if tracks.len() > MOST {
        known.push(format!("and {} more", tracks.len() - MOST));
    }
    known
}

/// The output that is asked for, where the track can give it.
fn wanted(format: Format, selection: &Selection) -> Result<Output, MediaError> {
    if let Some(asked) = selection.channels.filter(|&asked| asked != format.channels) {
        return Err(MediaError::Channels { asked, recorded: format.channels });
    }
    if selection.decode && format.codec == Codec::Opus {
        return Err(RenderError::WavFromOpus.into());
    }
    let samples = if selection.decode && format.codec != Codec::S16le {
        Samples::Linear { gain: 1.0 }
    } else {
        Samples::AsReceived
    };
    let output = match (selection.format, format.codec) {
        (None, codec) if !selection.decode => Output::as_received(codec),
        (Some(MediaFormat::Ogg), _) | (None, Codec::Opus) => Output::Ogg { gaps: Gaps::Fill, serial: 1 },
        (Some(MediaFormat::Wav) | None, _) => Output::Wav { samples, gaps: Gaps::Fill, sizes: Sizes::Exact },
    };
    let none = reeltime_core::timeline::Layout::default();
    TrackRenderer::new(format, reeltime_core::timeline::Counting::Samples, &none, output)?;
    Ok(output)
}

impl Media {
    /// Reads all of it, or the bytes of `range`.
    ///
    /// # Errors
    /// Where the store does not have it.
    pub async fn read(&self, range: Option<Range<u64>>) -> Result<ByteStream, Error> {
        match &self.source {
            Source::Object { key } => Ok(self.recorder.inner().store.get(key, range).await?),
            Source::Decode { key, format, samples } => {
                decode::decoded(&self.recorder, key, *format, *samples, range).await
            }
            Source::Head(head) => {
                let all = 0..head.len();
                let clamp = |at: u64| usize::try_from(at).unwrap_or(all.end).min(all.end);
                let range = range.map_or(all.clone(), |range| clamp(range.start)..clamp(range.end));
                Ok(ByteStream::from_bytes(head.slice(range)))
            }
            Source::Live { log, output } => {
                let disk = Arc::clone(self.recorder.inner().spool.disk());
                Ok(follow(disk, Arc::clone(log), *output))
            }
            Source::Spool(job) => Ok(render(Job { range, ..(**job).clone() })),
        }
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("output", &self.output)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}
