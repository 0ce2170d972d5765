//! `reeltime bench-load`: many sessions from one process, cheaply, so that the load does not measure itself. Frames
//! are written to bare sockets, ready masked; each holds samples that tell session and place ([`super::pcm`]).
//!
//! On stdout: a line once all are connected, then one JSON document with what was sent ([`Report`]).

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use futures_util::future::{join_all, try_join_all};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::pcm;

/// `reeltime bench-load`.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Load {
    /// Where to send; an address of this machine
    #[arg(long)]
    address: SocketAddr,
    /// Sessions at a time
    #[arg(long)]
    sessions: u64,
    /// Sessions that speak in the same call; with one, each has a recording of its own
    #[arg(long, default_value_t = 1)]
    speakers: u64,
    /// Frames of 20 ms a session
    #[arg(long)]
    frames: u64,
    /// So many times faster than real time, 0: as fast as they are taken; counted by samples, unless 1
    #[arg(long, default_value_t = 1)]
    speed: u64,
}

/// What was sent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    /// The sessions, in their order.
    pub(super) sessions: Vec<Sent>,
    /// The most that a frame was behind its time.
    pub(super) late_ms: u64,
    /// From the first frame to the last close.
    pub(super) seconds: f64,
}

/// One session.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sent {
    /// The recording it became; none at a sink.
    pub(super) recording: Option<String>,
    pub(super) samples: u64,
}

/// The line that says that all are connected.
pub(super) const CONNECTED: &str = "connected";
/// Connections made at the same time.
const ROW: u64 = 50;
/// A frame's time, and the number of moments in it at which sessions send.
const FRAME: u64 = 20;
/// How long the server may take to answer a close.
const GOODBYE: Duration = Duration::from_secs(3);
/// Bytes kept back for one session that is not read; more is a server that has stopped.
const MOST_UNSENT: usize = 1 << 20;
/// Frames written at once where time does not matter.
const BATCH: u64 = 16;
/// RFC 6455 §5.3: what a client sends is masked.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;

/// Sends everything, then says what was sent.
pub(crate) fn run(load: Load) -> anyhow::Result<()> {
    if !load.address.ip().is_loopback() {
        bail!("only a server on this machine is loaded");
    }
    crate::serve::raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(LocalSet::new().run_until(send_all(load)))?;
    say(&serde_json::to_string(&report)?)
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}

