//! One ingest connection's life as a state machine: what counts, what is recorded, what is answered, and when it
//! is over. Time is an argument; the driver does what it is told.
//!
//! Unit everywhere: samples per channel, counted from the session's first. Audio that arrives during a pause is
//! thrown away but counts; the log says so in events (`Gap` with reason `paused`), so that a position that was
//! acknowledged survives a crash in a pause too.

use std::time::Duration;

use crate::log::{Event, GapReason, MAX_PAYLOAD};
use crate::media::{Codec, Format};
use crate::time::Micros;
use crate::wire::v1::{ClientMessage, ServerMessage, close};

/// What to do with one binary message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audio {
    /// Append it: position of its first sample, and its samples per channel.
    Record {
        /// Position of the first sample.
        timestamp: u64,
        /// Samples per channel.
        samples: u64,
    },
    /// Throw it away: the session is paused.
    Paused,
    /// Throw it away: it is empty or not a whole number of samples.
    Malformed,
}

/// What to do after a text message.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Log these.
    Log(Vec<Event>),
    /// Nothing.
    Nothing,
    /// It was of no use: see [`Session::warning`].
    Ignored(Oddity),
    /// End the session.
    Stop,
}

/// What a client may get wrong without losing its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// A binary message that is empty or not a whole number of samples.
    Frame,
    /// A text message we do not know.
    Text,
    /// `start` after the first message.
    LateStart,
    /// The disk is full and audio is given up.
    Overflow,
}

/// Counts of what was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oddities {
    /// Binary messages dropped.
    pub frames: u64,
    /// Text messages ignored.
    pub texts: u64,
}

/// The state of one session.
#[derive(Clone, Debug)]
pub struct Session {
    format: Format,
    position: u64,
    /// In a pause: the first sample of it that no event covers yet.
    paused_from: Option<u64>,
    speaks_v1: bool,
    started: bool,
    oddities: Oddities,
    warned: [bool; 4],
}

impl Session {
    /// A session that counts from `position` (0 when new). `speaks_v1`: the client has shown that it knows our
    /// protocol, by its subprotocol or by asking for acknowledgements.
    pub const fn new(format: Format, position: u64, paused: bool, speaks_v1: bool) -> Self {
        Self {
            format,
            position,
            paused_from: if paused { Some(position) } else { None },
            speaks_v1,
            started: false,
            oddities: Oddities { frames: 0, texts: 0 },
            warned: [false; 4],
        }
    }

    /// The next sample's position: what the client has sent and we have taken.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Codec, rate and channels.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Whether it stands in a pause.
    pub const fn is_paused(&self) -> bool {
        self.paused_from.is_some()
    }

    /// Whether the client has sent nothing yet: then a `start` may still say what it will be.
    pub const fn is_untouched(&self) -> bool {
        !self.started && self.position == 0
    }

    /// Whether a lost connection may come back: the client knows the protocol.
    pub const fn speaks_v1(&self) -> bool {
        self.speaks_v1
    }

    /// What was dropped.
    pub const fn oddities(&self) -> Oddities {
        self.oddities
    }

    /// The client came back with its token.
    pub const fn reconnected(&mut self) {
        self.speaks_v1 = true;
        self.started = false;
    }

    /// One binary message, no larger than a log's record takes (see [`Self::pieces`]).
    pub fn audio(&mut self, payload: &[u8]) -> Audio {
        self.started = true;
        let samples = self.format.samples_in(payload).filter(|_| payload.len() <= MAX_PAYLOAD);
        let Some(samples) = samples else {
            self.oddities.frames += 1;
            return Audio::Malformed;
        };
        let timestamp = self.position;
        self.position += samples;
        if self.paused_from.is_some() { Audio::Paused } else { Audio::Record { timestamp, samples } }
    }

