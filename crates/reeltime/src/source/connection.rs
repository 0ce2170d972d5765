//! A session's connection: carries messages from the socket to the session until either of them ends.

use bytes::Bytes;
use reeltime_core::wire::transcribe::SilenceWatch;
use reeltime_core::wire::v1::{ClientMessage, ServerMessage, Start, StartError, close};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;
use tracing::{debug, warn};

use super::low_water::LowWater;
use super::socket::{Heard, PING, ROW, Socket, hear, hear_now, leave, refuse, say, send};
use crate::recorder::{Asked, Control, Ingest, Recorder, Taken};

/// What the client understands.
pub(super) enum Dialect {
    /// Our own.
    V1 {
        /// It wants to know what is safe.
        acks: bool,
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

pub(super) struct Connection {
    // Before the socket: it must go first.
    mark: Option<LowWater>,
    ws: Socket,
    recorder: Recorder,
    /// `None` once the session is handed back.
    ingest: Option<Ingest>,
    dialect: Dialect,
    synced: watch::Receiver<u64>,
    acked: u64,
    /// Says that this connection is there.
    _present: watch::Receiver<()>,
}

impl Connection {
    pub(super) fn begin(ws: Socket, recorder: Recorder, ingest: Ingest, dialect: Dialect) -> Self {
        let now = recorder.inner().clock.now();
        let mark = LowWater::set(&recorder, ws.get_ref(), ingest.format(), now);
        Self {
            mark: Some(mark),
            _present: recorder.connection(),
            ws,
            recorder,
            dialect,
            synced: ingest.synced(),
            acked: ingest.safe(),
            ingest: Some(ingest),
        }
    }

    /// Carries messages to the end; `first` was heard before. The socket comes back where its client has sent
    /// nothing but a late `start`: what it wants is another session than the one it was given.
    pub(super) async fn serve(mut self, first: Option<Heard>) -> Option<(Socket, Result<Start, StartError>)> {
        let early = match first {
            Some(first) => self.take(first).await,
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

    const fn acks(&self) -> bool {
        matches!(self.dialect, Dialect::V1 { acks: true })
    }

    /// Says something to a client that understands it.
    async fn say(&mut self, message: &ServerMessage) -> bool {
        match self.dialect {
            Dialect::V1 { .. } => say(&mut self.ws, message).await,
            Dialect::Transcribe(_) => true,
        }
    }

    async fn run(&mut self) -> End {
        let mut leaving = self.recorder.leaving();
        let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + PING, PING);
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let acks = self.acks();
            let Some(ingest) = self.ingest.as_mut() else { return End::Lost(None) };
            tokio::select! {
                biased;
                asked = ingest.asked() => match asked {
                    Asked::TakenOver => return End::TakenOver,
                    Asked::Control(Control::Stop) => return End::Stop("stopped", close::NORMAL),
                    Asked::Control(Control::Idle) => return End::Stop("idle", close::POLICY),
                    Asked::Control(Control::Pause | Control::Resume) | Asked::Nothing => {}
                },
                () = async { drop(leaving.wait_for(|leave| *leave).await) } => return End::Leave,
                changed = self.synced.changed(), if acks => {
                    if changed.is_err() || !self.acknowledge().await {
                        return End::Lost(None);
                    }
                }
                _ = ping.tick() => {
                    if !send(&mut self.ws, Message::Ping(Bytes::new())).await {
                        return End::Lost(None);
                    }
                }
                heard = hear(&mut self.ws) => if let Some(end) = self.take_row(heard).await {
                    return end;
                },
            }
        }
    }

    /// Takes what was heard, and what else is here already.
    async fn take_row(&mut self, first: Heard) -> Option<End> {
        let now = self.recorder.inner().clock.now();
        if let Some(mark) = &self.mark {
            mark.heard(self.ws.get_ref(), now);
        }
        let mut next = Some(first);
        for _ in 0..ROW {
            let Some(heard) = next.take() else { break };
            if let Some(end) = self.take(heard).await {
                return Some(end);
            }
            next = hear_now(&mut self.ws);
        }
        match next {
            Some(heard) => self.take(heard).await,
            None => None,
        }
    }

    async fn take(&mut self, heard: Heard) -> Option<End> {
        let ingest = self.ingest.as_mut()?;
        let warning = match heard {
            Heard::Audio(audio) => {
                if let Dialect::Transcribe(watch) = &mut self.dialect
                    && watch.is_silent_run(&audio)
                {
                    warn!(session = %ingest.session_id(), "the client has sent silence for many chunks in a row");
                }
                match ingest.audio(&audio).await {
                    Ok(Taken::Counted) => None,
                    Ok(Taken::Dropped(warning)) => warning,
                    Err(_closed) => return Some(End::Stop("closed", close::NORMAL)),
                }
            }
            // The transcribe dialect has no text: whatever it is, it is none of ours.
            Heard::Text(_) if matches!(self.dialect, Dialect::Transcribe(_)) => None,
            Heard::Text(text) => {
                let message = match ClientMessage::parse(&text) {
                    ClientMessage::Start(start) if ingest.is_untouched() => {
                        return Some(End::Again(Box::new(start)));
                    }
                    message => message,
                };
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
        let samples = *self.synced.borrow_and_update();
        if samples <= self.acked {
            return true;
        }
        self.acked = samples;
        self.say(&ServerMessage::Ack { samples }).await
    }

    async fn end(&mut self, end: End) {
        // What follows is small and must not wait below the mark.
        self.mark = None;
        let Some(ingest) = self.ingest.take() else { return };
        debug!(session = %ingest.session_id(), oddities = ?ingest.oddities(), "connection ends");
        match end {
            End::Stop(reason, code) => {
                let samples = ingest.stop(reason).await;
                if self.acks() {
                    self.acknowledge().await;
                }
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
                if self.acks() {
                    self.acknowledge().await;
                }
                let reason = "the recorder restarts: connect again with the resume token";
                leave(&mut self.ws, close::RESTART, reason).await;
            }
        }
    }
}
