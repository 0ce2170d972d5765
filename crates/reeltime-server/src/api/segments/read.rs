//! What there is: a list, one recording, its files, and those that need a hand.

use axum::body::Body;
use axum::response::Response;
use axum::{Extension, Json};
use bytes::Bytes;
use futures_util::StreamExt;
use http::StatusCode;
use http::header::{self, HeaderMap};
use reeltime::catalogue::{Filter, Page};
use reeltime::recorder::{Recorder, RecordingView};
use reeltime::segments::receive::StoredFile;
use reeltime::store::{ByteSender, ByteStream};
use reeltime_core::id::RecordingId;
use reeltime_core::zip::Zip;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::failure::{Failure, Told};
use super::shapes::{Answer, Summary};
use super::upload::serve;
use super::{Fields, FileOf, RecordingOf, Shared, base};
use crate::app::App;
use crate::problem::Problem;
use crate::security::Identity;

/// Which recordings.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListFields {
    /// Recordings in the answer, 1 to 100
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// Recordings that are passed over
    #[param(minimum = 0, default = 0)]
    offset: Option<u32>,
}

/// Some recordings, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = SegmentsList)]
pub(crate) struct List {
    success: bool,
    recordings: Vec<Summary>,
    /// In all
    total: u64,
    limit: u32,
    offset: u32,
}

/// All recordings, however they came in, newest first
///
/// Without the addresses of their files: ask for one of them.
#[utoipa::path(get, path = "/api/recordings", operation_id = "segments_list", tag = "segments", params(ListFields), responses(
    (status = 200, description = "Some of them", body = List),
    (status = "default", description = "A field has no such value", body = Told)))]
pub(crate) async fn list(
    app: Shared,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    Fields(asked): Fields<ListFields>,
) -> Result<Json<List>, Failure> {
    let (limit, offset) = (asked.limit.unwrap_or(20), asked.offset.unwrap_or(0));
    if !(1..=100).contains(&limit) {
        return Err(Failure::invalid("limit is 1 to 100"));
    }
    let (mut found, mut total) = (Vec::new(), 0);
    // Pages do not begin everywhere: what is asked for lies on at most two.
    for number in offset / limit + 1..=offset / limit + 2 {
        let page = Page { number, size: limit };
        let part = app.recorder.recordings(&identity.tenant, &Filter::default(), page).await;
        let part = part.map_err(Problem::internal)?;
        total = part.total;
        found.extend(part.items);
    }
    let base = base(&app, &headers);
    let chosen: Vec<_> = found.into_iter().skip((offset % limit) as usize).take(limit as usize).collect();
    let ids: Vec<_> = chosen.iter().map(|view| view.id).collect();
    let mut figures = app.recorder.file_figures(&identity.tenant, &ids).await?;
    let told = |view: &RecordingView| {
        let figures = figures.remove(&view.id).unwrap_or_default();
        Summary::of(view, &figures, &[], &base)
    };
    let recordings = chosen.iter().map(told).collect();
    Ok(Json(List { success: true, recordings, total, limit, offset }))
}

/// One recording
#[utoipa::path(get, path = "/api/recordings/{id}", operation_id = "segments_get_recording", tag = "segments", params(("id" = Uuid, Path)), responses(
    (status = 200, description = "As of now", body = Answer),
    (status = "default", description = "It is not there", body = Told)))]
pub(crate) async fn get(
    app: Shared,
    Extension(identity): Extension<Identity>,
    RecordingOf(id): RecordingOf,
    headers: HeaderMap,
) -> Result<Json<Answer>, Failure> {
    summary(&app, &identity, id, &base(&app, &headers)).await
}

/// A recording as it is now.
pub(super) async fn summary(
    app: &App,
    identity: &Identity,
    id: RecordingId,
    base: &str,
) -> Result<Json<Answer>, Failure> {
    let tenant = &identity.tenant;
    let view = app.recorder.recording(tenant, id).await.map_err(Problem::internal)?;
    let view = view.ok_or_else(Failure::no_recording)?;
    let figures = app.recorder.file_figures(tenant, &[id]).await?.remove(&id).unwrap_or_default();
    let files = app.recorder.stored_files(tenant, id).await?.unwrap_or_default();
    Ok(Json(Answer { success: true, recording: Summary::of(&view, &figures, &files, base) }))
}

