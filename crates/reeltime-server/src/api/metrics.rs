//! `/metrics`, for Prometheus. What the recorder counts is read when asked for, so that counting costs nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use reeltime::recorder::{Backlog, Readiness};

use crate::app::App;

/// Collects for the whole process; called once.
pub(crate) fn install() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new().install_recorder()?;
    describe_jobs();
    describe_figures();
    describe_segments();
    Ok(handle)
}

fn describe_segments() {
    describe_counter!("reeltime_segments_cut_total", "Segments that were cut at silences");
    describe_counter!("reeltime_segments_short_total", "Sounds that were too short to be a segment");
    describe_counter!("reeltime_segments_uploaded_total", "Segments that arrived");
    describe_counter!("reeltime_segments_uploaded_bytes_total", "Bytes of the segments that arrived");
    describe_counter!(
        "reeltime_segments_failed_total",
        "Attempts to send segments, or their end, that failed"
    );
    describe_counter!("reeltime_segments_refused_recordings_total", "Recordings that were not cut: too many");
    describe_gauge!("reeltime_segments_waiting", "Segments that wait on this machine");
    describe_gauge!("reeltime_segments_waiting_bytes", "Bytes of the segments that wait");
    describe_gauge!("reeltime_segments_active_speakers", "Speakers in the middle of a segment");
    describe_gauge!("reeltime_segments_recordings", "Recordings with segments still to be cut or sent");
}

/// What the sender of segments knows of itself.
fn observe_segments(app: &App) {
    let found = app.recorder.segment_figures();
    for (name, value) in [
        ("reeltime_segments_cut_total", found.cut),
        ("reeltime_segments_short_total", found.short),
        ("reeltime_segments_uploaded_total", found.sent),
        ("reeltime_segments_uploaded_bytes_total", found.sent_bytes),
        ("reeltime_segments_failed_total", found.failed),
        ("reeltime_segments_refused_recordings_total", found.refused),
    ] {
        counter!(name).absolute(value);
    }
    for (name, value) in [
        ("reeltime_segments_waiting", found.waiting),
        ("reeltime_segments_waiting_bytes", found.waiting_bytes),
        ("reeltime_segments_active_speakers", found.speakers),
        ("reeltime_segments_recordings", found.recordings),
    ] {
        gauge!(name).set(value as f64);
    }
}

fn describe_figures() {
    describe_counter!("reeltime_upload_parts_sent_total", "Parts of files that the store has taken");
    describe_counter!(
        "reeltime_upload_parts_kept_total",
        "Parts that came out as the store had them already"
    );
    describe_counter!(
        "reeltime_live_mixes_total",
        "Mixes that grew with their recording: kept at its end, or made anew"
    );
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
    describe_gauge!("reeltime_spool_room_bytes", "Bytes that the spool can still take");
    describe_gauge!("reeltime_spool_room_hours", "Hours of store outage that still fit at the present rate");
    describe_gauge!("reeltime_backlog_recordings", "Recordings that have ended and wait for the store");
    describe_gauge!("reeltime_backlog_bytes", "Bytes of their logs");
    describe_gauge!("reeltime_backlog_oldest_seconds", "How long ago the oldest of them ended");
    describe_gauge!(
        "reeltime_store_up",
        "0 where the store did not answer when it was last asked, or lets requests wait"
    );
    describe_gauge!("reeltime_store_outage_seconds", "For how long nothing could be published");
    describe_counter!("reeltime_store_requests_total", "Requests to the store: ok, failed or refused");
    describe_counter!("reeltime_store_bytes_total", "Bytes sent to the store, or read from it");
    describe_counter!("reeltime_swept_objects_total", "Left-over objects that were removed");
    describe_counter!("reeltime_received_bytes_total", "Bytes of audio heard; at least as many as appended");
    describe_counter!(
        "reeltime_appended_bytes_total",
        "Bytes of audio given to logs; at least as many as written"
    );
    describe_counter!("reeltime_written_bytes_total", "Bytes of audio written; at least as many as synced");
    describe_counter!("reeltime_synced_bytes_total", "Bytes of audio that are safe on the disk");
    describe_counter!(
        "reeltime_shipped_bytes_total",
        "Bytes of audio that are in the store, published or not"
    );
    describe_gauge!(
        "reeltime_ship_lag_seconds",
        "How long synced audio has waited to be shipped, at the worst"
    );
    describe_gauge!("reeltime_bundles", "Bundles of this node in the store");
    describe_counter!("reeltime_bundles_total", "Bundles that were put into the store");
    describe_counter!("reeltime_bundle_bytes_total", "Bytes of the bundles that were put into the store");
    describe_counter!("reeltime_bundles_spoiled_total", "Bundles, or ranges of one, that could not be used");
    describe_counter!("reeltime_ship_errors_total", "Attempts to ship that failed");
    describe_counter!("reeltime_taken_over_recordings_total", "Recordings taken over from lost nodes");
    describe_counter!("reeltime_node_lost_leases_total", "How often this node was taken for dead");
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
    observe_backlog(&app.recorder.backlog(), &found);
    gauge!("reeltime_store_up").set(f64::from(app.recorder.store_health().is_up()));
    gauge!("reeltime_sync_lag_seconds").set(found.usage.lag.as_secs_f64());
    gauge!("reeltime_ship_lag_seconds").set(found.shipped.lag.as_secs_f64());
    gauge!("reeltime_bundles").set(found.shipped.bundles as f64);
    let totals = [
        ("reeltime_received_bytes_total", found.received),
        ("reeltime_appended_bytes_total", found.usage.appended),
        ("reeltime_written_bytes_total", found.usage.written),
        ("reeltime_synced_bytes_total", found.usage.synced),
        ("reeltime_shipped_bytes_total", found.shipped.payload),
        ("reeltime_published_bytes_total", found.published),
    ];
    for (name, value) in totals {
        counter!(name).absolute(value);
    }
}

fn observe_backlog(backlog: &Backlog, found: &Readiness) {
    let seconds = |time: Option<Duration>| time.unwrap_or_default().as_secs_f64();
    let figures = [
        ("reeltime_backlog_recordings", backlog.recordings as f64),
        ("reeltime_backlog_bytes", backlog.bytes as f64),
        ("reeltime_backlog_oldest_seconds", seconds(backlog.oldest)),
        ("reeltime_store_outage_seconds", seconds(backlog.outage)),
        ("reeltime_spool_room_bytes", found.room() as f64),
        // Nothing is being recorded: it lasts for ever.
        ("reeltime_spool_room_hours", found.hours().unwrap_or(f64::INFINITY)),
    ];
    for (name, value) in figures {
        gauge!(name).set(value);
    }
}

/// Figures for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "The text format of Prometheus", content_type = "text/plain", body = String)))]
pub(crate) async fn scrape(State(app): State<Arc<App>>) -> Response {
    observe(&app);
    observe_segments(&app);
    app.metrics.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render()).into_response()
}
