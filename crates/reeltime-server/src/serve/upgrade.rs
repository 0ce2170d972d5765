//! The opening handshake of WebSockets (RFC 6455 §4.2), done here so that a source gets the bare TCP socket: it
//! tunes it, and no layer in between buffers.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::{SinkExt, StreamExt};
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use reeltime::recorder::{Recorder, Refusal};
use reeltime::source::{Handshake, Socket, pcm, transcribe};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tracing::Instrument;
use uuid::Uuid;

use super::accept::Place;
use crate::app::App;
use crate::problem::{Problem, capitalised};
use crate::security::Identity;

/// The one subprotocol we speak.
const SUBPROTOCOL: &str = "reeltime.v1";

/// What a client's handshake asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    /// The value of `Sec-WebSocket-Accept`.
    accept: String,
    /// Whether it offered [`SUBPROTOCOL`].
    subprotocol: bool,
}

impl Asked {
    /// Checks what RFC 6455 §4.2.1 asks of a client.
    fn read(request: &Parts) -> Result<Self, Problem> {
        let headers = &request.headers;
        if !has_token(headers, header::UPGRADE, "websocket")
            || !has_token(headers, header::CONNECTION, "upgrade")
        {
            let detail = "This is a WebSocket: connect with a WebSocket client";
            return Err(Problem::new(StatusCode::UPGRADE_REQUIRED, detail)
                .with(header::UPGRADE, "websocket")
                .with(header::CONNECTION, "Upgrade"));
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes) != Some(b"13") {
            let detail = "Only version 13 of the WebSocket protocol is spoken";
            return Err(
                Problem::new(StatusCode::UPGRADE_REQUIRED, detail).with(header::SEC_WEBSOCKET_VERSION, "13")
            );
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
        if request.version != Version::HTTP_11 || BASE64_STANDARD.decode(key).map_or(0, |key| key.len()) != 16
        {
            let detail = "Sec-WebSocket-Key must be 16 bytes in base64, in a request of HTTP/1.1";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        let subprotocol = has_token(headers, header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
        Ok(Self { accept: derive_accept_key(key), subprotocol })
    }

    /// The 101 that completes the handshake.
    fn agree(&self) -> Response {
        let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        if let Ok(accept) = HeaderValue::from_str(&self.accept) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        if self.subprotocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        }
        response
    }
}

/// Whether a list header (RFC 9110 §5.6.1) holds `token`, in any case.
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name);
    let mut tokens = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    tokens.any(|one| one.trim().eq_ignore_ascii_case(token))
}

/// Waits for the 101 to be sent, then takes the socket back from the HTTP machinery.
async fn socket(upgrade: OnUpgrade, config: WebSocketConfig) -> anyhow::Result<Socket> {
    let upgraded = upgrade.await?;
    let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
        anyhow::bail!("not a TCP socket of ours")
    };
    let stream = parts.io.into_inner();
    let sent_early = parts.read_buf.to_vec();
    Ok(WebSocketStream::from_partially_read(stream, sent_early, Role::Server, Some(config)).await)
}

/// `/v1/ingest/pcm`: audio in our own protocol.
pub(crate) async fn pcm(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Identity>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    begin(&app, identity, request, pcm::serve)
}

/// `/ws/transcribe`: audio beside a speech-to-text.
pub(crate) async fn transcribe(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Identity>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let copy = app.transcribe.copy;
    if !app.transcribe.record {
        return begin(&app, identity, request, |socket, _, _| unrecorded(socket));
    }
    begin(&app, identity, request, move |socket, recorder, handshake| {
        transcribe::serve(socket, recorder, handshake, copy)
    })
}

/// The transcribe socket with recording switched off: its clients notice nothing, and nothing is kept.
async fn unrecorded(mut socket: Socket) {
    let hello = json!({ "type": "session", "session_id": Uuid::now_v7() });
    if let Err(error) = socket.send(Message::text(hello.to_string())).await {
        tracing::debug!(%error, "a client left before its session began");
        return;
    }
    // Reading answers pings and closes by itself.
    while let Some(Ok(_)) = socket.next().await {}
}

