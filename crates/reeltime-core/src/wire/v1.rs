//! The dialect `reeltime.v1` of `/v1/ingest/pcm`: parameters, text messages, close codes.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::log::Counting;
use crate::media::{Codec, Format, InvalidFormat, UnknownCodec, opus};

/// The WebSocket subprotocol's name.
pub const SUBPROTOCOL: &str = "reeltime.v1";
/// The longest name (call, participant, token, mark, reason) taken from a client, in bytes.
pub const MAX_NAME: usize = 1024;
/// The longest text message, in bytes.
pub const MAX_TEXT: usize = 16 * 1024;

/// How strong an acknowledgement the client asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ack {
    /// None.
    #[default]
    None,
    /// Once it is synced to the disk.
    Disk,
    /// Once it is in the store.
    Store,
}

/// The secret that resumes a session. It shows itself to its client alone, never in a log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What a client asks for when it connects: from the query, or from a first `start` message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Codec, rate, channels.
    pub format: Format,
    /// The call's name, where it gave one.
    pub call: Option<String>,
    /// The participant's name, where it gave one.
    pub participant: Option<String>,
    /// Acknowledgements.
    pub ack: Ack,
    /// The secret of a session that goes on.
    pub resume_token: Option<Token>,
    /// How its audio is placed.
    pub counting: Counting,
    /// Whether any of the names above was given.
    pub given: bool,
}

/// Parameters that cannot be met.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No such codec.
    #[error("{0}")]
    Codec(#[from] UnknownCodec),
    /// A rate or number of channels that does not fit.
    #[error("{0}")]
    Format(#[from] InvalidFormat),
    /// Not a number, or not one of the words.
    #[error("`{name}` is not valid: {expected}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// What it takes.
        expected: &'static str,
    },
}

impl StartError {
    /// A short name for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Codec(_) => "unsupported_codec",
            Self::Format(InvalidFormat::Rate { .. }) => "unsupported_rate",
            Self::Format(InvalidFormat::Channels { .. }) => "unsupported_channels",
            Self::Value { .. } => "invalid_parameter",
        }
    }

    /// The close code that fits: 1003 for data we cannot take, 1008 for a bad parameter.
    pub const fn close(&self) -> u16 {
        match self {
            Self::Codec(_) | Self::Format(_) => close::UNSUPPORTED,
            Self::Value { .. } => close::POLICY,
        }
    }
}

/// WebSocket close codes in use (RFC 6455 §7.4.1, and our own in the private range).
pub mod close {
    /// The session is complete.
    pub const NORMAL: u16 = 1000;
    /// The other side goes away.
    pub const AWAY: u16 = 1001;
    /// Data that we do not take.
    pub const UNSUPPORTED: u16 = 1003;
    /// Text that is not what it says.
    pub const INVALID: u16 = 1007;
    /// A token or parameter that is refused.
    pub const POLICY: u16 = 1008;
    /// A message that is too big.
    pub const TOO_BIG: u16 = 1009;
    /// Our fault.
    pub const INTERNAL: u16 = 1011;
    /// We restart: come back, with the token.
    pub const RESTART: u16 = 1012;
    /// No room now: come back later.
    pub const TRY_LATER: u16 = 1013;
    /// A newer connection has taken over this session.
    pub const TAKEN_OVER: u16 = 4409;
}

impl Start {
    /// Reads the parameters by name. Unknown names are ignored; a name given twice counts as last given.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, StartError> {
        let names: BTreeMap<&str, &str> =
            pairs.into_iter().filter(|(name, _)| NAMES.contains(name)).collect();
        let codec = names.get("codec").map_or(Ok(Codec::S16le), |name| Codec::from_str(name))?;
        let rate = number(&names, "rate", default_rate(codec))?;
        // Opus counts at 48,000 whatever rate its encoder was given.
        let rate = if codec == Codec::Opus && opus_rate(rate) { opus::RATE } else { rate };
        let channels = number(&names, "channels", 1)?;
        let channels = u8::try_from(channels).unwrap_or(u8::MAX);
        Ok(Self {
            format: Format::new(codec, rate, channels)?,
            call: name(&names, "call")?,
            participant: name(&names, "participant")?,
            ack: ack(&names)?,
            resume_token: name(&names, "resume_token")?.map(Token),
            counting: counting(&names)?,
            given: !names.is_empty(),
        })
    }

    /// Reads the fields of a `start` message: strings and numbers alike.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn from_fields(fields: &serde_json::Map<String, serde_json::Value>) -> Result<Self, StartError> {
        let texts: Vec<(&str, String)> = fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| {
                (name.as_str(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            })
            .collect();
        Self::parse(texts.iter().map(|(name, value)| (*name, value.as_str())))
    }
}

