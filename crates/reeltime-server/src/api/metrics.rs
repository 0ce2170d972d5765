//! `/metrics`, for Prometheus. What the recorder counts is read when asked for, so that counting costs nothing.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::app::App;

/// Collects for the whole process; called once.
pub(crate) fn install() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new().install_recorder()?;
    describe_jobs();
    describe_figures();
    Ok(handle)
}

fn describe_figures() {
    describe_gauge!("reeltime_ready", "1 where a new session would be taken");
    describe_gauge!("reeltime_sessions", "Sessions now");
    describe_gauge!("reeltime_recordings", "Recordings that are not published yet");
    describe_gauge!("reeltime_renders", "Files that are made on demand now");
    describe_counter!("reeltime_renders_refused_total", "Files that were not made, since too many were");
    counter!("reeltime_renders_refused_total").absolute(0);
    describe_gauge!("reeltime_spool_bytes", "Bytes of all logs in the spool");
    describe_gauge!("reeltime_spool_budget_bytes", "Bytes the spool may hold; 0: no limit");
    describe_gauge!("reeltime_disk_free_bytes", "Bytes free on the spool's disk");
    describe_gauge!("reeltime_reserve_bytes", "Bytes set aside for live sessions");
    describe_gauge!(
        "reeltime_sync_lag_seconds",
        "How long written audio has waited for its sync, at the worst"
    );
    describe_counter!("reeltime_received_bytes_total", "Bytes of audio heard; at least as many as appended");
    describe_counter!(
        "reeltime_appended_bytes_total",
        "Bytes of audio given to logs; at least as many as written"
    );
    describe_counter!("reeltime_written_bytes_total", "Bytes of audio written; at least as many as synced");
    describe_counter!("reeltime_synced_bytes_total", "Bytes of audio that are safe on the disk");
    describe_counter!("reeltime_published_bytes_total", "Bytes of objects that were published");
}

/// Jobs are there from the start, at 0, so that an alert on them has something to look at.
fn describe_jobs() {
    describe_counter!("recording_jobs_enqueued_total", "Recordings handed over to be made ready");
    describe_counter!("recording_jobs_success_total", "Recordings that were made ready");
    describe_counter!("recording_jobs_failed_total", "Recordings that could not be made ready");
    describe_gauge!("recording_queue_depth", "Recordings that wait to be made ready");
    for name in
        ["recording_jobs_enqueued_total", "recording_jobs_success_total", "recording_jobs_failed_total"]
    {
        counter!(name).absolute(0);
    }
    gauge!("recording_queue_depth").set(0.0);
}

/// What the recorder knows of itself, as of now.
fn observe(app: &App) {
    let found = app.recorder.readiness();
    let figures = [
        ("reeltime_ready", u64::from(found.refusal.is_none())),
        ("reeltime_sessions", found.sessions as u64),
        ("reeltime_recordings", found.recordings as u64),
        ("reeltime_renders", found.renders as u64),
        ("reeltime_spool_bytes", found.usage.bytes),
        ("reeltime_spool_budget_bytes", found.usage.budget),
        ("reeltime_disk_free_bytes", found.usage.free),
        ("reeltime_reserve_bytes", found.usage.reserve),
    ];
    for (name, value) in figures {
        gauge!(name).set(value as f64);
    }
    gauge!("reeltime_sync_lag_seconds").set(found.usage.lag.as_secs_f64());
    let totals = [
        ("reeltime_received_bytes_total", found.received),
        ("reeltime_appended_bytes_total", found.usage.appended),
        ("reeltime_written_bytes_total", found.usage.written),
        ("reeltime_synced_bytes_total", found.usage.synced),
        ("reeltime_published_bytes_total", found.published),
    ];
    for (name, value) in totals {
        counter!(name).absolute(value);
    }
}

/// Figures for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "The text format of Prometheus", content_type = "text/plain", body = String)))]
pub(crate) async fn scrape(State(app): State<Arc<App>>) -> Response {
    observe(&app);
    app.metrics.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render()).into_response()
}