/// Answers the handshake, and gives the socket to `source` once the answer is sent.
fn begin<F>(
    app: &App,
    identity: Identity,
    mut request: Request<Body>,
    source: impl FnOnce(Socket, Recorder, Handshake) -> F + Send + 'static,
) -> Result<Response, Problem>
where
    F: Future<Output = ()> + Send + 'static,
{
    let upgrade = hyper::upgrade::on(&mut request);
    let (parts, _) = request.into_parts();
    let asked = Asked::read(&parts)?;
    app.recorder.admit().map_err(refused)?;
    let query = parts.uri.query().unwrap_or("").to_owned();
    let handshake = Handshake { tenant: identity.tenant, query, subprotocol: asked.subprotocol };
    let (recorder, config) = (app.recorder.clone(), app.websocket);
    let place = parts.extensions.get::<Place>().cloned();
    let conversation = async move {
        match socket(upgrade, config).await {
            Ok(socket) => source(socket, recorder, handshake).await,
            Err(error) => tracing::debug!(%error, "a client left during its handshake"),
        }
        drop(place);
    };
    tokio::spawn(conversation.in_current_span());
    Ok(asked.agree())
}

/// Why no session is taken now.
fn refused(refusal: Refusal) -> Problem {
    let detail = capitalised(&refusal.to_string());
    match refusal {
        Refusal::NoRoom(_) => {
            Problem::new(StatusCode::INSUFFICIENT_STORAGE, detail).with(header::RETRY_AFTER, "10")
        }
        Refusal::Draining | _ => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).with(header::RETRY_AFTER, "5")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[(&str, &str)] = &[
        ("upgrade", "WebSocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn read(headers: &[(&str, &str)]) -> Result<Asked, StatusCode> {
        let mut request = Request::get("/v1/ingest/pcm");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let Ok(request) = request.body(()) else { panic!("{headers:?} are no headers") };
        let parts = request.into_parts().0;
        Asked::read(&parts).map_err(|problem| problem.into_response().status())
    }

    fn read_with(name: &'static str, value: &'static str) -> Result<Asked, StatusCode> {
        let others = GOOD.iter().copied().filter(|(other, _)| *other != name);
        read(&others.chain([(name, value)]).collect::<Vec<_>>())
    }

    #[test]
    fn the_example_of_the_rfc_is_answered_as_it_says() {
        let asked = read(GOOD).unwrap();
        assert_eq!(asked, Asked { accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into(), subprotocol: false });
        let response = asked.agree();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert!(!response.headers().contains_key("sec-websocket-protocol"));
        assert!(!response.headers().contains_key("sec-websocket-extensions"), "no compression is agreed to");
    }

    #[test]
    fn our_subprotocol_is_picked_where_it_is_offered() {
        let asked = read_with("sec-websocket-protocol", "chat, reeltime.v1").unwrap();
        assert_eq!(asked.agree().headers()["sec-websocket-protocol"], "reeltime.v1");
        assert!(!read_with("sec-websocket-protocol", "reeltime.v10").unwrap().subprotocol);
    }

    #[test]
    fn what_is_no_handshake_is_refused() {
        assert_eq!(read(&[]), Err(StatusCode::UPGRADE_REQUIRED), "a plain GET");
        for (name, value, status) in [
            ("upgrade", "h2c", StatusCode::UPGRADE_REQUIRED),
            ("connection", "close", StatusCode::UPGRADE_REQUIRED),
            ("sec-websocket-version", "8", StatusCode::UPGRADE_REQUIRED),
            ("sec-websocket-key", "", StatusCode::BAD_REQUEST),
            ("sec-websocket-key", "c2hvcnQ=", StatusCode::BAD_REQUEST),
            ("sec-websocket-key", "no base64 at all", StatusCode::BAD_REQUEST),
        ] {
            assert_eq!(read_with(name, value), Err(status), "{name}: {value}");
        }
    }
}
