//! The HTTP API: a module a noun. The routes and their OpenAPI document are made from the same annotations.

mod audio;
pub(crate) mod docs;
mod events;
mod extract;
pub(crate) mod health;
mod media;
pub(crate) mod metrics;
mod peaks;
pub(crate) mod recordings;
pub(crate) mod segments;
mod sign_in;
mod store;
pub(crate) mod view;

pub(crate) use audio::selection;

use std::sync::Arc;

use axum::Router;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

/// The routes, and the document that describes them.
pub(crate) fn routes() -> (Router<Arc<App>>, Document) {
    OpenApiRouter::with_openapi(docs::Api::openapi())
        .routes(routes!(recordings::list))
        .routes(routes!(recordings::get, recordings::delete))
        .routes(routes!(recordings::manifest))
        .routes(routes!(recordings::pause))
        .routes(routes!(recordings::resume))
        .routes(routes!(recordings::stop))
        .routes(routes!(audio::stream))
        .routes(routes!(audio::url))
        .routes(routes!(peaks::peaks))
        .routes(routes!(events::events))
        .routes(routes!(store::status))
        .routes(routes!(sign_in::look, sign_in::enter, sign_in::leave))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(metrics::scrape))
        .merge(segments::routes())
        .split_for_parts()
}
