//! `/api/v1/recordings`: what was recorded, and what is being recorded.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use reeltime::catalogue::{Filter, Page, RecordingState, SegmentsStatus};
use reeltime::recorder::Control;
use reeltime_core::id::RecordingId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::extract::{Fields, Id, unprocessable};
use super::view::Recording;
use crate::app::App;
use crate::problem::{Details, Problem};
use crate::security::Identity;

type Shared = State<Arc<App>>;

const PAGE_SIZES: std::ops::RangeInclusive<u32> = 1..=100;

/// Which recordings to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListFields {
    /// Those of this call
    call_id: Option<String>,
    /// Those in this state; several with commas between
    state: Option<String>,
    /// Those with this text in the name of the call or of a participant
    q: Option<String>,
    /// From 1
    #[serde(default = "first")]
    #[param(minimum = 1, default = 1)]
    page: u32,
    /// Items a page
    #[serde(default = "twenty")]
    #[param(minimum = 1, maximum = 100, default = 20)]
    page_size: u32,
}

const fn first() -> u32 {
    1
}

const fn twenty() -> u32 {
    20
}

/// One page of recordings, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct List {
    items: Vec<Recording>,
    page: u32,
    page_size: u32,
    /// Recordings on all pages.
    total: u64,
}

/// List recordings, newest first
#[utoipa::path(get, path = "/api/v1/recordings", tag = "recordings", params(ListFields), responses(
    (status = 200, description = "One page of them", body = List),
    (status = 422, description = "A field has no such value", body = Details, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): Shared,
    Extension(identity): Extension<Identity>,
    Fields(asked): Fields<ListFields>,
) -> Result<Json<List>, Problem> {
    if asked.page == 0 {
        return Err(unprocessable("page begins at 1"));
    }
    if !PAGE_SIZES.contains(&asked.page_size) {
        return Err(unprocessable("page_size is 1 to 100"));
    }
    let states = asked.state.as_deref().map_or(Ok(Vec::new()), all_states)?;
    let text = asked.q.filter(|text| !text.is_empty());
    let filter = Filter { call: asked.call_id, states, text, ..Filter::default() };
    let page = Page { number: asked.page, size: asked.page_size };
    let found = app.recorder.recordings(&identity.tenant, &filter, page).await.map_err(Problem::internal)?;
    let items = found.items.into_iter().map(Recording::from).collect();
    Ok(Json(List { items, page: asked.page, page_size: asked.page_size, total: found.total }))
}

fn all_states(asked: &str) -> Result<Vec<RecordingState>, Problem> {
    let unknown = || unprocessable(format!("state is one of {}", known_states()));
    let each: Option<Vec<_>> = asked.split(',').map(states).collect();
    Ok(each.ok_or_else(unknown)?.concat())
}

/// The names of states, and the words of calls that stand for several, for a sentence.
pub(crate) fn known_states() -> String {
    let names = RecordingState::ALL.iter().map(|state| state.name()).chain(["in_progress", "completed"]);
    names.collect::<Vec<_>>().join(", ")
}

/// The states that a name stands for: one of ours, or all of a word of calls.
pub(crate) fn states(asked: &str) -> Option<Vec<RecordingState>> {
    use RecordingState::{Aborted, Active, Complete, Ending, Failed, LimitReached, Starting};
    match asked {
        "in_progress" => Some(vec![Starting, Active, Ending]),
        "completed" => Some(vec![Complete, LimitReached]),
        "failed" => Some(vec![Failed, Aborted]),
        name => name.parse().ok().map(|state| vec![state]),
    }
}

/// One recording, with participants, tracks, gaps, pauses and marks
#[utoipa::path(get, path = "/api/v1/recordings/{id}", tag = "recordings", params(("id" = Uuid, Path)), responses(
    (status = 200, description = "As of now", body = Recording),
    (status = 404, description = "Recording not found", body = Details, content_type = "application/problem+json")))]
pub(crate) async fn get(
    State(app): Shared,
    Extension(identity): Extension<Identity>,
    Id(id): Id,
) -> Result<Json<Recording>, Problem> {
    let found = app.recorder.recording(&identity.tenant, id).await.map_err(Problem::internal)?;
    found.map(|view| Json(view.into())).ok_or_else(Problem::no_recording)
}

/// The versioned description of a recording
#[utoipa::path(get, path = "/api/v1/recordings/{id}/manifest", tag = "recordings", params(("id" = Uuid, Path)), responses(
    (status = 200, description = "As of now", body = Value),
    (status = 404, description = "Recording not found", body = Details, content_type = "application/problem+json")))]
pub(crate) async fn manifest(
    State(app): Shared,
    Extension(identity): Extension<Identity>,
    Id(id): Id,
) -> Result<Json<Value>, Problem> {
    let found = app.recorder.manifest(&identity.tenant, id).await.map_err(Problem::internal)?;
    found.map(Json).ok_or_else(Problem::no_recording)
}

/// Delete a recording with all its bytes
///
/// One that is being recorded is stopped first. Deleting what is not there is a success.
#[utoipa::path(delete, path = "/api/v1/recordings/{id}", tag = "recordings", params(("id" = Uuid, Path)), responses(
    (status = 204, description = "It is gone"),
    (status = 404, description = "This can be no recording's id", body = Details, content_type = "application/problem+json")))]
pub(crate) async fn delete(
    State(app): Shared,
    Extension(identity): Extension<Identity>,
    Id(id): Id,
) -> Result<StatusCode, Problem> {
    app.recorder.delete(&identity.tenant, id).await.map_err(Problem::internal)?;
    Ok(StatusCode::NO_CONTENT)
}

macro_rules! control {
    ($(#[$doc:meta])* $name:ident, $path:literal, $control:expr) => {
        $(#[$doc])*
        #[utoipa::path(post, path = $path, tag = "recordings", params(("id" = Uuid, Path)), responses(
            (status = 204, description = "Done for every session of it"),
            (status = 404, description = "Recording not found", body = Details, content_type = "application/problem+json"),
            (status = 409, description = "It is not being recorded", body = Details, content_type = "application/problem+json")))]
        pub(crate) async fn $name(
            State(app): Shared,
            Extension(identity): Extension<Identity>,
            Id(id): Id,
        ) -> Result<StatusCode, Problem> {
            control(&app, &identity, id, $control).await
        }
    };
}

control!(/// Pause: what arrives from now on is not recorded
    pause, "/api/v1/recordings/{id}/pause", Control::Pause);
control!(/// Resume after a pause
    resume, "/api/v1/recordings/{id}/resume", Control::Resume);
control!(/// Stop: end every session of the recording
    stop, "/api/v1/recordings/{id}/stop", Control::Stop);

async fn control(
    app: &App,
    identity: &Identity,
    id: RecordingId,
    control: Control,
) -> Result<StatusCode, Problem> {
    if app.recorder.control(&identity.tenant, id, control).await {
        return Ok(StatusCode::NO_CONTENT);
    }
    if app.recorder.recording(&identity.tenant, id).await.map_err(Problem::internal)?.is_none() {
        return Err(Problem::no_recording());
    }
    let segments = app.recorder.segments_of(&identity.tenant, id).await.map_err(Problem::internal)?;
    let detail = match segments.map(|segments| segments.status) {
        Some(SegmentsStatus::Live) => format!(
            "This recording comes as segments, so that it cannot be paused or stopped here: end it with POST /api/recordings/{id}/finalize, as its client does"
        ),
        _ => "The recording has ended".to_owned(),
    };
    Err(Problem::new(StatusCode::CONFLICT, detail))
}
