//! `reeltime bench-sink`: the least that a WebSocket server made of our libraries can do. It upgrades, reads and
//! throws away. This is the other side of what recording costs.

use std::convert::Infallible;
use std::io::Write;
use std::os::fd::AsFd;

use bytes::Bytes;
use clap::Args;
use futures_util::StreamExt;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use reeltime::source::set_receive_low_water;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// `reeltime bench-sink`.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Sink {
    /// Bytes that must wait in a socket before it is read (`SO_RCVLOWAT`)
    #[arg(long)]
    low_water: Option<i32>,
}

/// Serves until it is killed.
pub(crate) fn run(sink: Sink) -> anyhow::Result<()> {
    crate::serve::raise_open_files();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(sink))
}

async fn serve(sink: Sink) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "the sink is listening on http://{}", listener.local_addr()?)?;
    stdout.flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service =
                service_fn(move |request| async move { Ok::<_, Infallible>(answer(request, sink)) });
            // A client that goes early is no concern of a sink.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await);
        });
    }
}

/// Agrees to any WebSocket.
fn answer(mut request: Request<Incoming>, sink: Sink) -> Response<Empty<Bytes>> {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    let accept = HeaderValue::from_str(&derive_accept_key(key));
    tokio::spawn(discard(hyper::upgrade::on(&mut request), sink));
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.extend(accept.map(|accept| (header::SEC_WEBSOCKET_ACCEPT, accept)));
    response
}

/// Reads to the end. On the bare socket, as the recorder does: no layer in between makes the sink dearer.
async fn discard(upgrade: OnUpgrade, sink: Sink) {
    let Ok(upgraded) = upgrade.await else { return };
    let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else { return };
    let stream = parts.io.into_inner();
    if let Some(bytes) = sink.low_water
        && let Err(error) = set_receive_low_water(stream.as_fd(), bytes)
    {
        eprintln!("no SO_RCVLOWAT: {error}");
    }
    let config = WebSocketConfig::default().read_buffer_size(4_096).write_buffer_size(0);
    let early = parts.read_buf.to_vec();
    let mut socket = WebSocketStream::from_partially_read(stream, early, Role::Server, Some(config)).await;
    while let Some(Ok(_)) = socket.next().await {}
}
