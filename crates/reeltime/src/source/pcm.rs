//! `/v1/ingest/pcm`: our own dialect, `reeltime.v1` (see [`reeltime_core::wire::v1`]).

use std::time::Duration;

use reeltime_core::log::Purpose;
use reeltime_core::wire::v1::{Ack, ClientMessage, ServerMessage, Start, StartError, close};

use super::connection::{Connection, Dialect};
use super::socket::{Handshake, Heard, Socket, hear, refuse, say};
use crate::recorder::{Ingest, OpenError, Recorder, SessionInfo, SessionRequest};

/// How long a client that gave no parameters may take to send them, before it gets a session by default.
const START_GRACE: Duration = Duration::from_millis(250);

/// Serves one connection to its end.
pub async fn serve(mut ws: Socket, recorder: Recorder, handshake: Handshake) {
    let mut asked = ask(&mut ws, &handshake).await;
    loop {
        let opened = match asked {
            Ok(asked) => open(&mut ws, &recorder, &handshake, asked).await,
            Err(refused) => Err(refused),
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(Some((code, name, message))) => return refuse(&mut ws, code, name, &message).await,
            Err(None) => return,
        };
        let dialect = Dialect::V1 { ack: opened.ack };
        let served =
            Connection::begin(ws, recorder.clone(), opened.ingest, dialect).serve(opened.first).await;
        let Some((socket, start)) = served else { return };
        ws = socket;
        asked = start.map(|start| Asked { start, speaks_v1: true, first: None }).map_err(refusal);
    }
}

/// What the client wants.
struct Asked {
    start: Start,
    speaks_v1: bool,
    /// What it sent meanwhile.
    first: Option<Heard>,
}

struct Opened {
    ingest: Ingest,
    ack: Ack,
    first: Option<Heard>,
}

/// Why not, as a close code, a name and a sentence; `None`: the client is gone.
type Refused = Option<(u16, &'static str, String)>;

fn refusal(error: StartError) -> Refused {
    Some((error.close(), error.code(), error.to_string()))
}

/// Finds out what the client wants: from its query, or else from a first message.
async fn ask(ws: &mut Socket, handshake: &Handshake) -> Result<Asked, Refused> {
    let pairs = form_pairs(&handshake.query);
    let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let start = Start::parse(pairs).map_err(refusal)?;
    let speaks_v1 = handshake.subprotocol;
    if start.given {
        return Ok(Asked { start, speaks_v1, first: None });
    }
    let Ok(heard) = tokio::time::timeout(START_GRACE, hear(ws)).await else {
        return Ok(Asked { start, speaks_v1, first: None });
    };
    match message_of(&heard) {
        Some(ClientMessage::Start(start)) => {
            Ok(Asked { start: start.map_err(refusal)?, speaks_v1: true, first: None })
        }
        _ if matches!(heard, Heard::Gone(_)) => Err(None),
        _ => Ok(Asked { start, speaks_v1, first: Some(heard) }),
    }
}

/// Opens or resumes the session, and tells the client.
async fn open(
    ws: &mut Socket,
    recorder: &Recorder,
    handshake: &Handshake,
    asked: Asked,
) -> Result<Opened, Refused> {
    let Asked { start, speaks_v1, first } = asked;
    if start.ack == Ack::Store
        && let Err(why) = recorder.ships()
    {
        return Err(Some((close::POLICY, "unsupported_ack", why.to_string())));
    }
    let ack = start.ack;
    let (ingest, info) =
        begin(recorder, handshake, start, speaks_v1).await.map_err(|error| Some(reason(&error)))?;
    if !say(ws, &session_message(&info)).await {
        ingest.lost(None).await;
        return Err(None);
    }
    Ok(Opened { ingest, ack, first })
}

fn message_of(heard: &Heard) -> Option<ClientMessage> {
    match heard {
        Heard::Text(text) => Some(ClientMessage::parse(text)),
        Heard::Audio(_) | Heard::Life | Heard::Gone(_) | Heard::Broken(..) => None,
    }
}

async fn begin(
    recorder: &Recorder,
    handshake: &Handshake,
    start: Start,
    speaks_v1: bool,
) -> Result<(Ingest, SessionInfo), OpenError> {
    if let Some(token) = &start.resume_token {
        return recorder.resume_session(&handshake.tenant, &token.0).await;
    }
    let request = SessionRequest {
        tenant: handshake.tenant.clone(),
        call: start.call,
        participant: start.participant,
        format: start.format,
        counting: start.counting,
        purpose: Purpose::Plain,
        speaks_v1: speaks_v1 || start.ack != Ack::None,
    };
    recorder.open_session(request).await
}

pub(super) fn reason(error: &OpenError) -> (u16, &'static str, String) {
    let (code, name) = match error {
        OpenError::Refused(_) | OpenError::Stalled => (close::TRY_LATER, "try_later"),
        OpenError::UnknownToken => (close::POLICY, "unknown_token"),
        OpenError::NameTooLong => (close::POLICY, "name_too_long"),
        OpenError::TakenOver => (close::TAKEN_OVER, "taken_over"),
    };
    (code, name, error.to_string())
}

fn session_message(info: &SessionInfo) -> ServerMessage {
    ServerMessage::Session {
        session_id: info.session.to_string(),
        recording_id: info.recording.to_string(),
        track_id: info.track.to_string(),
        resume_token: info.resume_token.clone(),
        resume_at: info.resume_at,
    }
}

/// A query's names and values (`application/x-www-form-urlencoded`).
pub(super) fn form_pairs(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%').then(|| bytes.get(at + 1..at + 3)).flatten().and_then(hex);
        decoded.push(escaped.unwrap_or(if byte == b'+' { b' ' } else { byte }));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hex(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
