//! What every request handler can reach.

use metrics_exporter_prometheus::PrometheusHandle;
use reeltime::recorder::Recorder;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::security::Guard;
use crate::settings::Transcribe;

/// Shared by all requests.
pub(crate) struct App {
    pub(crate) recorder: Recorder,
    pub(crate) guard: Guard,
    pub(crate) metrics: PrometheusHandle,
    /// Sizes and buffers of every WebSocket.
    pub(crate) websocket: WebSocketConfig,
    pub(crate) transcribe: Transcribe,
    /// What links start with; by default as the request came.
    pub(crate) public_url: Option<String>,
}