async fn send_all(load: Load) -> anyhow::Result<Report> {
    let mut sessions = Vec::new();
    for row in 0..load.sessions.div_ceil(ROW) {
        let numbers = row * ROW..load.sessions.min((row + 1) * ROW);
        sessions.extend(try_join_all(numbers.map(|number| Session::open(load, number))).await?);
    }
    let listening: Vec<_> =
        sessions.iter().map(|session| tokio::task::spawn_local(session.clone().listen())).collect();
    say(CONNECTED)?;
    let start = Instant::now();
    let late = match load.speed {
        0 => try_join_all(sessions.iter().map(|session| session.rush(load.frames)))
            .await
            .map(|_| Duration::ZERO),
        _ => pace(&sessions, load, start).await,
    }?;
    // A server that does not answer the close has taken everything all the same, or the figures will tell.
    let _ = timeout(GOODBYE, join_all(listening)).await;
    Ok(Report {
        sessions: sessions.iter().map(|session| session.sent()).collect(),
        late_ms: late.as_millis() as u64,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// Sends in its own time: each millisecond those sessions whose turn it is. The result is the worst lateness.
async fn pace(sessions: &[Rc<Session>], load: Load, start: Instant) -> anyhow::Result<Duration> {
    let mut late = Duration::ZERO;
    for beat in 0..(load.frames.div_ceil(load.speed) + 1) * FRAME {
        let due = start + Duration::from_millis(beat);
        sleep_until(due).await;
        late = late.max(due.elapsed());
        for session in sessions.iter().skip((beat % FRAME) as usize).step_by(FRAME as usize) {
            match beat / FRAME * load.speed {
                first if first < load.frames => {
                    (first..load.frames.min(first + load.speed)).for_each(|frame| session.frame(frame));
                }
                _ => session.close(),
            }
            session.flush()?;
        }
    }
    Ok(late)
}

/// The name of a session's speaker.
pub(super) fn participant(session: u64) -> String {
    format!("speaker-{session}")
}

/// One connection.
struct Session {
    socket: TcpStream,
    number: u64,
    unsent: RefCell<Vec<u8>>,
    samples: Cell<u64>,
    recording: RefCell<Option<String>>,
    early: RefCell<Vec<u8>>,
}

impl Session {
    /// Connects and makes the handshake.
    async fn open(load: Load, number: u64) -> anyhow::Result<Rc<Self>> {
        let mut socket = TcpStream::connect(load.address).await.context("cannot connect")?;
        socket.set_nodelay(true)?;
        let clock = if load.speed == 1 { "" } else { "&clock=samples" };
        let call = match load.speakers {
            ..=1 => String::new(),
            speakers => format!("&call=call-{}", number / speakers),
        };
        let head = format!(
            "GET /v1/ingest/pcm?codec=s16le&rate={}&participant={}{call}{clock} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            pcm::RATE,
            participant(number),
            load.address
        );
        socket.write_all(head.as_bytes()).await?;
        let early = agreed(&mut socket).await?;
        Ok(Rc::new(Self {
            socket,
            number,
            unsent: RefCell::default(),
            samples: Cell::new(0),
            recording: RefCell::default(),
            early: RefCell::new(early),
        }))
    }

    fn sent(&self) -> Sent {
        Sent { recording: self.recording.borrow().clone(), samples: self.samples.get() }
    }

    /// Adds the next frame of sound to what is to be sent.
    fn frame(&self, frame: u64) {
        let mut unsent = self.unsent.borrow_mut();
        head(BINARY, pcm::FRAME_BYTES, &mut unsent);
        let payload = unsent.len();
        pcm::append(self.number, frame * pcm::FRAME, pcm::FRAME, &mut unsent);
        mask(&mut unsent[payload..]);
        self.samples.set(self.samples.get() + pcm::FRAME);
    }

    /// Adds a close with code 1000.
    fn close(&self) {
        self.control(CLOSE, &1_000_u16.to_be_bytes());
    }

    fn control(&self, kind: u8, payload: &[u8]) {
        let mut unsent = self.unsent.borrow_mut();
        head(kind, payload.len(), &mut unsent);
        let start = unsent.len();
        unsent.extend_from_slice(payload);
        mask(&mut unsent[start..]);
    }

    /// Sends what the socket takes now; true once that is everything.
    fn flush(&self) -> anyhow::Result<bool> {
        let mut unsent = self.unsent.borrow_mut();
        if unsent.is_empty() {
            return Ok(true);
        }
        match self.socket.try_write(&unsent) {
            Ok(written) => drop(unsent.drain(..written)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => bail!("session {}: {error}", self.number),
        }
        if unsent.len() > MOST_UNSENT {
            bail!("session {} is not read any more", self.number);
        }
        Ok(unsent.is_empty())
    }

    /// Sends all frames and the close as fast as they are taken.
    async fn rush(&self, frames: u64) -> anyhow::Result<()> {
        for first in (0..frames).step_by(BATCH as usize) {
            (first..frames.min(first + BATCH)).for_each(|frame| self.frame(frame));
            self.push().await?;
        }
        self.close();
        self.push().await
    }

    async fn push(&self) -> anyhow::Result<()> {
        while !self.flush()? {
            self.socket.writable().await?;
        }
        // The socket may take it all at once for ever: the others want their turn.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Reads what the server says, until it closes.
    async fn listen(self: Rc<Self>) {
        let mut heard = self.early.take();
        let mut buffer = [0; 2_048];
        loop {
            while let Some((kind, payload, rest)) = message(&heard) {
                match kind {
                    TEXT => self.note(payload),
                    PING => self.control(PONG, payload),
                    CLOSE => return,
                    _ => {}
                }
                heard = rest.to_vec();
            }
            if self.socket.readable().await.is_err() {
                return;
            }
            match self.socket.try_read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => heard.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    fn note(&self, text: &[u8]) {
        let Ok(json) = serde_json::from_slice::<serde_json::Value>(text) else { return };
        if let Some(recording) = json.get("recording_id").and_then(|id| id.as_str()) {
            self.recording.replace(Some(recording.to_owned()));
        }
    }
}

/// Reads the answer to the handshake; what came behind it is the result.
async fn agreed(socket: &mut TcpStream) -> anyhow::Result<Vec<u8>> {
    let mut answer = Vec::new();
    loop {
        if socket.read_buf(&mut answer).await? == 0 {
            bail!("the server hung up: {}", String::from_utf8_lossy(&answer));
        }
        if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            if !answer.starts_with(b"HTTP/1.1 101 ") {
                bail!("the server said: {}", String::from_utf8_lossy(&answer));
            }
            return Ok(answer.split_off(end + 4));
        }
    }
}

/// A client's frame head (RFC 6455 §5.2); payloads here are below 64 KiB.
fn head(kind: u8, payload: usize, out: &mut Vec<u8>) {
    match u8::try_from(payload) {
        Ok(short) if short < 126 => out.extend_from_slice(&[kind, 0x80 | short]),
        _ => {
            out.extend_from_slice(&[kind, 0x80 | 126]);
            out.extend_from_slice(&(payload as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
}

fn mask(payload: &mut [u8]) {
    payload.iter_mut().zip(MASK.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
}

/// The first whole message of a server: kind, payload, and what follows. Servers do not mask.
fn message(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, length], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match length {
        126 => {
            rest.split_first_chunk::<2>().map(|(length, rest)| (u16::from_be_bytes(*length).into(), rest))?
        }
        _ => (usize::from(length), rest),
    };
    let (payload, rest) = rest.split_at_checked(length)?;
    Some((kind, payload, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_messages_are_told_apart_wherever_they_are_cut() {
        let mut bytes = vec![TEXT, 126, 0, 200];
        bytes.extend([b'x'; 200]);
        bytes.extend([PING, 0, CLOSE]);
        let (kind, payload, rest) = message(&bytes).unwrap();
        assert_eq!((kind, payload.len()), (TEXT, 200));
        assert_eq!(message(rest), Some((PING, &[][..], &[CLOSE][..])));
        assert!((0..204).all(|cut| message(&bytes[..cut]).is_none()));
    }

    #[test]
    fn a_frame_is_masked_as_a_clients_must_be() {
        let mut frame = Vec::new();
        head(BINARY, 640, &mut frame);
        assert_eq!(frame, [0x82, 0xfe, 0x02, 0x80, 0x37, 0xfa, 0x21, 0x3d]);
        let mut hello = *b"Hello";
        mask(&mut hello);
        assert_eq!(hello, [0x7f, 0x9f, 0x4d, 0x51, 0x58], "the example of RFC 6455 §5.7");
    }
}
