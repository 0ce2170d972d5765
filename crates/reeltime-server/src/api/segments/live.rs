//! A recording that comes in while it is being made: begin, an address for each segment, the end.

use axum::{Extension, Json};
use http::HeaderMap;
use reeltime::catalogue::SegmentsStatus;
use reeltime::segments::receive::NewSegments;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::failure::{Failure, Told};
use super::read::summary;
use super::shapes::{Address, Answer, Begin, Begun, File, Finalize};
use super::upload::address;
use super::{Body, Fields, RecordingOf, Shared, base};
use crate::app::App;
use crate::now;
use crate::security::Identity;

/// Begin a recording whose segments will come one by one
///
/// The same `sessionId` again, while it is live, gives the same recording.
#[utoipa::path(post, path = "/api/recordings/init-live", operation_id = "segments_begin", tag = "segments", request_body = Begin, responses(
    (status = 200, description = "It is live", body = Begun),
    (status = "default", description = "It is not", body = Told)))]
pub(crate) async fn begin(
    app: Shared,
    Extension(identity): Extension<Identity>,
    Body(asked): Body<Begin>,
) -> Result<Json<Begun>, Failure> {
    let recording_id = begin_recording(&app, &identity, asked).await?.to_string();
    Ok(Json(Begun { success: true, recording_id, status: "live" }))
}

pub(super) async fn begin_recording(
    app: &App,
    identity: &Identity,
    asked: Begin,
) -> Result<reeltime_core::id::RecordingId, Failure> {
    let details = serde_json::to_string(&asked.more).unwrap_or_default();
    if asked.guild_id.len().max(asked.channel_id.len()) > 1_024 || details.len() > 16 << 10 {
        return Err(Failure::invalid(
            "guildId and channelId are to have at most 1,024 bytes, and the rest 16 KiB",
        ));
    }
    let new = NewSegments {
        session_id: asked.session_id,
        guild_id: asked.guild_id,
        channel_id: asked.channel_id,
        details,
        begun_at: asked.recorded_at.map_or_else(now, Into::into),
    };
    Ok(app.recorder.begin_segments(&identity.tenant, new).await?)
}

/// An address for one segment: good for one PUT of this very size and type, for 15 minutes
///
/// Where segments are sent to the store itself, it is the store's: size and type are looked at when the recording is
/// finalized.
#[utoipa::path(post, path = "/api/recordings/{id}/segment-upload-url", tag = "segments", params(("id" = Uuid, Path)),
    request_body = File, responses(
    (status = 200, description = "Send it there", body = Address),
    (status = "default", description = "It is not taken", body = Told)))]
pub(crate) async fn announce(
    app: Shared,
    Extension(identity): Extension<Identity>,
    RecordingOf(id): RecordingOf,
    headers: HeaderMap,
    Body(asked): Body<File>,
) -> Result<Json<Address>, Failure> {
    if asked.file_size.is_none() {
        return Err(Failure::invalid("fileSize says how many bytes will come"));
    }
    let row = app.recorder.segments_of(&identity.tenant, id).await?.ok_or_else(Failure::no_recording)?;
    let announcement = asked.announcement(row.begun_at)?;
    let segment = app.recorder.announce_segment(&identity.tenant, id, announcement).await?;
    let (upload_url, expires_in) = address(&app, &identity, &segment, &base(&app, &headers)).await?;
    Ok(Json(Address { success: true, upload_url, blob_path: segment.key.to_string(), expires_in }))
}

/// End a recording
///
/// Segments that are named and never came are marked as missing. Once it is finalized, the answer stays the same.
#[utoipa::path(post, path = "/api/recordings/{id}/finalize", tag = "segments", params(("id" = Uuid, Path)),
    request_body = Finalize, responses(
    (status = 200, description = "It is complete", body = Answer),
    (status = "default", description = "It goes on", body = Told)))]
pub(crate) async fn finalize(
    app: Shared,
    Extension(identity): Extension<Identity>,
    RecordingOf(id): RecordingOf,
    headers: HeaderMap,
    Body(asked): Body<Finalize>,
) -> Result<Json<Answer>, Failure> {
    end(&app, &identity, id, &asked.segments, &base(&app, &headers)).await
}

pub(super) async fn end(
    app: &App,
    identity: &Identity,
    id: reeltime_core::id::RecordingId,
    files: &[File],
    base: &str,
) -> Result<Json<Answer>, Failure> {
    let row = app.recorder.segments_of(&identity.tenant, id).await?.ok_or_else(Failure::no_recording)?;
    let named = files.iter().map(|file| file.named(row.begun_at)).collect::<Result<_, _>>()?;
    app.recorder.finalize_segments(&identity.tenant, id, named).await?;
    summary(app, identity, id, base).await
}

/// Which live recording is meant.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Where {
    guild_id: Option<String>,
    channel_id: Option<String>,
}

/// A live recording.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Active {
    success: bool,
    found: bool,
    recording_id: String,
    session_id: String,
    status: &'static str,
    /// RFC 3339
    started_at: String,
    participant_count: usize,
    /// RFC 3339
    created_at: String,
}

/// The newest live recording of a guild and a channel
#[utoipa::path(get, path = "/api/recordings/active", tag = "segments", params(Where), responses(
    (status = 200, description = "It is live", body = Active),
    (status = "default", description = "There is none", body = Told)))]
pub(crate) async fn active(
    app: Shared,
    Extension(identity): Extension<Identity>,
    Fields(asked): Fields<Where>,
) -> Result<Json<Active>, Failure> {
    let open = app.recorder.open_segments(&identity.tenant).await?;
    let meant = |wanted: &Option<String>, has: &str| wanted.as_ref().is_none_or(|wanted| wanted == has);
    let row = open.into_iter().rev().find(|row| {
        row.status == SegmentsStatus::Live
            && meant(&asked.guild_id, &row.guild_id)
            && meant(&asked.channel_id, &row.channel_id)
    });
    let row = row.ok_or_else(|| Failure::new(http::StatusCode::NOT_FOUND, "No recording is live there"))?;
    let figures = app.recorder.file_figures(&identity.tenant, &[row.recording]).await?;
    Ok(Json(Active {
        success: true,
        found: true,
        recording_id: row.recording.to_string(),
        session_id: row.session_id,
        status: "live",
        started_at: row.begun_at.to_string(),
        participant_count: figures.get(&row.recording).map_or(0, |figures| figures.users),
        created_at: row.created_at.to_string(),
    }))
}
