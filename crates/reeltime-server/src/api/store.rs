//! `/api/v1/store`: the store, how it is, and what waits for it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use reeltime::recorder::{Backlog, Readiness, StoreStatus};
use reeltime::store::Health;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;

/// The store, and what waits for it. Times are RFC 3339 in UTC.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Store {
    /// `file`, `s3`, `vercel-blob`, …
    #[schema(example = "s3")]
    kind: String,
    /// Where it lies, without anything secret
    #[schema(example = "s3://bucket/prefix")]
    place: String,
    /// Losing this machine does not lose it
    remote: bool,
    health: StoreHealth,
    backlog: StoreBacklog,
    spool: SpoolRoom,
}

/// The store as its users met it; nothing is asked of it for this.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoreHealth {
    /// Whether it answered when it was last asked, or was not asked yet; false too where requests wait for more than
    /// a few seconds
    up: bool,
    last_success_at: Option<String>,
    last_failure_at: Option<String>,
    /// What it last failed with
    last_failure: Option<String>,
    /// Failures since it last answered
    failures: u32,
    /// Since when it has not answered
    away_since: Option<String>,
    /// For how long requests have waited without any answer; absent where none has waited for more than a few seconds
    silent_seconds: Option<f64>,
}

/// Recordings that have ended and are not in the store.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoreBacklog {
    recordings: usize,
    /// Bytes of their logs
    bytes: u64,
    /// How long ago the oldest of them ended
    oldest_seconds: Option<f64>,
    /// For how long none could be published; absent while they can
    outage_seconds: Option<f64>,
    /// Bytes a second published, over the last minute
    draining_bytes_per_second: f64,
}

/// The local disk, on which recordings wait.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SpoolRoom {
    /// Bytes of all logs
    bytes: u64,
    /// Bytes it may hold; 0: no limit
    budget_bytes: u64,
    /// Bytes it can still take
    room_bytes: u64,
    /// For how long live sessions can be recorded with the store away; absent where none is live
    room_hours: Option<f64>,
}

impl From<StoreStatus> for Store {
    fn from(status: StoreStatus) -> Self {
        Self {
            kind: status.place.split(':').next().unwrap_or_default().to_owned(),
            place: status.place,
            remote: status.remote,
            health: status.health.into(),
            backlog: status.backlog.into(),
            spool: (&status.readiness).into(),
        }
    }
}

impl From<Health> for StoreHealth {
    fn from(health: Health) -> Self {
        let up = health.is_up();
        let (failed_at, words) = health.last_failure.unzip();
        Self {
            up,
            last_success_at: health.last_success.map(|at| at.to_string()),
            last_failure_at: failed_at.map(|at| at.to_string()),
            last_failure: words,
            failures: health.failures,
            away_since: health.away_since.map(|at| at.to_string()),
            silent_seconds: health.silent.map(|time| time.as_secs_f64()),
        }
    }
}

impl From<Backlog> for StoreBacklog {
    fn from(backlog: Backlog) -> Self {
        Self {
            recordings: backlog.recordings,
            bytes: backlog.bytes,
            oldest_seconds: backlog.oldest.map(|age| age.as_secs_f64()),
            outage_seconds: backlog.outage.map(|time| time.as_secs_f64()),
            draining_bytes_per_second: backlog.bytes_per_second,
        }
    }
}

impl From<&Readiness> for SpoolRoom {
    fn from(found: &Readiness) -> Self {
        Self {
            bytes: found.usage.bytes,
            budget_bytes: found.usage.budget,
            room_bytes: found.room(),
            room_hours: found.hours(),
        }
    }
}

/// The store, how it is, and what waits for it
#[utoipa::path(get, path = "/api/v1/store", tag = "operation", responses(
    (status = 200, description = "As of now", body = Store)))]
pub(crate) async fn status(State(app): State<Arc<App>>) -> Json<Store> {
    Json(app.recorder.store_status().into())
}
