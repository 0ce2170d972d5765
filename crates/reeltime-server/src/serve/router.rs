//! From a request to its answer: checks, then the route, with every error as problem details.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::FutureExt;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use hyper::body::Incoming;
use tower::ServiceExt;
use tower::util::MapRequestLayer;
use tracing::Instrument;

use super::accept::Handler;
use super::upgrade;
use crate::api;
use crate::api::segments;
use crate::app::App;
use crate::now;
use crate::page;
use crate::problem::Problem;
use crate::traces;

/// Bytes of a request's body that a handler may read.
const MAX_BODY: usize = 64 << 10;
/// Where a trailing slash does not count.
const SLASHED: [&str; 4] = ["/api/v1/", "/api/recordings/", "/v1/", "/ws/"];

/// Every route.
fn router(app: Arc<App>) -> Router {
    let (routes, document) = api::routes();
    routes
        .route("/v1/ingest/pcm", get(upgrade::pcm))
        .route("/ws/transcribe", get(upgrade::transcribe))
        .merge(api::docs::pages(document))
        .merge(page::routes())
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(MapRequestLayer::new(traces::note_route::<Body>))
        .with_state(app)
}

/// A person who follows a link gets the page, which knows its own places; a program is told.
async fn no_route(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if page::is_asked_for(&method, uri.path(), &headers) {
        return page::index();
    }
    let problem =
        Problem::new(StatusCode::NOT_FOUND, format!("There is nothing at {}; see /api/docs", uri.path()));
    told(problem, uri.path())
}

async fn no_method(method: Method, uri: Uri) -> Response {
    let detail = format!("{method} is not possible at {}", uri.path());
    told(Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail), uri.path())
}

/// In the form that errors have at this path.
fn told(problem: Problem, path: &str) -> Response {
    if segments::is_ours(path) {
        segments::Failure::from(problem).into_response()
    } else {
        problem.into_response()
    }
}

/// The checks around the routes.
pub(crate) struct Service {
    app: Arc<App>,
    router: Router,
}

impl Service {
    /// For all connections.
    pub(crate) fn new(app: Arc<App>) -> Self {
        Self { router: router(app.clone()), app }
    }

    async fn answer<B>(&self, request: Request<B>) -> Response
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (mut parts, body) = request.into_parts();
        match self.app.guard.admit(&parts, now()) {
            Ok(identity) => parts.extensions.insert(identity),
            Err(problem) => return told(problem, parts.uri.path()),
        };
        trim_slash(&mut parts.uri);
        let request = Request::from_parts(parts, Body::new(body));
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

impl Handler for Service {
    /// A panic in a handler costs its own request, and nothing else on the connection.
    async fn handle(&self, request: Request<Incoming>) -> Response {
        let span = traces::request(&request);
        let answered = AssertUnwindSafe(self.answer(request)).catch_unwind().instrument(span.clone()).await;
        let mut response =
            answered.unwrap_or_else(|_| Problem::internal("a handler panicked").into_response());
        traces::note_answer(&span, &response);
        harden(&mut response);
        response
    }
}

/// A browser is not to guess a type, and not to tell another site a link that may be signed.
fn harden(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

fn trim_slash(uri: &mut Uri) {
    let path = uri.path();
    let Some(trimmed) =
        path.strip_suffix('/').filter(|trimmed| SLASHED.iter().any(|prefix| trimmed.starts_with(prefix)))
    else {
        return;
    };
    let target = match uri.query() {
        Some(query) => format!("{trimmed}?{query}"),
        None => trimmed.to_owned(),
    };
    if let Ok(target) = target.parse() {
        *uri = target;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_trailing_slash_of_the_api_does_not_count() {
        let trimmed = |text: &str| {
            let mut uri = text.parse().unwrap();
            trim_slash(&mut uri);
            uri.to_string()
        };
        assert_eq!(trimmed("/api/v1/recordings/?page=2"), "/api/v1/recordings?page=2");
        assert_eq!(trimmed("/api/v1/recordings"), "/api/v1/recordings");
        assert_eq!(trimmed("/api/docs/"), "/api/docs/");
        assert_eq!(trimmed("/"), "/");
    }
}
