//! The client of a recording API: `init-live`, `segment-upload-url`, a PUT of the bytes, `finalize`; and `init` and
//! `complete` for those that take all at the end.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, StatusCode, redirect};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::{Value, json};
use url::Url;

use super::config::ApiTarget;
use super::error::SendError;
use super::journal::{Begun, Segment, Sent};
use crate::blocking::blocking;
use crate::store::{Bandwidth, read_file};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a file may take: 50 MB at 100 kB/s.
const UPLOAD: Duration = Duration::from_secs(500);
/// The most bytes of an answer that are read: ten thousand addresses.
const MOST: usize = 8 << 20;
/// The longest wait that an answer can ask for.
const LONGEST: Duration = Duration::from_secs(600);

/// The API.
#[derive(Debug)]
pub(super) struct Api {
    client: Client,
    target: ApiTarget,
    bandwidth: Option<Bandwidth>,
}

/// Where a segment is to be put.
pub(super) struct Place {
    pub(super) url: Url,
    /// Its path there.
    pub(super) path: String,
}

impl Api {
    /// # Errors
    /// Where this machine has no certificates to trust.
    pub(super) fn new(target: ApiTarget, bandwidth: Option<Bandwidth>) -> Result<Self, SendError> {
        // Whoever installed one before has the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .redirect(redirect::Policy::none())
            .user_agent(concat!("reeltime/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| unreachable("the recording API", error))?;
        Ok(Self { client, target, bandwidth })
    }

    /// Waits for a segment's share of the bandwidth: before its address is asked for, which does not live for ever.
    pub(super) async fn await_share(&self, segment: &Segment) {
        if let Some(bandwidth) = &self.bandwidth {
            bandwidth.take(segment.bytes).await;
        }
    }

    /// Tells the API that a recording has begun; its id there. The same recording again has the same id.
    pub(super) async fn init_live(&self, begun: &Begun) -> Result<String, SendError> {
        let answer = self.post(&["init-live"], &opening(begun)).await?;
        text(&answer, "recordingId", "init-live")
    }

    /// Asks where a segment is to be put.
    pub(super) async fn place(&self, id: &str, segment: &Segment) -> Result<Place, SendError> {
        let answer = self.post(&[id, "segment-upload-url"], &described(segment)).await?;
        self.placed(&answer, "segment-upload-url")
    }

    /// Puts a file; where it is from now on.
    pub(super) async fn put(&self, place: &Place, file: &Path, mime: &str) -> Result<String, SendError> {
        let path = file.to_owned();
        let open = move || {
            let file = std::fs::File::open(path)?;
            let bytes = file.metadata()?.len();
            std::io::Result::Ok((file, bytes))
        };
        let (opened, bytes) = blocking(open).await?;
        let request = self
            .client
            .put(place.url.clone())
            .timeout(UPLOAD)
            .header(CONTENT_TYPE, mime)
            .header(CONTENT_LENGTH, bytes)
            .header("x-ms-blob-type", "BlockBlob")
            .body(reqwest::Body::wrap_stream(read_file(Arc::new(opened), 0..bytes)));
        let answer = request.send().await.map_err(|error| unreachable("the upload", error))?;
        let body = read("the upload", answer).await?;
        let told: Value = serde_json::from_slice(&body).unwrap_or_default();
        let named =
            ["url", "blobUrl"].into_iter().find_map(|name| told.get(name)?.as_str().map(str::to_owned));
        Ok(named.unwrap_or_else(|| {
            let mut bare = place.url.clone();
            bare.set_query(None);
            bare.into()
        }))
    }

    /// Says that these were all.
    pub(super) async fn finalize(&self, id: &str, summary: &Value) -> Result<(), SendError> {
        self.post(&[id, "finalize"], summary).await.map(drop)
    }

    /// Announces a recording that is over, with all its segments: its id, and where each is to be put.
    pub(super) async fn init(
        &self,
        begun: &Begun,
        segments: &[Segment],
    ) -> Result<(String, Vec<Place>), SendError> {
        let mut body = opening(begun);
        let files =
            segments.iter().enumerate().map(|(index, segment)| with(described(segment), "fileIndex", index));
        body["files"] = files.collect();
        let answer = self.post(&["init"], &body).await?;
        let id = text(&answer, "recordingId", "init")?;
        let urls = answer.get("uploadUrls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let place = |index: usize| {
            let found =
                urls.iter().find(|url| url.get("fileIndex").and_then(Value::as_u64) == Some(index as u64));
            let found =
                found.ok_or(SendError::Answer { what: "init", lacks: "an uploadUrls entry for each file" });
            self.placed(found?, "init")
        };
        Ok((id, (0..segments.len()).map(place).collect::<Result<_, _>>()?))
    }

    /// Says of the segments that were announced by [`Self::init`] where those are that arrived: there are no more.
    pub(super) async fn complete(
        &self,
        id: &str,
        announced: &[Segment],
        sent: &BTreeMap<u64, Sent>,
    ) -> Result<(), SendError> {
        let file = |(index, segment): (usize, &Segment)| {
            let sent = sent.get(&segment.number)?;
            Some(json!({
                "fileIndex": index,
                "blobUrl": sent.url,
                "userId": segment.participant,
                "username": segment.participant,
                "fileName": segment.name(),
                "filePath": sent.path,
            }))
        };
        let files: Vec<_> = announced.iter().enumerate().filter_map(file).collect();
        self.post(&[id, "complete"], &json!({ "files": files })).await.map(drop)
    }

    async fn post(&self, call: &[&str], body: &impl Serialize) -> Result<Value, SendError> {
        const WHAT: &str = "the recording API";
        let mut request = self.client.post(self.target.address(call)).timeout(ANSWER).json(body);
        if let Some(key) = &self.target.key {
            request = request.bearer_auth(key.expose_secret());
        }
        let answer = request.send().await.map_err(|error| unreachable(WHAT, error))?;
        let status = answer.status();
        let body = read(WHAT, answer).await?;
        let mut told: Value = serde_json::from_slice(&body).map_err(|_| SendError::Answer {
            what: WHAT,
            lacks: "JSON: is the address that of a recording API?",
        })?;
        if told.get("success") == Some(&Value::Bool(false)) {
            return Err(SendError::Refused { what: WHAT, status: status.as_u16(), why: said(&body) });
        }
        Ok(match told.get_mut("data").map(Value::take) {
            Some(data @ Value::Object(_)) => data,
            _ => told,
        })
    }

    /// The address of an answer; a relative one is the API's own.
    fn placed(&self, answer: &Value, what: &'static str) -> Result<Place, SendError> {
        let base = self.target.address(&[]);
        let url = base.join(&text(answer, "uploadUrl", what)?).ok();
        // What is sent to it is what people said: nobody on the way may read it.
        let url = url.filter(ApiTarget::is_safe);
        let url = url.ok_or(SendError::Answer { what, lacks: "an uploadUrl that is https" })?;
        let path = text(answer, "blobPath", what).unwrap_or_default();
        Ok(Place { url, path })
    }
}

/// What a recording is introduced by.
fn opening(begun: &Begun) -> Value {
    let started = reeltime_core::time::UtcMicros(begun.started_ms.saturating_mul(1_000));
    json!({
        "sessionId": begun.recording,
        "platformSessionId": begun.call,
        "guildId": begun.call,
        "guildName": begun.call,
        "channelId": begun.call,
        "userId": begun.call,
        "recordedAt": format!("{:.3}", started.timestamp()),
    })
}

fn described(segment: &Segment) -> Value {
    json!({
        "userId": segment.participant,
        "username": segment.participant,
        "segmentIndex": segment.index,
        "fileName": segment.name(),
        "fileSize": segment.bytes,
        "absoluteStartTime": segment.start_ms,
        "absoluteEndTime": segment.end_ms,
        "duration": segment.end_ms - segment.start_ms,
        "format": segment.format(),
    })
}

fn with(mut value: Value, name: &str, what: impl Into<Value>) -> Value {
    value[name] = what.into();
    value
}

/// What finalize says: all segments, each with where it is. No segment ends after its session, also where its sound came faster
/// than it was spoken.
pub(super) fn summary(begun: &Begun, ended_ms: i64, segments: &[(Segment, Option<Sent>)]) -> Value {
    let ended_ms = segments.iter().map(|(segment, _)| segment.end_ms).fold(ended_ms, i64::max);
    let speakers: std::collections::BTreeSet<_> =
        segments.iter().map(|(segment, _)| &segment.participant).collect();
    let one = |(segment, sent): &(Segment, Option<Sent>)| {
        let (path, url) = sent.as_ref().map_or((&*segment.file, ""), |sent| (&sent.path, &sent.url));
        with(with(described(segment), "filePath", path), "blobUrl", url)
    };
    json!({
        "sessionEndTime": ended_ms,
        "duration": (ended_ms - begun.started_ms).max(0),
        "totalSize": segments.iter().map(|(segment, _)| segment.bytes).sum::<u64>(),
        "participantCount": speakers.len(),
        "segments": segments.iter().map(one).collect::<Vec<_>>(),
    })
}

fn text(answer: &Value, name: &'static str, what: &'static str) -> Result<String, SendError> {
    let found =
        answer.get(name).and_then(Value::as_str).filter(|text| !text.is_empty() && text.len() <= 8_192);
    found.map(str::to_owned).ok_or(SendError::Answer { what, lacks: name })
}

/// The body of an answer that is a success.
async fn read(what: &'static str, mut answer: reqwest::Response) -> Result<Vec<u8>, SendError> {
    let (status, retry) = (answer.status(), retry_after(answer.headers()));
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(what, error))? {
        if body.len() + chunk.len() > MOST {
            return Err(SendError::Answer { what, lacks: "an end within 8 MiB" });
        }
        body.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return Ok(body);
    }
    let (why, status) = (said(&body), status.as_u16());
    Err(match (StatusCode::from_u16(status), retry) {
        (Ok(StatusCode::TOO_MANY_REQUESTS), wait) => SendError::Busy { what, wait },
        (Ok(StatusCode::SERVICE_UNAVAILABLE), wait @ Some(_)) => SendError::Busy { what, wait },
        _ if status >= 500 || status == 408 => {
            SendError::Unavailable { what, why: format!("{status} {why}") }
        }
        _ => SendError::Refused { what, status, why },
    })
}

/// Seconds; the form that is a date is as good as none, since clocks differ.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST))
}

/// The beginning of what an answer says, on one line.
fn said(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(600)]);
    let error = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|told| told.get("error")?.as_str().map(str::to_owned));
    error.unwrap_or_else(|| text.into_owned()).chars().filter(|c| !c.is_control()).take(300).collect()
}

/// The address is left out: that of an upload is a secret.
fn unreachable(what: &'static str, error: reqwest::Error) -> SendError {
    let error = error.without_url();
    let mut why = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        why = format!("{why}: {next}");
        cause = next.source();
    }
    SendError::Unavailable { what, why }
}
