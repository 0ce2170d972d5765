//! What handlers take from a request, with problem details where it does not fit.

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query, RawPathParams};
use http::StatusCode;
use http::request::Parts;
use reeltime_core::id::RecordingId;
use serde::de::DeserializeOwned;

use crate::problem::{Problem, capitalised};

/// The `{id}` in the path. What cannot be an id is no recording of anybody's.
pub(crate) struct Id(pub(crate) RecordingId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params = params.map_err(|_| Problem::no_recording())?;
        let id = params.iter().find_map(|(name, value)| (name == "id").then(|| value.parse()));
        id.and_then(Result::ok).map(Self).ok_or_else(Problem::no_recording)
    }
}

/// The fields of the query; fields that a route does not know are left alone.
pub(crate) struct Fields<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Fields<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(fields)| Self(fields))
            .map_err(|rejected| unprocessable(unfit(&rejected)))
    }
}

/// What does not fit in a query, in words for a person.
pub(crate) fn unfit(rejected: &QueryRejection) -> String {
    let text = rejected.body_text();
    let why = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
    let Some((field, why)) = why.split_once(": ") else { return capitalised(why) };
    let wanted = match why {
        _ if why.contains("digit") || why.contains("integer") || why.contains("number too") => {
            "a whole number, 0 or more"
        }
        _ if why.contains("float") => "a number",
        _ if why.contains("`true` or `false`") => "true or false",
        _ => return format!("{field}: {why}"),
    };
    format!("{field} must be {wanted}")
}

/// A value that is understood and cannot be served.
pub(crate) fn unprocessable(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}
