//! A recording that comes in when it is over: an address for each file, or all files in one request.

use std::collections::HashMap;
use std::error::Error;
use std::iter::successors;

use axum::extract::multipart::MultipartError;
use axum::extract::{FromRequest, Multipart};
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode};
use reeltime::catalogue::Segment;
use reeltime::segments::receive::ReceiveError;
use reeltime_core::id::RecordingId;

use super::failure::{Failure, Told};
use super::live::{begin_recording, end};
use super::shapes::{Answer, BatchAddress, BatchBegun, BeginBatch, Complete, File, MOST_BYTES};
use super::upload::{Silent, address, unless_silent};
use super::{Body, RecordingOf, Shared, base};
use crate::app::App;
use crate::security::Identity;

/// The most of the text that goes before the files.
const MOST_TEXT: usize = 1 << 20;

/// Begin a recording whose files are there already: an address for each
#[utoipa::path(post, path = "/api/recordings/init", operation_id = "segments_begin_batch", tag = "segments", request_body = BeginBatch, responses(
    (status = 200, description = "Send them there", body = BatchBegun),
    (status = "default", description = "It is not taken", body = Told)))]
pub(crate) async fn begin(
    app: Shared,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    Body(said): Body<serde_json::Value>,
) -> Result<Json<BatchBegun>, Failure> {
    let asked = BeginBatch::read(said)?;
    let id = begin_recording(&app, &identity, asked.begin).await?;
    let base = base(&app, &headers);
    let mut upload_urls = Vec::with_capacity(asked.files.len());
    for (file, index) in asked.files.iter().zip(0..) {
        let segment = announce(&app, &identity, id, file).await?;
        let (upload_url, _) = address(&app, &identity, &segment, &base).await?;
        let file_index = file.file_index.unwrap_or(index);
        upload_urls.push(BatchAddress { file_index, upload_url, blob_path: segment.key.to_string() });
    }
    Ok(Json(BatchBegun { success: true, recording_id: id.to_string(), upload_urls }))
}

async fn announce(app: &App, identity: &Identity, id: RecordingId, file: &File) -> Result<Segment, Failure> {
    let row = app.recorder.segments_of(&identity.tenant, id).await?.ok_or_else(Failure::no_recording)?;
    let announcement = file.announcement(row.begun_at)?;
    Ok(app.recorder.announce_segment(&identity.tenant, id, announcement).await?)
}

/// End a batch
#[utoipa::path(post, path = "/api/recordings/{id}/complete", tag = "segments", params(("id" = Uuid, Path)),
    request_body = Complete, responses(
    (status = 200, description = "It is complete", body = Answer),
    (status = "default", description = "It goes on", body = Told)))]
pub(crate) async fn complete(
    app: Shared,
    Extension(identity): Extension<Identity>,
    RecordingOf(id): RecordingOf,
    headers: HeaderMap,
    Body(asked): Body<Complete>,
) -> Result<Json<Answer>, Failure> {
    // A file of a batch is known by where it lies; what is said of one without a place was said when it was announced.
    let files: Vec<_> = asked.files.into_iter().filter(|file| file.place().is_some()).collect();
    end(&app, &identity, id, &files, &base(&app, &headers)).await
}

/// A whole recording in one request
///
/// First a part `metadata`, with what `init` takes, or a part for each of its fields; then the files, each of at most
/// 50 MB, as `files` of the metadata names them: by file name, or in that order.
#[utoipa::path(post, path = "/api/recordings", tag = "segments",
    request_body(content = String, content_type = "multipart/form-data"), responses(
    (status = 200, description = "It is complete", body = Answer),
    (status = "default", description = "It is not, as far as it was not told otherwise", body = Told)))]
pub(crate) async fn multipart(
    app: Shared,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    request: axum::extract::Request,
) -> Result<Json<Answer>, Failure> {
    let request = request.map(unless_silent);
    let mut parts =
        Multipart::from_request(request, &()).await.map_err(|error| Failure::invalid(error.body_text()))?;
    let mut batch = Batch::default();
    let taken = batch.take(&app, &identity, &mut parts).await;
    if taken.is_err() {
        // What is still on its way is read, so that its client gets to hear why.
        while let Ok(Some(_)) = parts.next_field().await {}
    }
    let id = taken?;
    end(&app, &identity, id, &[], &base(&app, &headers)).await
}

