//! A session's connection: carries messages from the socket to the session until either of them ends.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use reeltime_core::time::Micros;
use reeltime_core::wire::transcribe::SilenceWatch;
use reeltime_core::wire::v1::{Ack, ClientMessage, ServerMessage, Start, StartError, close};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;
use tracing::{debug, warn};

use super::low_water::LowWater;
use super::socket::{Heard, ROW, Socket, leave, poll_hear, refuse, say, send};
use crate::recorder::{Asked, Control, Ingest, Recorder, Taken};

/// How long a client that said stop waits until all is in the store.
const SETTLES_IN: Duration = Duration::from_secs(10);

/// What the client understands.
pub(super) enum Dialect {
    /// Our own.
    V1 {
        /// What it wants to know of what is safe.
        ack: Ack,
    },
    /// The transcribe socket's: audio alone, and nothing from us after the first message.
    Transcribe(SilenceWatch),
}

/// How a connection ends.
enum End {
    /// The client said stop, or the owner did: why, and the close code.
    Stop(&'static str, u16),
    Lost(Option<u16>),
    Broken(u16, &'static str, String),
    TakenOver,
    Leave,
    /// A late `start`.
    Again(Box<Result<Start, StartError>>),
}

/// What a connection waits for.
enum Event {
    Heard(Heard),
    Rung(u8),
}

pub(super) struct Connection {
    // Before the socket: it must go first.
    mark: Option<LowWater>,
    ws: Socket,
    recorder: Recorder,
    /// `None` once the session is handed back.
    ingest: Option<Ingest>,
    dialect: Dialect,
    safe: watch::Receiver<u64>,
    /// Where all that is synced ends.
    synced: watch::Receiver<u64>,
    acked: u64,
    /// Says that this connection is there.
    _present: watch::Receiver<()>,
}

impl Connection {
    pub(super) fn begin(ws: Socket, recorder: Recorder, ingest: Ingest, dialect: Dialect) -> Self {
        let safe = match dialect {
            Dialect::V1 { ack: Ack::Store } => {
                ingest.follow_shipped();
                ingest.shipped()
            }
            Dialect::V1 { ack: Ack::Disk } => {
                ingest.follow_synced();
                ingest.synced()
            }
            Dialect::V1 { ack: Ack::None } | Dialect::Transcribe(_) => ingest.synced(),
        };
        let acked = *safe.borrow();
        let now = recorder.inner().clock.now();
        let mark = LowWater::set(&recorder, ws.get_ref(), ingest.format(), now);
        Self {
            mark: Some(mark),
            _present: recorder.connection(),
            ws,
            recorder,
            dialect,
            acked,
            safe,
            synced: ingest.synced(),
            ingest: Some(ingest),
        }
    }

    /// Carries messages to the end; `first` was heard before. The socket comes back where its client has sent
    /// nothing but a late `start`: what it wants is another session than the one it was given.
    pub(super) async fn serve(mut self, first: Option<Heard>) -> Option<(Socket, Result<Start, StartError>)> {
        let early = match first {
            Some(first) => {
                let now = self.now(&first);
                self.take(now, first).await
            }
            None => None,
        };
        let end = match early {
            Some(end) => end,
            None => self.run().await,
        };
        if let End::Again(start) = end {
            self.mark = None;
            if let Some(unused) = self.ingest.take() {
                unused.stop("restarted").await;
            }
            return Some((self.ws, *start));
        }
        self.end(end).await;
        None
    }

    /// When `heard` arrived, with what else arrived with it; a ping or pong alone says nothing of the client's doing.
    fn now(&self, heard: &Heard) -> Micros {
        match (&self.ingest, heard) {
            (Some(ingest), Heard::Audio(_) | Heard::Text(_)) => ingest.hear(),
            _ => self.recorder.inner().clock.now(),
        }
    }

    const fn acks(&self) -> bool {
        matches!(self.dialect, Dialect::V1 { ack: Ack::Disk | Ack::Store })
    }

    /// Says something to a client that understands it.
    async fn say(&mut self, message: &ServerMessage) -> bool {
        match self.dialect {
            Dialect::V1 { .. } => say(&mut self.ws, message).await,
            Dialect::Transcribe(_) => true,
        }
    }

    async fn run(&mut self) -> End {
        let Some(bell) = self.ingest.as_ref().map(Ingest::bell) else { return End::Lost(None) };
        loop {
            if let Some(end) = self.answer().await {
                return end;
            }
            let event = poll_fn(|cx| {
                if let Poll::Ready(reasons) = bell.poll(cx) {
                    return Poll::Ready(Event::Rung(reasons));
                }
                poll_hear(&mut self.ws, cx).map(Event::Heard)
            });
            match event.await {
                Event::Rung(reasons) => self.ingest.iter_mut().for_each(|ingest| ingest.heed(reasons)),
                Event::Heard(heard) => {
                    if let Some(end) = self.take_row(heard).await {
                        return end;
                    }
                }
            }
        }
    }

    /// Answers what is asked from outside the socket.
    async fn answer(&mut self) -> Option<End> {
        while let Some(asked) = self.ingest.as_mut()?.next_asked() {
            let there = match asked {
                Asked::TakenOver => return Some(End::TakenOver),
                Asked::Leave => return Some(End::Leave),
                Asked::Control(Control::Stop) => return Some(End::Stop("stopped", close::NORMAL)),
                Asked::Control(Control::Idle) => return Some(End::Stop("idle", close::POLICY)),
                Asked::Control(Control::Pause | Control::Resume) => true,
                Asked::Synced => self.acknowledge().await,
                Asked::Ping => send(&mut self.ws, Message::Ping(Bytes::new())).await,
            };
            if !there {
                return Some(End::Lost(None));
            }
        }
        None
    }

    /// Takes what was heard, and what else is here already.
    async fn take_row(&mut self, first: Heard) -> Option<End> {
        let now = self.now(&first);
        if let Some(mark) = &self.mark {
            mark.heard(self.ws.get_ref(), now);
        }
        let mut next = Poll::Ready(first);
        for _ in 0..ROW {
            let Poll::Ready(heard) = next else { return None };
            if let Some(end) = self.take(now, heard).await {
                return Some(end);
            }
            next = poll_fn(|cx| Poll::Ready(poll_hear(&mut self.ws, cx))).await;
        }
        match next {
            Poll::Ready(heard) => self.take(now, heard).await,
            Poll::Pending => None,
        }
    }

    async fn take(&mut self, now: Micros, heard: Heard) -> Option<End> {
        let ingest = self.ingest.as_mut()?;
        let warning = match heard {
            Heard::Audio(audio) => {
                if let Dialect::Transcribe(watch) = &mut self.dialect
                    && watch.is_silent_run(&audio)
                {
                    warn!(session = %ingest.session_id(), "the client has sent silence for many chunks in a row");
                }
                match ingest.audio_at(now, &audio).await {
                    Ok(Taken::Counted) => None,
                    Ok(Taken::Dropped(warning)) => warning,
                    Err(_closed) => return Some(End::Stop("closed", close::NORMAL)),
                }
            }
            // The transcribe dialect has no text: whatever it is, it is none of ours.
            Heard::Text(_) if matches!(self.dialect, Dialect::Transcribe(_)) => None,
            Heard::Text(text) => {
                let message = ClientMessage::parse(&text);
                if let ClientMessage::Start(start) = &message
                    && ingest.is_untouched()
                {
                    return Some(End::Again(Box::new(start.clone())));
                }
                let (warning, stop) = ingest.text(message);
                if stop {
                    return Some(End::Stop("stop", close::NORMAL));
                }
                warning
            }
            Heard::Life => {
                ingest.alive();
                None
            }
            Heard::Gone(code) => return Some(End::Lost(code)),
            Heard::Broken(code, name, message) => return Some(End::Broken(code, name, message)),
        };
        match warning {
            Some(warning) if !self.say(&warning).await => Some(End::Lost(None)),
            _ => None,
        }
    }

    async fn acknowledge(&mut self) -> bool {
        if !self.acks() {
            return true;
        }
        let samples = *self.safe.borrow_and_update();
        if samples <= self.acked {
            return true;
        }
        self.acked = samples;
        self.say(&ServerMessage::Ack { samples }).await
    }

    /// Until all that is synced is in the store, where the client wants to know that; not for ever.
    async fn settle(&mut self) {
        if matches!(self.dialect, Dialect::V1 { ack: Ack::Store }) {
            let synced = *self.synced.borrow();
            self.recorder.inner().ship.hurry.notify_one();
            let shipped = self.safe.wait_for(|shipped| *shipped >= synced);
            let _ = tokio::time::timeout(SETTLES_IN, shipped).await;
        }
    }

    async fn end(&mut self, end: End) {
        // What follows is small and must not wait below the mark.
        self.mark = None;
        let Some(ingest) = self.ingest.take() else { return };
        debug!(session = %ingest.session_id(), oddities = ?ingest.oddities(), "connection ends");
        match end {
            End::Stop(reason, code) => {
                let samples = ingest.stop(reason).await;
                self.settle().await;
                self.acknowledge().await;
                self.say(&ServerMessage::Stopped { samples }).await;
                leave(&mut self.ws, code, reason).await;
            }
            End::Lost(code) => {
                ingest.lost(code).await;
                leave(&mut self.ws, code.unwrap_or(close::NORMAL), "").await;
            }
            End::Broken(code, name, message) => {
                ingest.lost(None).await;
                refuse(&mut self.ws, code, name, &message).await;
            }
            End::Again(_) | End::TakenOver => {
                drop(ingest);
                leave(&mut self.ws, close::TAKEN_OVER, "a newer connection has taken over this session")
                    .await;
            }
            End::Leave => {
                ingest.leave().await;
                self.acknowledge().await;
                let reason = "the recorder restarts: connect again with the resume token";
                leave(&mut self.ws, close::RESTART, reason).await;
            }
        }
    }
}
