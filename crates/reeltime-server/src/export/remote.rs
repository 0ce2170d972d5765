//! A recording from a running server, over HTTP.

use std::path::Path;

use http::header;
use http_body_util::BodyExt;
use reeltime_core::id::RecordingId;

use super::output;
use crate::client::http::Client;

/// Asks for the sound that `query` describes, and writes it as it comes.
pub(super) async fn export(
    client: &Client,
    id: RecordingId,
    query: &[(&str, &str)],
    output: &Path,
) -> anyhow::Result<()> {
    let answer = client.get(&format!("/api/v1/recordings/{id}/stream"), query).await?;
    let length = answer.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()).and_then(|length| length.parse().ok());
    output::write(Box::pin(answer.into_body().into_data_stream()), length, output).await
}
