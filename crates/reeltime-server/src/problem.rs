//! Problem details (RFC 9457): the one form of every error over HTTP.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

/// An error as it is told to a client. Boxed, since most results are none.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    status: StatusCode,
    detail: String,
    headers: HeaderMap,
}

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Details {
    /// Always `about:blank`: the status says what kind of error it is.
    #[schema(example = "about:blank")]
    r#type: &'static str,
    /// The status in words.
    #[schema(example = "Not Found")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// What happened, and what to do.
    #[schema(example = "Recording not found")]
    detail: String,
}

impl Problem {
    /// The sentence in it.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The headers of its answer.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// `detail` is a sentence for the person who reads it.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self(Box::new(Parts { status, detail: detail.into(), headers: HeaderMap::new() }))
    }

    /// Adds a header to the answer.
    pub(crate) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.0.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// Something broke on our side. It is logged here, once; the client learns no more than that.
    pub(crate) fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong here; the log says what")
    }

    /// One text for unknown, deleted and foreign alike, so that nobody learns which it is.
    pub(crate) fn no_recording() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Recording not found")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Parts { status, detail, headers } = *self.0;
        let body = Details {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail,
        };
        let mut response = (status, headers, Json(body)).into_response();
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

/// A sentence for a person begins with a capital letter; errors do not. A name, a path or an address at its beginning
/// stays as it is.
pub(crate) fn capitalised(text: &str) -> String {
    let word = text.split(' ').next().unwrap_or_default().trim_end_matches([',', ':', ';']);
    if !word.bytes().all(|letter| letter.is_ascii_lowercase() || matches!(letter, b'-' | b'\'')) {
        return text.to_owned();
    }
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_begins_with_a_capital_and_a_name_stays_as_it_is() {
        assert_eq!(capitalised("the store is away"), "The store is away");
        assert_eq!(capitalised("pause: not now"), "Pause: not now");
        for name in
            ["sessionId is absent", "http://h:1/x is none", "recordings/a/b.wav is none", "a.wav is none"]
        {
            assert_eq!(capitalised(name), name);
        }
        assert_eq!(capitalised(""), "");
    }
}
