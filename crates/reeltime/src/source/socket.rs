//! What all WebSocket sources share: sending, closing, and the loop that carries messages to a session.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use reeltime_core::wire::v1::{ServerMessage, close};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

/// A connection whose handshake is done.
pub type Socket = WebSocketStream<TcpStream>;

/// What the handshake said. Not `Debug`: its query may hold a session's secret.
#[derive(Clone, Default)]
pub struct Handshake {
    /// Whose recording it will be.
    pub tenant: String,
    /// The request's query, as it came.
    pub query: String,
    /// The client offered the subprotocol `reeltime.v1`.
    pub subprotocol: bool,
}

/// How long the other side may take for its half of a close, or to take what we send.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes that are read and thrown away after a close, for a client that is still sending.
const MOST_UNREAD: usize = 64 << 20;
/// How long that may take.
const UNREAD_FOR: Duration = Duration::from_secs(5);
/// Messages taken in a row before the rest of the process gets its turn.
pub(super) const ROW: usize = 32;

/// Something from the client.
pub(super) enum Heard {
    Audio(Bytes),
    Text(String),
    /// A ping or pong.
    Life,
    /// The connection is over, with its close code where it had one.
    Gone(Option<u16>),
    /// It cannot go on; why, as a close code and a reason.
    Broken(u16, &'static str, String),
}

/// The next thing from the client.
pub(super) async fn hear(ws: &mut Socket) -> Heard {
    poll_fn(|cx| poll_hear(ws, cx)).await
}

/// The next thing from the client, if it is here.
pub(super) fn poll_hear(ws: &mut Socket, cx: &mut Context<'_>) -> Poll<Heard> {
    ws.poll_next_unpin(cx).map(|next| match next {
        Some(Ok(message)) => understand(message),
        Some(Err(error)) => broken(&error),
        None => Heard::Gone(None),
    })
}

fn understand(message: Message) -> Heard {
    match message {
        Message::Binary(audio) => Heard::Audio(audio),
        Message::Text(text) => Heard::Text(text.as_str().to_owned()),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Heard::Life,
        Message::Close(frame) => Heard::Gone(frame.map(|frame| frame.code.into())),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else it is, the connection is over")]
fn broken(error: &WsError) -> Heard {
    match error {
        WsError::Capacity(error) => Heard::Broken(close::TOO_BIG, "message_too_big", error.to_string()),
        WsError::Utf8(_) => {
            Heard::Broken(close::INVALID, "invalid_text", "a text message is not UTF-8".to_owned())
        }
        WsError::Protocol(error) if !error.to_string().contains("without closing handshake") => {
            Heard::Broken(1002, "protocol_error", error.to_string())
        }
        _ => Heard::Gone(None),
    }
}

/// Sends one of our messages; false where the client takes nothing any more.
pub(super) async fn say(ws: &mut Socket, message: &ServerMessage) -> bool {
    send(ws, Message::text(message.to_text())).await
}

pub(super) async fn send(ws: &mut Socket, message: Message) -> bool {
    matches!(tokio::time::timeout(PATIENCE, ws.send(message)).await, Ok(Ok(())))
}

/// Says what is wrong, then closes.
pub(super) async fn refuse(ws: &mut Socket, code: u16, name: &str, message: &str) {
    let error = ServerMessage::Error { code: name.to_owned(), message: message.to_owned() };
    if say(ws, &error).await {
        leave(ws, code, message).await;
    }
}

/// Closes with a code and a reason, and reads on a moment until the client has closed its half: a socket dropped
/// with unread bytes is reset, and takes the reason with it.
pub(super) async fn leave(ws: &mut Socket, code: u16, reason: &str) {
    // A close frame's payload is at most 125 bytes (RFC 6455 §5.5), two of them the code.
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let frame = CloseFrame { code: CloseCode::from(code), reason: reason[..end].into() };
    let closing = async {
        // After the client's own close this sends our half, which was queued when theirs was read.
        let _ = ws.close(Some(frame)).await;
        let _ = ws.flush().await;
        while let Some(Ok(_)) = ws.next().await {}
        let _ = ws.get_mut().shutdown().await;
    };
    let _ = tokio::time::timeout(PATIENCE, closing).await;
    let _ = tokio::time::timeout(UNREAD_FOR, discard(ws.get_mut())).await;
}

/// Reads what a client still sends, and throws it away.
async fn discard(socket: &mut TcpStream) {
    let mut unread = vec![0; 16 << 10];
    let mut left = MOST_UNREAD;
    while left > 0
        && let Ok(read @ 1..) = socket.read(&mut unread).await
    {
        left = left.saturating_sub(read);
    }
}
