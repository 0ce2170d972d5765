//! The OpenAPI document and the page that shows it, both served from the binary: nothing is fetched from elsewhere.

use std::sync::Arc;

use axum::Router;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::app::App;

/// What is said of the API as a whole.
#[derive(OpenApi)]
#[openapi(
    info(title = "Reeltime", description = "Records live conversations, every speaker, losing nothing."),
    modifiers(&Bearer),
    security((), ("bearer" = [])),
    tags(
        (name = "recordings", description = "What was recorded, and what is being recorded"),
        (name = "segments", description = "Recordings that come in as segments, each at its time"),
        (name = "operation", description = "Probes and figures"),
    )
)]
pub(crate) struct Api;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        document.components.get_or_insert_default().add_security_scheme("bearer", scheme);
    }
}

/// `/api/openapi.json` and `/api/docs`.
pub(crate) fn pages(document: Document) -> Router<Arc<App>> {
    // The validator is a service elsewhere.
    let config = Config::default().validator_url("none").try_it_out_enabled(true);
    Router::from(SwaggerUi::new("/api/docs").url("/api/openapi.json", document).config(config))
}
