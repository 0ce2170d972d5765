//! Probes: `/healthz` says that the process lives, `/readyz` that it can record.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use reeltime::recorder::{Backlog, Readiness};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;

/// A sign of life.
#[derive(Serialize, ToSchema)]
pub(crate) struct Alive {
    #[schema(example = "alive")]
    status: &'static str,
}

/// Whether it can record, and how much room there is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ready {
    /// Recovered, and a new session would be taken.
    ready: bool,
    /// What stands against it.
    reasons: Vec<String>,
    /// Sessions now.
    sessions: usize,
    /// Recordings that are not published yet.
    recordings: usize,
    /// Those of them that have ended and wait for the store.
    backlog_recordings: usize,
    /// Bytes of their logs.
    backlog_bytes: u64,
    /// Bytes of all logs in the spool.
    spool_bytes: u64,
    /// Bytes free on the spool's disk.
    disk_free_bytes: u64,
    /// Bytes set aside for live sessions.
    reserve_bytes: u64,
    /// Bytes the spool can still take.
    budget_bytes: u64,
    /// For how long live sessions can be recorded with the store away; absent where none is live.
    budget_hours: Option<f64>,
}

impl Ready {
    fn new(found: &Readiness, backlog: Backlog) -> Self {
        let usage = found.usage;
        Self {
            ready: found.refusal.is_none(),
            reasons: found.refusal.iter().map(ToString::to_string).collect(),
            sessions: found.sessions,
            recordings: found.recordings,
            backlog_recordings: backlog.recordings,
            backlog_bytes: backlog.bytes,
            spool_bytes: usage.bytes,
            disk_free_bytes: usage.free,
            reserve_bytes: usage.reserve,
            budget_bytes: found.room(),
            budget_hours: found.hours(),
        }
    }
}

/// Whether the process lives
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, description = "It does", body = Alive)))]
pub(crate) async fn healthz() -> Json<Alive> {
    Json(Alive { status: "alive" })
}

/// Whether it can record
///
/// A store that is away does not make it unready: what is recorded meanwhile stays in the spool.
#[utoipa::path(get, path = "/readyz", tag = "operation", responses(
    (status = 200, description = "A new session would be taken", body = Ready),
    (status = 503, description = "New sessions are refused; live ones go on", body = Ready)))]
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Response {
    let ready = Ready::new(&app.recorder.readiness(), app.recorder.backlog());
    let status = if ready.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(ready)).into_response()
}
