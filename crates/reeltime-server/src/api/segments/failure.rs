//! What goes wrong, in the form that the segments API has for it.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderValue};
use http::{HeaderMap, StatusCode};
use reeltime::recorder::Refusal;
use reeltime::segments::receive::ReceiveError;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::problem::{Problem, capitalised};

/// Whether a path is of the segments API.
pub(crate) fn is_ours(path: &str) -> bool {
    path.strip_prefix("/api/recordings").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// An error as it is told to a client of the segments API. Boxed, since most results are none.
#[derive(Clone, Debug)]
pub(crate) struct Failure(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    status: StatusCode,
    error: String,
    details: Value,
    headers: HeaderMap,
}

/// The body of every error.
#[derive(Serialize, ToSchema)]
#[schema(as = SegmentsError)]
pub(crate) struct Told {
    #[schema(example = false)]
    success: bool,
    /// What happened, and what to do
    #[schema(example = "Recording not found")]
    error: String,
    /// What a program may want to know of it
    details: Value,
}

impl Failure {
    /// `error` is a sentence for the person who reads it.
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        let details = json!({ "status": status.as_u16() });
        Self(Box::new(Parts { status, error: error.into(), details, headers: HeaderMap::new() }))
    }

    pub(crate) fn invalid(error: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, error)
    }

    pub(crate) fn no_recording() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Recording not found")
    }

    fn after(mut self, seconds: &'static str) -> Self {
        self.0.headers.insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        self
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let mut failure = Self::new(problem.status(), problem.detail());
        failure.0.headers = problem.headers().clone();
        failure
    }
}

impl From<ReceiveError> for Failure {
    fn from(error: ReceiveError) -> Self {
        use ReceiveError as E;
        #[expect(clippy::wildcard_enum_match_arm, reason = "the library may grow others, which are ours")]
        let status = match &error {
            E::UnknownRecording | E::UnknownUpload => StatusCode::NOT_FOUND,
            E::Used | E::Differs | E::Finalized => StatusCode::CONFLICT,
            E::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            E::TooShort { .. } => StatusCode::BAD_REQUEST,
            E::Times | E::Name { .. } | E::Foreign { .. } | E::Sound(_) => StatusCode::UNPROCESSABLE_ENTITY,
            E::Refused(Refusal::NoRoom(_)) => StatusCode::INSUFFICIENT_STORAGE,
            E::Refused(_) | E::StoreAway | E::Unfinished | E::Busy => StatusCode::SERVICE_UNAVAILABLE,
            _ => return Problem::internal(error).into(),
        };
        let failure = Self::new(status, capitalised(&error.to_string()));
        match status {
            StatusCode::SERVICE_UNAVAILABLE => failure.after("2"),
            StatusCode::INSUFFICIENT_STORAGE => failure.after("30"),
            _ => failure,
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Parts { status, error, details, headers } = *self.0;
        (status, headers, Json(Told { success: false, error, details })).into_response()
    }
}
