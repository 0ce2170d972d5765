//! `/api/v1/recordings/{id}/peaks`: what a waveform is drawn from, at any zoom, also while it is being recorded.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::header::{self, HeaderMap};
use http::{HeaderValue, Method};
use reeltime::recorder::{PeaksSelection, Zoom};
use reeltime_core::peaks::{Bits, PeaksFormat};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::audio::{number, told, track_id};
use super::extract::{Fields, Id, unprocessable};
use super::media::File;
use crate::app::App;
use crate::problem::{Details, Problem};
use crate::security::Identity;

/// Which peaks, and how.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PeaksFields {
    /// Of this track, by its id, with its channels; by default of all as one channel
    track: Option<String>,
    /// Of this participant
    participant: Option<String>,
    /// Samples a pixel stands for: the next power of two below, from 256 on the next multiple of 256 below
    #[param(example = "256")]
    samples_per_pixel: Option<String>,
    /// Instead of `samples_per_pixel`: as many as make at most so many pixels; by default 2000
    #[param(example = "1000")]
    width: Option<String>,
    /// json (default) or dat
    format: Option<String>,
    /// 8 (default) or 16
    bits: Option<String>,
}

impl PeaksFields {
    fn selection(&self) -> Result<PeaksSelection, Problem> {
        Ok(PeaksSelection {
            participant: self.participant.clone(),
            track: self.track.as_deref().map(track_id).transpose()?,
            zoom: self.zoom()?,
        })
    }

    fn zoom(&self) -> Result<Zoom, Problem> {
        let positive = |name, text: &str| match number(name, text)? {
            0 => Err(unprocessable(format!("{name} begins at 1"))),
            number => Ok(number),
        };
        match (&self.samples_per_pixel, &self.width) {
            (None, None) => Ok(Zoom::default()),
            (Some(text), None) => Ok(Zoom::SamplesPerPixel(positive("samples_per_pixel", text)?)),
            (None, Some(text)) => Ok(Zoom::Width(positive("width", text)?)),
            (Some(_), Some(_)) => Err(unprocessable("samples_per_pixel and width exclude each other")),
        }
    }

    fn written(&self) -> Result<(Bits, PeaksFormat), Problem> {
        let bits = match self.bits.as_deref() {
            None | Some("8") => Bits::Eight,
            Some("16") => Bits::Sixteen,
            Some(_) => return Err(unprocessable("bits is 8 or 16")),
        };
        match self.format.as_deref() {
            None | Some("json") => Ok((bits, PeaksFormat::Json)),
            Some("dat") => Ok((bits, PeaksFormat::Dat)),
            Some(_) => Err(unprocessable("format is json or dat")),
        }
    }
}

/// Peaks in the format of audiowaveform, version 2, which peaks.js and wavesurfer.js read.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what is written as text")]
pub(crate) struct Waveform {
    /// Always 2
    version: u8,
    channels: u8,
    sample_rate: u32,
    samples_per_pixel: u32,
    /// 8 or 16
    bits: u8,
    /// Pixels
    length: u64,
    /// By pixel, by channel: the least sample, then the greatest
    data: Vec<i16>,
}

/// The peaks of a recording, to draw its waveform
///
/// At most 1,000,000 pixels. While it is being recorded: as far as it is.
#[utoipa::path(get, path = "/api/v1/recordings/{id}/peaks", tag = "recordings",
    params(("id" = Uuid, Path), PeaksFields), responses(
    (status = 200, description = "All of them; with format=dat as bytes", body = Waveform),
    (status = 304, description = "What the client has is still it"),
    (status = 404, description = "Recording not found", body = Details, content_type = "application/problem+json"),
    (status = 406, description = "Its sound is kept in a format that is not read here", body = Details, content_type = "application/problem+json"),
    (status = 409, description = "Nothing is recorded yet", body = Details, content_type = "application/problem+json"),
    (status = 422, description = "A field has no such value, or there would be too many pixels", body = Details, content_type = "application/problem+json")))]
pub(crate) async fn peaks(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Identity>,
    Id(id): Id,
    Fields(asked): Fields<PeaksFields>,
    method: Method,
    mut headers: HeaderMap,
) -> Result<Response, Problem> {
    let (selection, written) = (asked.selection()?, asked.written()?);
    let peaks = app.recorder.peaks(&identity.tenant, id, &selection, written).await.map_err(told)?;
    let file = File {
        mime: peaks.mime().to_owned(),
        name: format!("recording_{id}.{}", peaks.extension()),
        length: peaks.bytes(),
        etag: peaks.etag.clone(),
    };
    // They are small, and whole.
    headers.remove(header::RANGE);
    let mut response = file.serve(&method, &headers, |_| peaks.read()).await?;
    response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
    Ok(response)
}
