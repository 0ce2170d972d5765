//! `/api/recordings`: recordings that come in as segments, each at its absolute time, and all recordings in the shapes
//! of that API. Its errors have a form of their own.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Query, Request, State};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use reeltime_core::id::RecordingId;
use serde::de::DeserializeOwned;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::extract::unfit;
use crate::app::App;

mod batch;
mod failure;
mod fields;
mod live;
mod read;
mod shapes;
mod upload;

pub(crate) use failure::{Failure, is_ours};

/// Bytes of the longest list of segments: 10,000 of them take about 4 MiB.
const MOST_LIST: usize = 16 << 20;

type Shared = State<Arc<App>>;

/// The routes of this API.
pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    let lists = OpenApiRouter::new()
        .routes(routes!(live::finalize))
        .routes(routes!(batch::begin))
        .routes(routes!(batch::complete))
        .layer(DefaultBodyLimit::max(MOST_LIST));
    // Bodies that are never held: each has a limit of its own.
    let streams = OpenApiRouter::new()
        .routes(routes!(upload::put))
        .routes(routes!(batch::multipart, read::list))
        .layer(DefaultBodyLimit::disable());
    OpenApiRouter::new()
        .routes(routes!(live::begin))
        .routes(routes!(live::announce))
        .routes(routes!(live::active))
        .routes(routes!(upload::get))
        .routes(routes!(read::get))
        .routes(routes!(read::download))
        .routes(routes!(read::transcript))
        .routes(routes!(read::retry))
        .merge(lists)
        .merge(streams)
}

/// What links begin with.
fn base(app: &App, headers: &HeaderMap) -> String {
    super::audio::base(app, headers)
}

/// A JSON body, whatever type its client calls it.
struct Body<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let bytes = bytes::Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|error| match error.status() {
            status @ StatusCode::PAYLOAD_TOO_LARGE => {
                Failure::new(status, "The body is larger than is taken")
            }
            status => Failure::new(status, "The body broke off: send it again"),
        })?;
        fields::from_json(&bytes).map(Self)
    }
}

/// The fields of the query.
struct Fields<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Fields<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let fields = Query::try_from_uri(&parts.uri);
        fields.map(|Query(fields)| Self(fields)).map_err(|error| Failure::invalid(unfit(&error)))
    }
}

/// The `{id}` in the path.
struct RecordingOf(RecordingId);

impl<S: Send + Sync> FromRequestParts<S> for RecordingOf {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let id = super::extract::Id::from_request_parts(parts, state).await?;
        Ok(Self(id.0))
    }
}

/// The `{file}` in the path.
struct FileOf(String);

impl<S: Send + Sync> FromRequestParts<S> for FileOf {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        path.map(|Path((_, file))| Self(file)).map_err(|_| Failure::no_recording())
    }
}

/// The `{id}` in the path, and the id behind it.
struct Two(RecordingId, Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Two {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((recording, id)) = path.map_err(|_| Failure::no_recording())?;
        let ids = recording.parse().ok().zip(Uuid::try_parse(&id).ok());
        ids.map(|(recording, id)| Self(recording, id)).ok_or_else(Failure::no_recording)
    }
}
