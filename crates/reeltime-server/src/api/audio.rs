//! `/api/v1/recordings/{id}/stream` and `/url`: a recording's sound, at any time, also while it is being recorded.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};
use http::header::{self, HeaderMap};
use http::{Method, StatusCode};
use reeltime::CodecError;
use reeltime::recorder::{Media, MediaError, Selection, UnknownSeating};
use reeltime_core::id::{RecordingId, TrackId};
use reeltime_core::media::{Container, UnknownContainer};
use reeltime_core::render::Pauses;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{Fields, Id, unprocessable};
use super::media::{File, unread, wants_part};
use crate::app::App;
use crate::now;
use crate::problem::{Details, Problem, capitalised};
use crate::security::Identity;

/// Seconds that a link may be good for: up to a week.
const LIFETIMES: std::ops::RangeInclusive<i64> = 1..=7 * 24 * 3_600;
const LIFETIME: i64 = 3_600;

/// What of a recording, and as what.
#[derive(Default, Deserialize, Serialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamFields {
    /// wav, flac, ogg (or opus), mp3, webm or mp4 (or m4a), in either case; by default one track as it was received, and
    /// wav for several
    #[param(example = "wav")]
    format: Option<String>,
    /// mono, stereo (a speaker a side) or tracks (a channel each); by default one track as recorded, several as mono
    layout: Option<String>,
    /// Only this participant
    participant: Option<String>,
    /// Only this track, by its id: for a participant with several
    track: Option<String>,
    /// 1: go on to the end of a recording that is being made. A mix, in mono or stereo, takes in who joins later; a
    /// channel a track, or one track, stays with those who are there
    follow: Option<String>,
    /// 1: G.711 as linear samples of 16 bit
    decode: Option<String>,
    /// Every speaker at this loudness, in LUFS (EBU R 128); who joins what is followed is heard as recorded
    #[param(example = "-16")]
    loudness: Option<String>,
    /// silence or skip: what stands where recording was paused
    pauses: Option<String>,
    /// Bits a second, or as 64k, for formats that lose something
    #[param(example = "64k")]
    bitrate: Option<String>,
    /// Samples a second, 8000 to 192000; by default the highest that was recorded
    rate: Option<String>,
    /// Who sits left, by participant, with commas between
    left: Option<String>,
    /// Who sits right, by participant, with commas between
    right: Option<String>,
}

impl StreamFields {
    fn selection(self) -> Result<Selection, Problem> {
        Ok(Selection {
            format: self.format.as_deref().map(format).transpose()?,
            layout: self.layout.as_deref().map(str::parse).transpose().map_err(wrong::<UnknownSeating>)?,
            participant: self.participant,
            track: self.track.as_deref().map(track_id).transpose()?,
            follow: switch("follow", self.follow.as_deref())?,
            decode: switch("decode", self.decode.as_deref())?,
            loudness: self.loudness.as_deref().map(|text| number("loudness", text)).transpose()?,
            pauses: self.pauses.as_deref().map(pauses).transpose()?.unwrap_or_default(),
            bitrate: self.bitrate.as_deref().map(bitrate).transpose()?,
            rate: self.rate.as_deref().map(|text| number("rate", text)).transpose()?,
            left: names(self.left.as_deref()),
            right: names(self.right.as_deref()),
        })
    }
}

/// What of a recording, from the names and values of a query.
pub(crate) fn selection(fields: &[(&'static str, &str)]) -> Result<Selection, Problem> {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), serde_json::Value::from(*value)));
    let asked = serde_json::from_value::<StreamFields>(serde_json::Value::Object(fields.collect()));
    asked.map_err(wrong)?.selection()
}

fn wrong<E: std::fmt::Display>(error: E) -> Problem {
    unprocessable(error.to_string())
}

/// A format that nobody knows is as one that cannot be had.
fn format(text: &str) -> Result<Container, Problem> {
    text.parse().map_err(|error: UnknownContainer| {
        let named: String = text.chars().take(32).collect();
        Problem::new(StatusCode::NOT_ACCEPTABLE, capitalised(&format!("{error}, not {named}")))
    })
}

pub(super) fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| unprocessable(format!("{name} is a number")))
}

fn pauses(text: &str) -> Result<Pauses, Problem> {
    match text {
        "silence" => Ok(Pauses::Silence),
        "skip" => Ok(Pauses::Skip),
        _ => Err(unprocessable("pauses is silence or skip")),
    }
}

/// Bits a second, or thousands of them.
fn bitrate(text: &str) -> Result<u32, Problem> {
    let (digits, times) = text.strip_suffix(['k', 'K']).map_or((text, 1), |digits| (digits, 1_000));
    let bits = digits.parse::<u32>().ok().and_then(|bits| bits.checked_mul(times));
    bits.ok_or_else(|| unprocessable("bitrate is bits a second, as 64000 or 64k"))
}

fn names(list: Option<&str>) -> Vec<String> {
    let named = list.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    named.map(str::to_owned).collect()
}

/// Why there is no such sound, as a client is told.
pub(super) fn told(error: MediaError) -> Problem {
    let status = match &error {
        MediaError::NotFound => return Problem::no_recording(),
        MediaError::Empty => StatusCode::CONFLICT,
        MediaError::Participant { .. }
        | MediaError::Nobody { .. }
        | MediaError::BothSides(_)
        | MediaError::Loudness(_)
        | MediaError::Mix(_)
        | MediaError::Peaks { .. }
        | MediaError::Codec(CodecError::Bitrate { .. }) => StatusCode::UNPROCESSABLE_ENTITY,
        MediaError::Codec(CodecError::NoLame(_)) => StatusCode::NOT_IMPLEMENTED,
        MediaError::UnknownFormat(_)
        | MediaError::Kept(_)
        | MediaError::Undecodable(_)
        | MediaError::Format(_)
        | MediaError::Codec(_) => StatusCode::NOT_ACCEPTABLE,
        MediaError::Failed(_) | _ => return Problem::internal(error),
    };
    Problem::new(status, capitalised(&error.to_string()))
}