/// What is wrong with a request in parts.
fn broken(error: MultipartError) -> Failure {
    let mut causes = successors(error.source(), |&cause| cause.source());
    if causes.any(|cause| cause.is::<Silent>()) {
        return Silent.into();
    }
    Failure::new(StatusCode::BAD_REQUEST, error.body_text())
}

/// What a request in parts has said so far.
#[derive(Default)]
struct Batch {
    text: HashMap<String, serde_json::Value>,
    recording: Option<RecordingId>,
    files: Vec<File>,
    taken: u32,
}

impl Batch {
    async fn take(
        &mut self,
        app: &App,
        identity: &Identity,
        parts: &mut Multipart,
    ) -> Result<RecordingId, Failure> {
        while let Some(mut part) = parts.next_field().await.map_err(broken)? {
            let Some(name) = part.file_name().map(str::to_owned) else {
                let field = part.name().unwrap_or_default().to_owned();
                let mut text = Vec::new();
                while let Some(bytes) = part.chunk().await.map_err(broken)? {
                    text.extend_from_slice(&bytes);
                    if text.len() > MOST_TEXT {
                        return Err(Failure::new(
                            StatusCode::PAYLOAD_TOO_LARGE,
                            "The metadata is larger than 1 MiB",
                        ));
                    }
                }
                self.note(&field, &String::from_utf8_lossy(&text))?;
                continue;
            };
            let id = self.begin(app, identity).await?;
            let file = self.described(name)?;
            let segment = announce(app, identity, id, &file).await?;
            let mut upload = app.recorder.upload_segment(&identity.tenant, id, segment.upload).await?;
            let mut size = 0;
            while let Some(bytes) = part.chunk().await.map_err(broken)? {
                size += bytes.len() as u64;
                if size > MOST_BYTES {
                    return Err(ReceiveError::TooLarge { limit: MOST_BYTES }.into());
                }
                upload.write(&bytes).await?;
            }
            upload.finish().await?;
        }
        self.begin(app, identity).await
    }

    fn note(&mut self, field: &str, text: &str) -> Result<(), Failure> {
        if self.recording.is_some() {
            return Err(Failure::invalid("Send the metadata before the files"));
        }
        if self.text.len() > 64 {
            return Err(Failure::invalid("So many fields are not understood"));
        }
        let json = serde_json::from_str(text);
        match json {
            Ok(serde_json::Value::Object(fields)) if field == "metadata" => self.text.extend(fields),
            Ok(value) if matches!(field, "files" | "recordedAt") => {
                drop(self.text.insert(field.to_owned(), value))
            }
            _ => drop(self.text.insert(field.to_owned(), text.into())),
        }
        Ok(())
    }

    /// The recording, which begins before its first file.
    async fn begin(&mut self, app: &App, identity: &Identity) -> Result<RecordingId, Failure> {
        if let Some(id) = self.recording {
            return Ok(id);
        }
        let text = serde_json::Value::Object(std::mem::take(&mut self.text).into_iter().collect());
        let asked = BeginBatch::read(text)?;
        self.files = asked.files;
        let id = begin_recording(app, identity, asked.begin).await?;
        self.recording = Some(id);
        Ok(id)
    }

    /// What was said of a file, by its name or its place.
    fn described(&mut self, name: String) -> Result<File, Failure> {
        let place = self
            .files
            .iter()
            .position(|file| file.file_name == name)
            .or((!self.files.is_empty()).then_some(0));
        let number = self.taken;
        self.taken += 1;
        if let Some(place) = place {
            let mut file = self.files.remove(place);
            file.file_name = name;
            return Ok(file);
        }
        let said = serde_json::json!({ "userId": name, "fileName": name, "segmentIndex": number });
        serde_json::from_value(said).map_err(|error| Failure::invalid(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use axum::BoxError;
    use axum::body::Body;
    use axum::response::IntoResponse;
    use bytes::Bytes;
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn a_client_that_fell_silent_is_told_so() {
        let half = Bytes::from_static(b"--b\r\nContent-Disposition: form-data;");
        let body = Body::from_stream(stream::iter([Ok(half), Err(BoxError::from(Silent))]));
        let request = http::Request::post("/").header("Content-Type", "multipart/form-data; boundary=b");
        let mut parts = Multipart::from_request(request.body(body).unwrap(), &()).await.unwrap();
        let failure = broken(parts.next_field().await.unwrap_err());
        assert_eq!(failure.into_response().status(), StatusCode::REQUEST_TIMEOUT);
    }
}
