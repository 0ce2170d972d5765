//! The bytes of a segment: in by a signed address that works once, out by its own.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use axum::{BoxError, Extension, Json};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::header::{self, HeaderMap};
use http::{Method, StatusCode};
use reeltime::catalogue::Segment;
use reeltime::segments::receive::{StoredFile, Upload};
use reeltime_core::media::Container;

use super::failure::{Failure, Told};
use super::shapes::Uploaded;
use super::{Shared, Two, base};
use crate::app::App;
use crate::now;
use crate::problem::Problem;
use crate::security::Identity;

/// Seconds that an address is good for.
const LIFETIME: i64 = 15 * 60;
/// How long a client may be silent while it sends.
const SILENCE: Duration = Duration::from_secs(30);
/// What is read of a body that is refused, so that its client gets to hear why.
const DRAINED: usize = 64 << 20;

/// Its client was silent for too long.
#[derive(Debug, thiserror::Error)]
#[error("Nothing came for 30 seconds: send it again")]
pub(super) struct Silent;

impl From<Silent> for Failure {
    fn from(silent: Silent) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, silent.to_string())
    }
}

/// The address that takes a segment, and for how many seconds: the store's own, where that is wanted and it has one.
pub(super) async fn address(
    app: &App,
    identity: &Identity,
    segment: &Segment,
    base: &str,
) -> Result<(String, i64), Failure> {
    let valid = Duration::from_secs(LIFETIME.unsigned_abs());
    if let Some(direct) = app.recorder.direct_address(&identity.tenant, segment, valid).await? {
        return Ok((direct, LIFETIME));
    }
    let path = format!("/api/recordings/{}/uploads/{}", segment.recording, segment.upload);
    let signed = app.guard.sign(Method::PUT.as_str(), identity, &path, "", now().unix_seconds() + LIFETIME);
    Ok((format!("{base}{path}?{signed}"), LIFETIME))
}

/// The bytes of one segment, as they are
///
/// When it is answered, the segment is in the store.
#[utoipa::path(put, path = "/api/recordings/{id}/uploads/{upload}", tag = "segments",
    params(("id" = Uuid, Path), ("upload" = Uuid, Path)), responses(
    (status = 200, description = "It is in the store", body = Uploaded),
    (status = "default", description = "It is not", body = Told)))]
pub(crate) async fn put(
    app: Shared,
    Extension(identity): Extension<Identity>,
    Two(id, upload): Two,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Uploaded>, Failure> {
    let mut body = body.into_data_stream();
    let taken = async {
        let mut upload = app.recorder.upload_segment(&identity.tenant, id, upload).await?;
        check_type(&headers, upload.format())?;
        receive(&mut upload, &mut body).await?;
        Ok(upload.finish().await?)
    };
    match taken.await {
        Ok(segment) => Ok(Json(told(&segment, &base(&app, &headers)))),
        Err(failure) => {
            drain(&mut body).await;
            Err(failure)
        }
    }
}

/// Where a segment lies, for its client.
pub(super) fn told(segment: &Segment, base: &str) -> Uploaded {
    let url = format!("{base}/api/recordings/{}/segments/{}", segment.recording, segment.id);
    let (blob_path, size) = (segment.key.to_string(), segment.size.unwrap_or(0));
    Uploaded { success: true, blob_url: url.clone(), url, blob_path, size }
}

async fn receive(upload: &mut Upload, body: &mut axum::body::BodyDataStream) -> Result<(), Failure> {
    loop {
        match tokio::time::timeout(SILENCE, body.next()).await {
            Ok(Some(Ok(bytes))) => upload.write(&bytes).await?,
            Ok(None) => return Ok(()),
            Ok(Some(Err(_))) => {
                return Err(Failure::new(StatusCode::BAD_REQUEST, "The body broke off: send it again"));
            }
            Err(_) => return Err(Silent.into()),
        }
    }
}

/// A body that breaks off where its client is silent for too long: one that vanished without a word is not waited for.
pub(super) fn unless_silent(body: Body) -> Body {
    Body::from_stream(until_silent(body.into_data_stream(), SILENCE))
}

fn until_silent<E: Into<BoxError>>(
    body: impl Stream<Item = Result<Bytes, E>>,
    patience: Duration,
) -> impl Stream<Item = Result<Bytes, BoxError>> {
    stream::unfold(Some(Box::pin(body)), move |body| async move {
        let mut body = body?;
        match tokio::time::timeout(patience, body.next()).await {
            Ok(next) => next.map(|bytes| (bytes.map_err(Into::into), Some(body))),
            Err(_) => Some((Err(Silent.into()), None)),
        }
    })
}

async fn drain(body: &mut axum::body::BodyDataStream) {
    let mut read = 0;
    while let Ok(Some(Ok(bytes))) = tokio::time::timeout(Duration::from_secs(5), body.next()).await {
        read += bytes.len();
        if read > DRAINED {
            return;
        }
    }
}

fn check_type(headers: &HeaderMap, format: Container) -> Result<(), Failure> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let known: &[&str] = match format {
        Container::Wav => &["audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"],
        Container::Flac => &["audio/flac", "audio/x-flac"],
        Container::Ogg | Container::Mp3 | Container::Webm | Container::Mp4 => {
            &["audio/ogg", "audio/opus", "application/ogg"]
        }
    };
    if known.contains(&kind.as_str()) {
        return Ok(());
    }
    let message = format!("This upload URL takes Content-Type: {}, not {kind:?}", known[0]);
    Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
}

/// The bytes of one segment, as they came
#[utoipa::path(get, path = "/api/recordings/{id}/segments/{segment}", operation_id = "segments_get_segment", tag = "segments",
    params(("id" = Uuid, Path), ("segment" = Uuid, Path)), responses(
    (status = 200, description = "Its file"),
    (status = "default", description = "It is not there", body = Told)))]
pub(crate) async fn get(
    app: Shared,
    Extension(identity): Extension<Identity>,
    Two(id, segment): Two,
) -> Result<Response, Failure> {
    let files = app.recorder.stored_files(&identity.tenant, id).await?.ok_or_else(Failure::no_recording)?;
    let segment = app.recorder.segment(&identity.tenant, id, segment).await?;
    let file = segment.and_then(|segment| files.into_iter().find(|file| file.number == segment.number));
    serve(&app, file).await
}

/// The bytes of a file.
pub(super) async fn serve(app: &App, file: Option<StoredFile>) -> Result<Response, Failure> {
    let file = file.ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, "The recording has no such file"))?;
    let body = app.recorder.read_stored(&file).await?;
    let name = file.key.components().last().unwrap_or_default().to_owned();
    Response::builder()
        .header(header::CONTENT_TYPE, file.mime)
        .header(header::CONTENT_LENGTH, file.size)
        .header(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""))
        .body(Body::from_stream(body))
        .map_err(|error| Problem::internal(error).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_ends_where_its_client_is_silent_and_goes_on_while_it_speaks() {
        let patience = Duration::from_millis(50);
        let slowly = stream::iter(0..8).then(async |n: u8| {
            tokio::time::sleep(patience / 4).await;
            Ok::<_, BoxError>(Bytes::from(vec![n]))
        });
        let body = until_silent(slowly.chain(stream::pending()), patience);
        let came: Vec<_> = body.collect().await;
        let (last, before) = came.split_last().unwrap();
        assert_eq!(before.len(), 8);
        assert!(before.iter().all(Result::is_ok));
        assert!(last.as_ref().is_err_and(|error| error.is::<Silent>()));
    }
}