pub(super) fn track_id(text: &str) -> Result<TrackId, Problem> {
    text.parse().map_err(|_| unprocessable("track is the id of a track"))
}

fn switch(name: &str, value: Option<&str>) -> Result<bool, Problem> {
    match value {
        None | Some("0" | "false") => Ok(false),
        Some("" | "1" | "true") => Ok(true),
        Some(_) => Err(unprocessable(format!("{name} is 1 or 0"))),
    }
}

/// The audio of a recording
///
/// While it is being recorded: without a range a snapshot, with `follow=1` to its end. What has to be made first is sent
/// while it is made; who asks for a part of it waits until all of it is. Marks and gaps are chapters or cue points in it, the
/// first 500 (255 in MP4).
#[utoipa::path(get, path = "/api/v1/recordings/{id}/stream", tag = "recordings",
    params(("id" = Uuid, Path), StreamFields, ("Range" = Option<String>, Header, example = "bytes=0-99")), responses(
    (status = 200, description = "All of it", content_type = "audio/wav"),
    (status = 206, description = "The bytes asked for", content_type = "audio/wav"),
    (status = 304, description = "What the client has is still it"),
    (status = 404, description = "Recording not found", body = Details, content_type = "application/problem+json"),
    (status = 406, description = "It cannot be had in this format", body = Details, content_type = "application/problem+json"),
    (status = 409, description = "Nothing is recorded yet", body = Details, content_type = "application/problem+json"),
    (status = 416, description = "The range begins behind the end", body = Details, content_type = "application/problem+json"),
    (status = 422, description = "A field has no such value", body = Details, content_type = "application/problem+json"),
    (status = 503, description = "It has to be made, and as many files as may be are being made", body = Details, content_type = "application/problem+json")))]
pub(crate) async fn stream(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Identity>,
    Id(id): Id,
    Fields(asked): Fields<StreamFields>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let media = open(&app, &identity, id, asked).await?;
    let media = match method == Method::GET && wants_part(&headers) {
        true => media.made_whole().await.map_err(unread)?,
        false => media,
    };
    describe(id, &media).serve(&method, &headers, |range| media.read(range)).await
}

async fn open(
    app: &App,
    identity: &Identity,
    id: RecordingId,
    asked: StreamFields,
) -> Result<Media, Problem> {
    app.recorder.media(&identity.tenant, id, &asked.selection()?).await.map_err(told)
}

fn describe(id: RecordingId, media: &Media) -> File {
    File {
        mime: media.mime.to_owned(),
        name: format!("recording_{id}.{}", media.extension),
        length: media.len,
        etag: media.etag.clone(),
    }
}

/// How long a link is to be good.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UrlFields {
    /// Seconds
    #[param(minimum = 1, maximum = 604800, default = 3600)]
    expires_in: Option<i64>,
}

/// A link that opens one recording without a key.
#[derive(Serialize, ToSchema)]
pub(crate) struct Link {
    /// Opens the recording's audio
    url: String,
    /// Seconds it is good for
    expires_in: i64,
    recording_id: String,
    /// The type of what it opens
    #[schema(example = "audio/wav")]
    mime_type: String,
}

/// A signed link to the audio of a recording
///
/// It opens what the stream with the same fields gives, and nothing else.
#[utoipa::path(get, path = "/api/v1/recordings/{id}/url", tag = "recordings",
    params(("id" = Uuid, Path), UrlFields, StreamFields), responses(
    (status = 200, description = "Good until it expires, or the recording is deleted", body = Link),
    (status = 404, description = "Recording not found", body = Details, content_type = "application/problem+json"),
    (status = 422, description = "A field has no such value", body = Details, content_type = "application/problem+json")))]
pub(crate) async fn url(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Identity>,
    Id(id): Id,
    Fields(asked): Fields<UrlFields>,
    Fields(wanted): Fields<StreamFields>,
    headers: HeaderMap,
) -> Result<Json<Link>, Problem> {
    let expires_in = asked.expires_in.unwrap_or(LIFETIME);
    if !LIFETIMES.contains(&expires_in) {
        return Err(unprocessable("expires_in is 1 to 604800 seconds"));
    }
    let path = format!("/api/v1/recordings/{id}/stream");
    let query = query(&wanted);
    let signed = app.guard.sign("GET", &identity, &path, &query, now().unix_seconds() + expires_in);
    let media = open(&app, &identity, id, wanted).await?;
    let url = format!("{}{path}?{signed}", base(&app, &headers));
    Ok(Json(Link { url, expires_in, recording_id: id.to_string(), mime_type: media.mime.to_owned() }))
}

/// The fields as they were given.
fn query(wanted: &StreamFields) -> String {
    let fields = serde_json::to_value(wanted).unwrap_or_default();
    let given = fields.as_object().into_iter().flatten();
    let given = given.filter_map(|(name, value)| Some((name, value.as_str()?)));
    form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish()
}

/// Where the client reached us, unless it is configured where others do.
pub(super) fn base(app: &App, headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    app.public_url.clone().unwrap_or_else(|| format!("http://{host}"))
}