const NAMES: [&str; 8] = ["codec", "rate", "channels", "call", "participant", "ack", "resume_token", "clock"];

/// G.711 is an 8 kHz codec (ITU-T G.711); linear PCM is expected at 16 kHz.
const fn default_rate(codec: Codec) -> u32 {
    match codec {
        Codec::S16le => 16_000,
        Codec::Mulaw | Codec::Alaw => 8_000,
        Codec::Opus => opus::RATE,
    }
}

/// The rates that an Opus encoder can be told (RFC 6716 §2).
const fn opus_rate(rate: u32) -> bool {
    matches!(rate, 8_000 | 12_000 | 16_000 | 24_000 | 48_000)
}

fn number(names: &BTreeMap<&str, &str>, name: &'static str, default: u32) -> Result<u32, StartError> {
    let Some(text) = names.get(name) else { return Ok(default) };
    text.parse().map_err(|_| StartError::Value { name, expected: "a whole number" })
}

fn name(names: &BTreeMap<&str, &str>, name: &'static str) -> Result<Option<String>, StartError> {
    match names.get(name) {
        None | Some(&"") => Ok(None),
        Some(text) if text.len() > MAX_NAME => {
            Err(StartError::Value { name, expected: "at most 1024 bytes of text" })
        }
        Some(text) => Ok(Some((*text).to_owned())),
    }
}

fn ack(names: &BTreeMap<&str, &str>) -> Result<Ack, StartError> {
    match names.get("ack").copied() {
        None | Some("none") => Ok(Ack::None),
        Some("disk") => Ok(Ack::Disk),
        Some("store") => Ok(Ack::Store),
        Some(_) => Err(StartError::Value { name: "ack", expected: "none, disk or store" }),
    }
}

fn counting(names: &BTreeMap<&str, &str>) -> Result<Counting, StartError> {
    match names.get("clock").copied() {
        None | Some("arrival") => Ok(Counting::Arrival),
        Some("samples") => Ok(Counting::Samples),
        Some(_) => Err(StartError::Value { name: "clock", expected: "arrival or samples" }),
    }
}

/// A text message of a client.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientMessage {
    /// Parameters, as the first message.
    Start(Result<Start, StartError>),
    /// Do not record what follows.
    Pause {
        /// Why.
        reason: Option<String>,
    },
    /// Record again.
    Resume,
    /// A named moment.
    Mark {
        /// Its name.
        name: String,
    },
    /// A turn of the conversation; its fields are kept as they are.
    Turn(serde_json::Value),
    /// The end.
    Stop,
    /// Valid JSON of a type we do not know, or a known one that lacks what it needs.
    Unknown,
    /// No JSON object with a `type`.
    Malformed,
}

impl ClientMessage {
    /// Reads a text message. Never fails: what cannot be used says so.
    pub fn parse(text: &str) -> Self {
        if text.len() > MAX_TEXT {
            return Self::Malformed;
        }
        let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_str(text) else {
            return Self::Malformed;
        };
        let Some(serde_json::Value::String(kind)) = fields.remove("type") else { return Self::Malformed };
        let text = |name: &str| fields.get(name).and_then(serde_json::Value::as_str).map(cut);
        match kind.as_str() {
            "start" => Self::Start(Start::from_fields(&fields)),
            "pause" => Self::Pause { reason: text("reason") },
            "resume" => Self::Resume,
            "mark" => text("name").map_or(Self::Unknown, |name| Self::Mark { name }),
            "turn" => Self::Turn(serde_json::Value::Object(fields)),
            "stop" => Self::Stop,
            _ => Self::Unknown,
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_NAME / 4).collect()
}

/// A text message to a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ServerMessage {
    /// First of all: what this session is.
    Session {
        /// The session.
        session_id: String,
        /// The recording its track belongs to.
        recording_id: String,
        /// Its track.
        track_id: String,
        /// The secret that resumes it.
        resume_token: Token,
        /// Send on from this sample.
        resume_at: u64,
    },
    /// Everything before this sample is safe, as strongly as was asked for.
    Ack {
        /// Samples per channel from the session's first.
        samples: u64,
    },
    /// The session is complete and safe on the disk.
    Stopped {
        /// Samples per channel from the session's first.
        samples: u64,
    },
    /// Something was dropped; said once for each kind.
    Warning {
        /// A short name for programs.
        code: String,
        /// What happened and what to do.
        message: String,
    },
    /// The session cannot go on; a close follows.
    Error {
        /// A short name for programs.
        code: String,
        /// What happened and what to do.
        message: String,
    },
}

impl ServerMessage {
    /// As the text of a message.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
