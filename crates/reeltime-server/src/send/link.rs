//! One connection to `/v1/ingest/pcm`: opened, or refused with what follows from that.

use std::time::Duration;

use anyhow::anyhow;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, StatusCode, header};
use reeltime_core::wire::v1::{SUBPROTOCOL, ServerMessage, Token, close};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::client::http::{Client, bearer, explain};
use crate::client::printable;
use crate::client::tls::Stream;

/// How long the server may take to shake hands and to name the session. Resuming waits for a sync.
const PATIENCE: Duration = Duration::from_secs(15);

/// A socket of which the session is known.
pub(super) struct Link {
    pub(super) socket: WebSocketStream<Stream>,
    pub(super) session: Session,
}

/// What the server said first.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) session: String,
    pub(super) recording: String,
    pub(super) track: String,
    pub(super) token: Token,
    /// Samples per channel from the session's first.
    pub(super) resume_at: u64,
}

/// Why there is no connection (any more).
#[derive(Debug)]
pub(super) enum Refusal {
    /// It may be there again later.
    Away(anyhow::Error),
    /// The token opens nothing any more.
    UnknownToken,
    /// It will be the same next time.
    Never(anyhow::Error),
}

impl Refusal {
    pub(super) fn into_error(self) -> anyhow::Error {
        match self {
            Self::Away(error) | Self::Never(error) => error,
            Self::UnknownToken => anyhow!("the server does not know the session any more"),
        }
    }
}

/// Connects, with the parameters in `query`.
pub(super) async fn open(client: &Client, query: &[(&str, &str)]) -> Result<Link, Refusal> {
    let stream = client.connect().await.map_err(Refusal::Away)?;
    let opening = async {
        let mut socket = shake_hands(client, stream, query).await?;
        let session = first(&mut socket).await?;
        Ok(Link { socket, session })
    };
    match timeout(PATIENCE, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(Refusal::Away(anyhow!("the server did not answer within {} s", PATIENCE.as_secs()))),
    }
}

async fn shake_hands(
    client: &Client,
    stream: Stream,
    query: &[(&str, &str)],
) -> Result<WebSocketStream<Stream>, Refusal> {
    let never = |error: anyhow::Error| Refusal::Never(error);
    let url = client.target.ingest(query.iter().copied());
    let mut request = url.into_client_request().map_err(|error| never(error.into()))?;
    let headers = request.headers_mut();
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    if let Some(key) = &client.key {
        headers.insert(header::AUTHORIZATION, bearer(key).map_err(|error| never(error.into()))?);
    }
    match client_async(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(error) => Err(unshaken(client, error)),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else it is, the server may do better next time")]
fn unshaken(client: &Client, error: WsError) -> Refusal {
    match error {
        WsError::Http(answer) => {
            let status = answer.status();
            let error = explain(&client.target, status, answer.body().as_deref().unwrap_or_default());
            let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
            if passing || status.is_server_error() { Refusal::Away(error) } else { Refusal::Never(error) }
        }
        error => Refusal::Away(anyhow!(error).context("the handshake failed")),
    }
}

/// Reads the message that names the session, or the reason why there is none.
async fn first(socket: &mut WebSocketStream<Stream>) -> Result<Session, Refusal> {
    let mut reason = None;
    while let Some(message) = socket.next().await {
        match message.map_err(|error| Refusal::Away(error.into()))? {
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(ServerMessage::Session {
                    session_id,
                    recording_id,
                    track_id,
                    resume_token,
                    resume_at,
                }) => {
                    return Ok(Session {
                        session: session_id,
                        recording: recording_id,
                        track: track_id,
                        token: resume_token,
                        resume_at,
                    });
                }
                Ok(ServerMessage::Error { code, message }) => reason = Some((code, message)),
                Ok(_) | Err(_) => {}
            },
            Message::Close(frame) => return Err(closed(frame, reason)),
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
    Err(Refusal::Away(anyhow!("the server hung up")))
}

/// What a close means, with the error that came before it.
pub(super) fn closed(frame: Option<CloseFrame>, error: Option<(String, String)>) -> Refusal {
    let (name, said) = error.unwrap_or_default();
    if name == "unknown_token" {
        return Refusal::UnknownToken;
    }
    let (code, reason) = frame
        .map_or((1_006, String::new()), |frame| (u16::from(frame.code), frame.reason.as_str().to_owned()));
    let words = if said.is_empty() { reason } else { said };
    let error = match words.as_str() {
        "" => anyhow!("the server closed the connection ({code})"),
        words => anyhow!("the server says: {} ({code})", printable(words, 300)),
    };
    match code {
        close::AWAY | 1_006 | close::INTERNAL | close::RESTART | close::TRY_LATER => Refusal::Away(error),
        _ => Refusal::Never(error),
    }
}

/// Closes a connection over which nothing was sent, so that its session does not wait for it.
pub(super) async fn leave(mut link: Link) {
    let _ = timeout(Duration::from_secs(1), link.socket.close(None)).await;
}

/// Sends one message, unless the server takes nothing for long.
pub(super) async fn send<S>(socket: &mut S, message: Message, patience: Duration) -> Result<(), anyhow::Error>
where
    S: SinkExt<Message, Error = WsError> + Unpin,
{
    match timeout(patience, socket.send(message)).await {
        Ok(sent) => Ok(sent?),
        Err(_) => Err(anyhow!("the server takes nothing for {} s", patience.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

    fn frame(code: u16, reason: &'static str) -> Option<CloseFrame> {
        Some(CloseFrame { code: CloseCode::from(code), reason: reason.into() })
    }

    #[test]
    fn a_restart_a_full_server_and_a_cut_are_waited_for() {
        for code in [1_001, 1_011, 1_012, 1_013] {
            assert!(matches!(closed(frame(code, ""), None), Refusal::Away(_)), "{code}");
        }
        assert!(matches!(closed(None, None), Refusal::Away(_)));
    }

    #[test]
    fn what_stays_wrong_is_said_in_the_servers_words() {
        for code in [1_000, 1_003, 1_007, 1_008, 1_009, 4_409] {
            let refusal = closed(frame(code, "because"), None);
            assert!(matches!(refusal, Refusal::Never(_)), "{code}");
            assert_eq!(refusal.into_error().to_string(), format!("the server says: because ({code})"));
        }
        let error = Some(("unsupported_rate".to_owned(), "rate 7 \x1b".to_owned()));
        let refusal = closed(frame(1_003, "cut"), error).into_error().to_string();
        assert_eq!(refusal, "the server says: rate 7 \u{fffd} (1003)");
    }

    #[test]
    fn a_token_that_is_not_known_is_a_case_of_its_own() {
        let error = Some(("unknown_token".to_owned(), "no such session".to_owned()));
        assert!(matches!(closed(frame(1_008, ""), error), Refusal::UnknownToken));
    }
}