/// One file of a recording, or all of them as a ZIP archive
#[utoipa::path(get, path = "/api/recordings/{id}/download/{file}", tag = "segments",
    params(("id" = Uuid, Path), ("file" = String, Path, description = "A number, or all")), responses(
    (status = 200, description = "Its bytes"),
    (status = "default", description = "It is not there", body = Told)))]
pub(crate) async fn download(
    app: Shared,
    Extension(identity): Extension<Identity>,
    RecordingOf(id): RecordingOf,
    FileOf(wanted): FileOf,
) -> Result<Response, Failure> {
    let files = app.recorder.stored_files(&identity.tenant, id).await?.ok_or_else(Failure::no_recording)?;
    if wanted == "all" {
        return archive(&app, id, files);
    }
    let number: Option<u32> = wanted.parse().ok();
    serve(&app, files.into_iter().find(|file| Some(file.number) == number)).await
}

fn archive(app: &App, id: RecordingId, files: Vec<StoredFile>) -> Result<Response, Failure> {
    let (sender, body) = ByteStream::channel(2);
    let recorder = app.recorder.clone();
    tokio::spawn(async move {
        // A client that went away wants neither the rest nor to hear why there is none.
        let _ = match pack(&recorder, files, &sender).await {
            Ok(()) => sender.finish().await,
            Err(error) => sender.fail(error).await,
        };
    });
    Response::builder()
        .header(header::CONTENT_TYPE, "application/zip")
        .header(header::CONTENT_DISPOSITION, format!("attachment; filename=\"recording_{id}.zip\""))
        .body(Body::from_stream(body))
        .map_err(|error| Problem::internal(error).into())
}

/// Sends the files one by one, each as it comes from the store.
async fn pack(recorder: &Recorder, files: Vec<StoredFile>, to: &ByteSender) -> std::io::Result<()> {
    let mut zip = Zip::new();
    for file in files {
        let mut head = Vec::new();
        zip.begin(&file.name(), file.size, &mut head);
        to.send(Bytes::from(head)).await.map_err(std::io::Error::other)?;
        let mut body = recorder.read_stored(&file).await.map_err(std::io::Error::other)?;
        while let Some(chunk) = body.next().await {
            let chunk = chunk?;
            zip.bytes(&chunk);
            to.send(chunk).await.map_err(std::io::Error::other)?;
        }
    }
    let mut end = Vec::new();
    zip.finish(&mut end);
    to.send(Bytes::from(end)).await.map_err(std::io::Error::other)
}

/// The transcript of a recording
#[utoipa::path(get, path = "/api/recordings/{id}/transcript", tag = "segments", params(("id" = Uuid, Path)), responses(
    (status = "default", description = "It has none", body = Told)))]
pub(crate) async fn transcript(
    app: Shared,
    Extension(identity): Extension<Identity>,
    RecordingOf(id): RecordingOf,
) -> Result<(), Failure> {
    let known = app.recorder.recording(&identity.tenant, id).await.map_err(Problem::internal)?.is_some();
    let error = if known { "The recording has no transcript" } else { "Recording not found" };
    Err(Failure::new(StatusCode::NOT_FOUND, error))
}

/// A recording that could not be finalized when it was to be.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Retried {
    recording_id: String,
    session_id: String,
    /// What it was before
    status: &'static str,
    /// Whether it is finalized now
    finalized: bool,
    /// Why not
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What was tried again.
#[derive(Serialize, ToSchema)]
pub(crate) struct RetriedAll {
    success: bool,
    recordings: Vec<Retried>,
}

/// The recordings that need a hand, each tried again
///
/// Those whose end could not be done when it was asked for, and those that have been live for too long.
#[utoipa::path(post, path = "/api/recordings/retry", tag = "segments", responses(
    (status = 200, description = "What became of each", body = RetriedAll),
    (status = "default", description = "Nothing was tried", body = Told)))]
pub(crate) async fn retry(
    app: Shared,
    Extension(identity): Extension<Identity>,
) -> Result<Json<RetriedAll>, Failure> {
    let tried = app.recorder.retry_segments(&identity.tenant).await?;
    let recordings = tried.into_iter().map(|(row, done)| Retried {
        recording_id: row.recording.to_string(),
        session_id: row.session_id,
        status: row.status.as_str(),
        finalized: done.is_ok(),
        error: done.err().map(|error| error.to_string()),
    });
    Ok(Json(RetriedAll { success: true, recordings: recordings.collect() }))
}
