//! `/ws/transcribe`: the transcribe dialect (see [`reeltime_core::wire::transcribe`]).

use reeltime_core::log::{Counting, Purpose};
use reeltime_core::wire::transcribe::{FORMAT, SessionMessage, SilenceWatch};
use tokio_tungstenite::tungstenite::Message;

use super::connection::{Connection, Dialect};
use super::pcm::{form_pairs, reason};
use super::socket::{Handshake, Socket, leave, send};
use crate::recorder::{Recorder, SessionRequest};

/// Serves one connection to its end. `gain` is the recorded copy's; the log holds what was sent.
pub async fn serve(mut ws: Socket, recorder: Recorder, handshake: Handshake, gain: f32) {
    let named = |wanted: &str| form_pairs(&handshake.query).into_iter().find(|(name, _)| name == wanted);
    let request = SessionRequest {
        tenant: handshake.tenant.clone(),
        call: named("call").map(|(_, call)| call),
        participant: named("participant").map(|(_, participant)| participant),
        format: FORMAT,
        counting: Counting::Arrival,
        purpose: Purpose::Transcribe { gain },
        speaks_v1: false,
    };
    let (ingest, info) = match recorder.open_session(request).await {
        Ok(opened) => opened,
        Err(error) => {
            let (code, _, message) = reason(&error);
            return leave(&mut ws, code, &message).await;
        }
    };
    let message = SessionMessage { session_id: info.session.to_string() };
    let text = serde_json::to_string(&message).unwrap_or_default();
    if !send(&mut ws, Message::text(text)).await {
        return ingest.lost(None).await;
    }
    Connection::begin(ws, recorder, ingest, Dialect::Transcribe(SilenceWatch::default())).serve(None).await;
}
