//! `/ws/transcribe`: the transcribe dialect (see [`reeltime_core::wire::transcribe`]).

use reeltime_codec::Error as CodecError;
use reeltime_core::log::{Counting, Purpose};
use reeltime_core::media::Container;
use reeltime_core::wire::transcribe::{FORMAT, SessionMessage, SilenceWatch};
use tokio_tungstenite::tungstenite::Message;

use super::connection::{Connection, Dialect};
use super::pcm::{form_pairs, reason};
use super::socket::{Handshake, Socket, leave, send};
use crate::encode::check;
use crate::recorder::{Recorder, SessionRequest};

/// What the recorded copy is to be; the log holds what was sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecordedCopy {
    /// Linear gain, 1.0 to 4.0.
    pub gain: f32,
    /// The file's format.
    pub format: Container,
    /// Bits per second, for formats that lose something; the nearest that is possible is taken.
    pub bitrate: Option<u32>,
}

impl RecordedCopy {
    /// Whether it can be made here. Where that changes later, what was recorded is kept as WAV.
    ///
    /// # Errors
    /// With what is missing, and what to do.
    pub fn check(self) -> Result<(), CodecError> {
        check(self.format, FORMAT, self.bitrate)
    }
}

/// Serves one connection to its end.
pub async fn serve(mut ws: Socket, recorder: Recorder, handshake: Handshake, copy: RecordedCopy) {
    let RecordedCopy { gain, format, bitrate } = copy;
    let named = |wanted: &str| form_pairs(&handshake.query).into_iter().find(|(name, _)| name == wanted);
    let request = SessionRequest {
        tenant: handshake.tenant.clone(),
        call: named("call").map(|(_, call)| call),
        participant: named("participant").map(|(_, participant)| participant),
        format: FORMAT,
        counting: Counting::Arrival,
        purpose: Purpose::Transcribe { gain, format, bitrate },
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