    /// A message in pieces that fit a log's record: whole samples for PCM, the message itself for Opus.
    pub fn pieces<'a>(&self, payload: &'a [u8]) -> std::slice::Chunks<'a, u8> {
        let size = self.format.block_align().map_or(MAX_PAYLOAD, |align| MAX_PAYLOAD / align * align);
        // A message that is not whole samples must stay in one piece to be seen as such.
        let whole = self.format.samples_in(payload).is_some() && self.format.codec != Codec::Opus;
        payload.chunks(if whole { size } else { payload.len().max(1) })
    }

    /// One text message.
    pub fn text(&mut self, message: ClientMessage) -> Reply {
        self.started = true;
        self.speaks_v1 |= !matches!(message, ClientMessage::Unknown | ClientMessage::Malformed);
        match message {
            ClientMessage::Pause { reason } => self.pause(reason),
            ClientMessage::Resume => self.resume(),
            ClientMessage::Mark { name } => Reply::Log(vec![Event::Mark { at: self.position, name }]),
            ClientMessage::Turn(data) => Reply::Log(vec![Event::Turn { at: self.position, data }]),
            ClientMessage::Stop => Reply::Stop,
            ClientMessage::Start(_) => Reply::Ignored(Oddity::LateStart),
            ClientMessage::Unknown | ClientMessage::Malformed => {
                self.oddities.texts += 1;
                Reply::Ignored(Oddity::Text)
            }
        }
    }

    /// Pauses; nothing if it is paused.
    pub fn pause(&mut self, reason: Option<String>) -> Reply {
        if self.paused_from.is_some() {
            return Reply::Nothing;
        }
        self.paused_from = Some(self.position);
        Reply::Log(vec![Event::Pause { at: self.position, reason }])
    }

    /// Goes on; nothing if it is not paused.
    pub fn resume(&mut self) -> Reply {
        if self.paused_from.is_none() {
            return Reply::Nothing;
        }
        let mut events: Vec<_> = self.paused_so_far().into_iter().collect();
        self.paused_from = None;
        events.push(Event::Resume { at: self.position });
        Reply::Log(events)
    }

    /// The event for what was thrown away in this pause and no event covers yet, if anything.
    pub fn paused_so_far(&mut self) -> Option<Event> {
        let at = self.paused_from?;
        let samples = self.position - at;
        if samples == 0 {
            return None;
        }
        self.paused_from = Some(self.position);
        Some(Event::Gap { at, samples, reason: GapReason::Paused })
    }

    /// The warning for an oddity, the first time it happens.
    pub fn warning(&mut self, oddity: Oddity) -> Option<ServerMessage> {
        if std::mem::replace(&mut self.warned[oddity as usize], true) {
            return None;
        }
        let (code, message) = match oddity {
            Oddity::Frame => {
                let align = self.format.block_align().unwrap_or(1);
                ("bad_frame", format!("a frame that is empty or not whole samples ({align} bytes each) was dropped; further ones are only counted"))
            }
            Oddity::Text => {
                ("unknown_message", "a text message is not one of start, pause, resume, mark, turn, stop; it and further ones are ignored".to_owned())
            }
            Oddity::LateStart => {
                ("late_start", "`start` counts only as the first message; it is ignored".to_owned())
            }
            Oddity::Overflow => {
                ("overflow", "the recorder's disk is full: audio is being given up and will be a gap".to_owned())
            }
        };
        Some(ServerMessage::Warning { code: code.to_owned(), message })
    }

    /// Whether the session goes on waiting for its client after the connection ended, with close code `code`
    /// where there was one.
    pub const fn waits_after(&self, code: Option<u16>) -> bool {
        self.speaks_v1 && !matches!(code, Some(close::NORMAL | close::AWAY))
    }
}

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Without any media or text while connected (in a pause: without any sign of life).
    pub idle: Duration,
    /// For a client that lost its connection.
    pub resume_window: Duration,
}

/// Since when nothing was heard, and whether the client is connected at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The last message of a connected client.
    pub heard: Micros,
    /// When the connection was lost; `None` while there is one.
    pub lost: Option<Micros>,
}

/// Whether a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Live,
    /// Connected, and silent for too long.
    Idle,
    /// It did not come back in time.
    Gone,
}

