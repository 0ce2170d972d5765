//! `/api/v1/sign-in`: a key, given once, for the page's cookie.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::now;
use crate::problem::{Details, Problem};
use crate::security::sign_out;

type SetCookie = (StatusCode, [(HeaderName, HeaderValue); 1]);

/// How this server is entered.
#[derive(Serialize, ToSchema)]
pub(crate) struct SignIn {
    /// Whether it asks for a key
    key_needed: bool,
}

/// Whether a key is needed here; who needs one and has none is told so with 401
#[utoipa::path(get, path = "/api/v1/sign-in", tag = "operation", responses(
    (status = 200, description = "You are in", body = SignIn),
    (status = 401, description = "A key is needed", body = Details, content_type = "application/problem+json")))]
pub(crate) async fn look(State(app): State<Arc<App>>) -> Json<SignIn> {
    Json(SignIn { key_needed: app.guard.asks_for_keys() })
}

/// Exchange a key for a cookie
///
/// For pages: browsers can send no key along with audio, events and WebSockets. The cookie is good for 12 hours, or until its
/// key is removed from the server; with it, another is given without the key.
#[utoipa::path(post, path = "/api/v1/sign-in", tag = "operation", responses(
    (status = 204, description = "With the cookie; without one where no key is needed"),
    (status = 401, description = "The key is none of this server's", body = Details, content_type = "application/problem+json"),
    (status = 403, description = "A cookie came from another origin", body = Details, content_type = "application/problem+json")))]
pub(crate) async fn enter(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<SetCookie, Problem> {
    let cookie =
        if app.guard.asks_for_keys() { app.guard.sign_in(&headers, now())? } else { sign_out(&headers)? };
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]))
}

/// Take the cookie away
#[utoipa::path(delete, path = "/api/v1/sign-in", tag = "operation", responses(
    (status = 204, description = "The browser has none any more")))]
pub(crate) async fn leave(headers: HeaderMap) -> Result<SetCookie, Problem> {
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, sign_out(&headers)?)]))
}
