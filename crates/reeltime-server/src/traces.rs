//! Traces for an OpenTelemetry collector: OTLP over HTTP (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>), in
//! batches, by a thread of its own, from a queue that is bounded. A collector that is away costs spans and nothing else.
//!
//! What the SDK reads from the environment holds: `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`,
//! `OTEL_BSP_*`.

use std::collections::HashMap;
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use secrecy::ExposeSecret;
use tokio::runtime::Handle;
use tracing::{Level, Span, field, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;

use crate::logging::Follower;
use crate::settings::Collector;

/// How long one batch may take.
const SENT_IN: Duration = Duration::from_secs(10);
/// How long the last ones may take when the server ends.
const LAST_SENT_IN: Duration = Duration::from_secs(2);
/// Asked all the time by machines, and of no interest.
const UNTRACED: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// The traces on their way.
#[derive(Debug)]
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// Begins to send to `collector`, on `runtime`.
    pub(crate) fn begin(collector: &Collector, runtime: &Handle) -> anyhow::Result<Self> {
        let headers = collector
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.expose_secret().to_owned()));
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(collector, runtime)?)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(collector.url.to_string())
            .with_headers(headers.collect::<HashMap<_, _>>())
            .with_timeout(SENT_IN)
            .build()
            .context("cannot begin to send traces")?;
        let mut resource = Resource::builder();
        if env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("reeltime");
        }
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter);
        Ok(Self(provider.with_resource(resource.build()).build()))
    }

    /// What makes traces of our own spans, and of the events within them.
    pub(crate) fn follower(&self) -> Follower {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("reeltime"))
            .with_location(false)
            .with_target(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target("reeltime", Level::INFO))
            .boxed()
    }

    /// Sends what there is still. It blocks.
    pub(crate) fn finish(self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST_SENT_IN) {
            tracing::debug!(%error, "the last traces may not have arrived");
        }
    }
}

/// Posts a batch. It is said once when that fails, and once when it works again.
#[derive(Clone, Debug)]
struct Client {
    http: reqwest::Client,
    to: String,
    runtime: Handle,
    away: Arc<AtomicBool>,
}

impl Client {
    fn new(collector: &Collector, runtime: &Handle) -> anyhow::Result<Self> {
        // Nothing is wrong where somebody was faster.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(SENT_IN).build()?;
        let to = collector.url.to_string();
        Ok(Self { http, to, runtime: runtime.clone(), away: Arc::default() })
    }

    fn tell(&self, failure: Option<String>) {
        let before = self.away.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(error) if !before => {
                tracing::warn!(error, to = self.to, "traces do not arrive; they are given up until they do");
            }
            None if before => tracing::info!(to = self.to, "traces arrive again"),
            Some(_) | None => {}
        }
    }
}

async fn post(http: reqwest::Client, request: Request<Bytes>) -> reqwest::Result<http::Response<Bytes>> {
    let mut answer = http.execute(request.try_into()?).await?;
    let mut response = http::Response::new(Bytes::new());
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    *response.body_mut() = answer.bytes().await?;
    Ok(response)
}

#[async_trait]
impl HttpClient for Client {
    /// Called on the sending thread, which is none of the runtime's.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        let posted = self.runtime.spawn(post(self.http.clone(), request)).await?;
        // It is told where they go; the SDK tells the error once more.
        let posted = posted.map_err(reqwest::Error::without_url);
        self.tell(match &posted {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("the collector answered {}", answer.status())),
            Err(error) => Some(format!("{error:#}")),
        });
        Ok(posted?)
    }
}

/// The span of a request, beneath the one that its client names (W3C Trace Context).
pub(crate) fn request<B>(request: &Request<B>) -> Span {
    let path = request.uri().path();
    if UNTRACED.contains(&path) {
        return Span::none();
    }
    let span = info_span!(
        "request",
        otel.name = %request.method(),
        otel.kind = "server",
        http.request.method = %request.method(),
        url.path = path,
        http.route = field::Empty,
        http.response.status_code = field::Empty,
        otel.status_code = field::Empty,
    );
    if !span.is_disabled() {
        let parent = TraceContextPropagator::new().extract(&Headers(request.headers()));
        // Its client named none, or something that is none: it begins a trace.
        let _ = span.set_parent(parent);
    }
    span
}

/// Notes the route that a request took.
pub(crate) fn note_route<B>(request: Request<B>) -> Request<B> {
    let span = Span::current();
    if !span.is_disabled()
        && let Some(route) = request.extensions().get::<axum::extract::MatchedPath>()
    {
        span.record("http.route", route.as_str());
        // The span has begun: its name is not a field any more.
        span.context().span().update_name(format!("{} {}", request.method(), route.as_str()));
    }
    request
}

/// Notes how a request was answered.
pub(crate) fn note_answer(span: &Span, response: &Response) {
    let status = response.status();
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if status >= StatusCode::INTERNAL_SERVER_ERROR {
        span.record("otel.status_code", "ERROR");
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