impl Presence {
    /// Whether a session with this presence is over at `now`.
    pub fn verdict(self, now: Micros, patience: Patience) -> Verdict {
        match self.lost {
            Some(lost) if now.since(lost) >= patience.resume_window => Verdict::Gone,
            None if now.since(self.heard) >= patience.idle => Verdict::Idle,
            Some(_) | None => Verdict::Live,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PCM: Format = Format { codec: Codec::S16le, rate: 16_000, channels: 1 };

    fn session() -> Session {
        Session::new(PCM, 0, false, false)
    }

    #[test]
    fn audio_is_counted_in_samples_and_odd_frames_are_not() {
        let mut session = session();
        assert_eq!(session.audio(&[0; 640]), Audio::Record { timestamp: 0, samples: 320 });
        assert_eq!(session.audio(&[0; 641]), Audio::Malformed);
        assert_eq!(session.audio(&[]), Audio::Malformed);
        assert_eq!(session.audio(&[0; 2]), Audio::Record { timestamp: 320, samples: 1 });
        assert_eq!((session.position(), session.oddities().frames), (321, 2));
    }

    #[test]
    fn paused_audio_counts_and_is_told_to_the_log_once() {
        let mut session = session();
        session.audio(&[0; 640]);
        let Reply::Log(events) = session.text(ClientMessage::Pause { reason: None }) else { panic!() };
        assert_eq!(events, [Event::Pause { at: 320, reason: None }]);
        for _ in 0..50 {
            assert_eq!(session.audio(&[0; 640]), Audio::Paused);
        }
        let gap = |at, samples| Event::Gap { at, samples, reason: GapReason::Paused };
        assert_eq!(session.paused_so_far(), Some(gap(320, 16_000)));
        assert_eq!(session.paused_so_far(), None);
        for _ in 0..25 {
            assert_eq!(session.audio(&[0; 640]), Audio::Paused);
        }
        let Reply::Log(events) = session.text(ClientMessage::Resume) else { panic!() };
        assert_eq!(events, [gap(16_320, 8_000), Event::Resume { at: 24_320 }]);
        assert_eq!(session.audio(&[0; 2]), Audio::Record { timestamp: 24_320, samples: 1 });
    }

    #[test]
    fn pausing_twice_and_resuming_unpaused_change_nothing() {
        let mut session = session();
        assert_eq!(session.text(ClientMessage::Resume), Reply::Nothing);
        session.text(ClientMessage::Pause { reason: None });
        assert_eq!(session.text(ClientMessage::Pause { reason: None }), Reply::Nothing);
    }

    #[test]
    fn only_a_client_that_spoke_the_protocol_is_waited_for() {
        let mut plain = session();
        plain.audio(&[0; 2]);
        assert!(!plain.waits_after(None));
        plain.text(ClientMessage::Unknown);
        assert!(!plain.waits_after(None));
        plain.text(ClientMessage::Mark { name: "x".into() });
        assert!(plain.waits_after(None) && plain.waits_after(Some(1006)));
        assert!(!plain.waits_after(Some(1000)) && !plain.waits_after(Some(1001)));
    }

    #[test]
    fn each_oddity_is_warned_of_once() {
        let mut session = session();
        assert!(session.warning(Oddity::Frame).is_some());
        assert!(session.warning(Oddity::Frame).is_none());
        assert!(session.warning(Oddity::Text).is_some());
    }

    #[test]
    fn long_messages_are_cut_at_whole_samples() {
        let session = Session::new(Format { channels: 3, ..PCM }, 0, false, false);
        let message = vec![0; 6 * 50_000];
        let pieces: Vec<_> = session.pieces(&message).map(<[u8]>::len).collect();
        assert!(pieces.iter().all(|piece| piece % 6 == 0 && *piece <= MAX_PAYLOAD));
        assert_eq!(pieces.iter().sum::<usize>(), message.len());
        assert_eq!(session.pieces(&message[..299_999]).count(), 1);
        assert_eq!(session.pieces(&[]).count(), 0);
    }

    #[test]
    fn a_client_that_never_closes_and_one_that_never_returns_both_end_in_time() {
        let patience = Patience { idle: Duration::from_secs(60), resume_window: Duration::from_secs(30) };
        let mut presence = Presence { heard: Micros::from_secs(5), lost: None };
        let ends = |presence: Presence| {
            (0..4_000)
                .map(|tick| Micros::from_millis(tick * 250))
                .find(|&now| presence.verdict(now, patience) != Verdict::Live)
        };
        assert_eq!(ends(presence), Some(Micros::from_secs(65)));
        presence.lost = Some(Micros::from_secs(7));
        assert_eq!(ends(presence), Some(Micros::from_secs(37)));
        assert_eq!(presence.verdict(Micros::from_secs(37), patience), Verdict::Gone);
    }
}
