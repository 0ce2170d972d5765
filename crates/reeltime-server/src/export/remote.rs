//! A recording from a running server, over HTTP.

use std::path::Path;

use anyhow::Context;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use reeltime_core::id::RecordingId;
use reeltime_core::media::Container;

use super::output::{self, Place};
use crate::client::http::Client;

/// Asks for the sound that `query` describes, and writes it as it comes.
pub(super) async fn export(
    client: &Client,
    id: RecordingId,
    query: &[(&str, &str)],
    output: &Path,
) -> anyhow::Result<()> {
    let call = if output.is_dir() { Some(call(client, id).await?) } else { None };
    let answer = client.get(&format!("/api/v1/recordings/{id}/stream"), query).await?;
    let place = match call {
        Some(call) => Place::inside(output, &call, format(answer.headers())?.name())?,
        None => Place::at(output),
    };
    let length = answer.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()).and_then(|length| length.parse().ok());
    output::write(Box::pin(answer.into_body().into_data_stream()), length, place).await
}

async fn call(client: &Client, id: RecordingId) -> anyhow::Result<String> {
    let recording = client.json(&format!("/api/v1/recordings/{id}"), &[]).await?;
    let call = recording["call_id"].as_str().context("the server names no call: name the file yourself")?;
    Ok(call.to_owned())
}

/// What it is that comes.
fn format(headers: &HeaderMap) -> anyhow::Result<Container> {
    let mime = headers.get(header::CONTENT_TYPE).map(|mime| mime.as_bytes());
    let known = Container::ALL.into_iter().find(|format| Some(format.mime().as_bytes()) == mime);
    known.context("the server does not say which format it sends: name the file yourself")
}
