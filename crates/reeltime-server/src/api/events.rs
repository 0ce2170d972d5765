//! `/api/v1/recordings/{id}/events`: what happens to a recording, as Server-Sent Events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use http::{HeaderValue, StatusCode, header};
use reeltime::recorder::WatchError;

use super::extract::Id;
use crate::app::App;
use crate::problem::{Details, Problem, capitalised};
use crate::security::Identity;

/// How often a line says that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What happens to a recording, as it happens
///
/// Server-Sent Events, numbered from 1: first `state` and each `track`, then `progress`, `track`, `gap`, `pause` and
/// `mark` as they come; the last is a `state` that is final. Of a recording that is complete there is that one alone.
#[utoipa::path(get, path = "/api/v1/recordings/{id}/events", tag = "recordings", params(("id" = Uuid, Path)), responses(
    (status = 200, description = "Until the recording is complete", content_type = "text/event-stream", body = String),
    (status = 404, description = "Recording not found", body = Details, content_type = "application/problem+json"),
    (status = 503, description = "Too many watch already", body = Details, content_type = "application/problem+json")))]
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Identity>,
    Id(id): Id,
) -> Result<Response, Problem> {
    let events = app.recorder.watch(&identity.tenant, id).await.map_err(told)?;
    let numbered = unfold((1_u64, events), async |(number, mut events)| {
        let event = events.recv().await?;
        let data = serde_json::to_string(&event).unwrap_or_default();
        let sent = Event::default().id(number.to_string()).event(event.name()).data(data);
        Some((Ok::<_, Infallible>(sent), (number + 1, events)))
    });
    let alive = KeepAlive::new().interval(HEARTBEAT).text("alive");
    let mut response = Sse::new(numbered).keep_alive(alive).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    Ok(response)
}

fn told(error: WatchError) -> Problem {
    match error {
        WatchError::NotFound => Problem::no_recording(),
        WatchError::TooMany | WatchError::Refused(_) => {
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, capitalised(&error.to_string()));
            problem.with(header::RETRY_AFTER, "5")
        }
        WatchError::Failed(_) | _ => Problem::internal(error),
    }
}
