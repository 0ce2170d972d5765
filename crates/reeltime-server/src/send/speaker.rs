//! One participant: says its audio, hears what is safe, comes back after a lost connection, and ends with `stop`.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use futures_util::StreamExt;
use futures_util::stream::{SplitSink, SplitStream};
use reeltime_core::wire::v1::ServerMessage;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::input::{Input, Release};
use super::link::{self, Link, Refusal, Session};
use super::pace::Pace;
use super::{backoff, recorded};
use crate::client::http::Client;
use crate::client::progress::{Bar, Screen, percent};
use crate::client::tls::Stream;
use crate::client::{clock, printable};

/// A server that owes an acknowledgement and says nothing for so long is lost.
const SILENCE: Duration = Duration::from_secs(30);
/// How long the reason of a broken connection may take to be read.
const REASON: Duration = Duration::from_secs(1);

/// Where a speaker is, in samples per channel of its input.
#[derive(Debug, Default)]
struct Position {
    sent: AtomicU64,
    /// Everything before is synced to the server's disk.
    safe: AtomicU64,
    /// `stop` was sent, and is not answered yet.
    stopping: AtomicBool,
}

impl Position {
    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn safe(&self) -> u64 {
        self.safe.load(Ordering::Relaxed)
    }

    /// Whether the server has to say something.
    fn is_owed(&self) -> bool {
        self.safe() < self.sent() || self.stopping.load(Ordering::Relaxed)
    }
}

/// A stretch of the input and the session it went to.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    pub(super) session: Session,
    /// Its first sample's place in the input.
    pub(super) from: u64,
    /// Samples per channel.
    pub(super) samples: u64,
}

/// What became of a speaker.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) speaker: Speaker,
    /// Why not all of it was recorded.
    pub(super) error: Option<anyhow::Error>,
}

/// A participant of the call.
#[derive(Debug)]
pub(super) struct Speaker {
    /// The participant's name.
    pub(super) name: String,
    /// The file's, or `-`.
    pub(super) file: String,
    pub(super) call: Option<String>,
    pub(super) client: Client,
    pub(super) input: Input,
    pub(super) pace: Pace,
    /// Placed by its samples alone, not by their arrival.
    pub(super) counted: bool,
    /// How long to come back after a lost connection.
    pub(super) patience: Duration,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) screen: Screen,
    pub(super) bar: Bar,
    pub(super) reconnects: u32,
    pub(super) stretches: Vec<Stretch>,
    position: Arc<Position>,
    /// Everything that is to be sent has been sent once.
    finished: bool,
    /// The input could not be read to its end.
    broken: Option<anyhow::Error>,
}

/// What makes a speaker.
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) file: String,
    pub(super) call: Option<String>,
    pub(super) client: Client,
    pub(super) input: Input,
    pub(super) speed: Option<f64>,
    pub(super) counted: bool,
    pub(super) patience: Duration,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) screen: Screen,
    pub(super) bar: Bar,
}

/// How a connection ended.
enum End {
    /// Sealed, with so many samples of the session.
    Stopped(u64),
    Refused(Refusal),
}

type Writer = SplitSink<WebSocketStream<Stream>, Message>;
type Reader = SplitStream<WebSocketStream<Stream>>;

impl Speaker {
    pub(super) fn new(plan: Plan) -> Self {
        let Plan { name, file, call, client, input, speed, counted, patience, stop, screen, bar } = plan;
        let pace = Pace { start: Instant::now(), rate: input.format.rate, speed };
        Self {
            name,
            file,
            call,
            client,
            input,
            pace,
            counted,
            patience,
            stop,
            screen,
            bar,
            reconnects: 0,
            stretches: Vec::new(),
            position: Arc::default(),
            finished: false,
            broken: None,
        }
    }

    /// Opens the first session.
    pub(super) async fn connect(&mut self) -> anyhow::Result<Link> {
        let link = self.open(None).await.map_err(Refusal::into_error)?;
        self.begin(&link.session, 0);
        Ok(link)
    }

    /// Says everything, and comes back as often as it takes.
    pub(super) async fn run(mut self, mut link: Link) -> Outcome {
        let error = loop {
            let refusal = match self.carry(link).await {
                End::Stopped(samples) => break self.stopped(samples).err(),
                End::Refused(refusal) => refusal,
            };
            link = match self.come_back(refusal).await {
                Ok(Some(link)) => link,
                Ok(None) => break None,
                Err(error) => break Some(error),
            };
        };
        let error = error.or(self.broken.take());
        self.settle();
        let at = self.seconds(self.position.safe());
        match &error {
            None => {
                self.bar.end(&format!("{}, all of it on disk", clock(self.seconds(self.position.sent()))))
            }
            Some(error) => self.bar.end(&format!("ended at {}: {error:#}", clock(at))),
        }
        Outcome { speaker: self, error }
    }

    /// Of a session that was lost, what is known to be safe was kept at least.
    fn settle(&mut self) {
        let safe = self.position.safe() - self.base();
        if let Some(stretch) = self.stretches.last_mut() {
            stretch.samples = stretch.samples.max(safe);
        }
    }

    /// Connects, with the parameters of this speaker.
    async fn open(&self, token: Option<&str>) -> Result<Link, Refusal> {
        let format = self.input.format;
        let (rate, channels) = (format.rate.to_string(), format.channels.to_string());
        let clock = if self.counted { "samples" } else { "arrival" };
        let mut query = vec![
            ("codec", format.codec.name()),
            ("rate", rate.as_str()),
            ("channels", channels.as_str()),
            ("participant", self.name.as_str()),
            ("clock", clock),
            ("ack", "disk"),
        ];
        query.extend(self.call.as_deref().map(|call| ("call", call)));
        query.extend(token.map(|token| ("resume_token", token)));
        link::open(&self.client, &query).await
    }

    fn begin(&mut self, session: &Session, from: u64) {
        self.screen.say(&format!("{}: recording {}", self.label(), session.recording));
        self.stretches.push(Stretch { session: session.clone(), from, samples: 0 });
    }

    /// The input's place where the present session began.
    fn base(&self) -> u64 {
        self.stretches.last().map_or(0, |stretch| stretch.from)
    }

    fn seconds(&self, samples: u64) -> f64 {
        samples as f64 / f64::from(self.input.format.rate)
    }

    /// Talks over one connection until it ends.
    async fn carry(&mut self, link: Link) -> End {
        let base = self.base();
        let from = base + link.session.resume_at;
        if from > self.position.sent() {
            let error =
                anyhow!("the server counts {} samples that were never sent", from - self.position.sent());
            return End::Refused(Refusal::Never(error));
        }
        self.position.safe.fetch_max(from, Ordering::Relaxed);
        self.input.release().before(from);
        let (mut writer, reader) = link.socket.split();
        let ear = Ear {
            label: self.label(),
            screen: self.screen.clone(),
            release: self.input.release(),
            position: Arc::clone(&self.position),
            base,
        };
        let mut heard = pin!(ear.listen(reader));
        let broken = tokio::select! {
            end = &mut heard => return end,
            error = self.speak(&mut writer, from) => error,
        };
        // The server may have said why, before the connection broke.
        let unsaid = End::Refused(Refusal::Away(broken));
        timeout(REASON, heard).await.unwrap_or(unsaid)
    }

    /// Sends from `at` to the end, then `stop`, then waits for ever; the result is why sending failed.
    async fn speak(&mut self, writer: &mut Writer, mut at: u64) -> anyhow::Error {
        loop {
            let audio = match self.next(at).await {
                Ok(audio) => audio,
                Err(error) => {
                    self.broken = Some(error);
                    Vec::new()
                }
            };
            if audio.is_empty() {
                break;
            }
            at += self.input.samples(&audio);
            if let Err(error) = link::send(writer, Message::binary(audio), SILENCE).await {
                return error;
            }
            self.position.sent.fetch_max(at, Ordering::Relaxed);
            self.show();
        }
        self.finished = true;
        self.position.stopping.store(true, Ordering::Relaxed);
        if let Err(error) = link::send(writer, Message::text(r#"{"type":"stop"}"#), SILENCE).await {
            return error;
        }
        // The answer is heard, not read here.
        loop {
            sleep(Duration::from_millis(500)).await;
            self.show();
        }
    }

    /// The audio from `at` on, once it is due; empty at the end, which is where it was when it was told to stop.
    async fn next(&mut self, at: u64) -> anyhow::Result<Vec<u8>> {
        let sent = self.position.sent();
        // What was sent once and lost with a connection is not paced again, and is sent even after a stop.
        if at < sent {
            let again = usize::try_from(sent - at).unwrap_or(usize::MAX).min(self.input.most());
            return self.input.read(at, again, again).await;
        }
        if self.finished {
            return Ok(Vec::new());
        }
        let mut stop = self.stop.clone();
        let (pace, input) = (self.pace, &mut self.input);
        let due = async move {
            sleep_until(pace.due(at)).await;
            let (least, most) = pace.stretch(at, Instant::now(), input.most());
            input.read(at, least, most).await
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Ok(Vec::new()),
            audio = due => audio,
        }
    }

    fn show(&self) {
        let (sent, safe, total) = (self.position.sent(), self.position.safe(), self.input.total);
        self.bar.set(sent, || {
            let of = total.map_or(String::new(), |total| format!(" of {}", clock(self.seconds(total))));
            let (at, safe, percent) =
                (clock(self.seconds(sent)), clock(self.seconds(safe)), percent(sent, total));
            format!("{at}{of}{percent}, on disk {safe}{}", self.speed())
        });
    }

    /// How many times as fast as real time, once a second has passed to tell by.
    fn speed(&self) -> String {
        match self.pace.start.elapsed().as_secs_f64() {
            passed if passed < 1.0 => String::new(),
            passed => format!(", {:.1}x", self.seconds(self.position.sent()) / passed),
        }
    }

    /// The server has sealed the session.
    fn stopped(&mut self, samples: u64) -> anyhow::Result<()> {
        let wanted = self.position.sent() - self.base();
        if let Some(stretch) = self.stretches.last_mut() {
            stretch.samples = samples;
        }
        self.position.safe.fetch_max(self.base() + samples, Ordering::Relaxed);
        if !self.finished {
            return Err(anyhow!("the server ended the recording"));
        }
        if self.position.sent() == 0 {
            return Err(anyhow!("there was nothing to send"));
        }
        if samples != wanted {
            return Err(anyhow!("the server kept {samples} samples of the {wanted} that were sent"));
        }
        Ok(())
    }

    /// Connects again: to the same session, or where that is over to another one of the same call. `None`: the
    /// session is over, and nothing is missing in it.
    async fn come_back(&mut self, lost: Refusal) -> anyhow::Result<Option<Link>> {
        let Refusal::Away(mut why) = lost else { return Err(lost.into_error()) };
        let (sent, safe) = (self.position.sent(), self.position.safe());
        let places = format!("at {}, on disk to {}", clock(self.seconds(sent)), clock(self.seconds(safe)));
        self.screen.say(&format!("{}: connection lost {places} ({why:#}); connecting again", self.label()));
        let since = Instant::now();
        let mut token = self.stretches.last().map(|stretch| stretch.session.token.0.clone());
        for number in 0.. {
            if since.elapsed() >= self.patience {
                break;
            }
            sleep(backoff::wait(number, backoff::chance())).await;
            match self.open(token.as_deref()).await {
                Ok(link) => return Ok(Some(self.connected_again(link, token.is_some()))),
                Err(Refusal::Away(error)) => why = error,
                Err(Refusal::UnknownToken) if token.take().is_some() => {
                    if self.is_over().await {
                        return Ok(None);
                    }
                }
                Err(refusal) => return Err(refusal.into_error()),
            }
        }
        let missing = clock(self.seconds(self.position.sent() - self.position.safe()));
        Err(why.context(format!(
            "gave up after {} s; the last {missing} were not confirmed",
            since.elapsed().as_secs()
        )))
    }

    fn connected_again(&mut self, link: Link, same_session: bool) -> Link {
        self.reconnects += 1;
        if same_session {
            let at = clock(self.seconds(self.base() + link.session.resume_at));
            self.screen.say(&format!("{}: connected again, going on from {at}", self.label()));
        } else {
            self.begin(&link.session, self.position.safe());
        }
        link
    }

    /// The server ended the session while it was lost: finds out how much of it was kept, and whether that is all.
    async fn is_over(&mut self) -> bool {
        let (sent, base) = (self.position.sent(), self.base());
        let Some(stretch) = self.stretches.last_mut() else { return false };
        let kept = recorded(&self.client, &stretch.session).await.unwrap_or(0);
        let kept = (base + kept).clamp(self.position.safe(), sent);
        stretch.samples = kept - base;
        let recording = stretch.session.recording.clone();
        self.position.safe.store(kept, Ordering::Relaxed);
        self.input.release().before(kept);
        if kept == sent && (self.finished || *self.stop.borrow()) {
            return true;
        }
        let at = clock(self.seconds(kept));
        self.screen.say(&format!(
            "{}: the server has ended the session (its resume window is over): recording {recording} goes to {at}, what \
             follows goes into another one",
            self.label()
        ));
        false
    }

    fn label(&self) -> String {
        printable(&self.name, 40)
    }
}

/// Hears what the server says over one connection.
struct Ear {
    label: String,
    screen: Screen,
    release: Release,
    position: Arc<Position>,
    /// The input's place where the session began.
    base: u64,
}

impl Ear {
    async fn listen(self, mut reader: Reader) -> End {
        let mut error = None;
        loop {
            let message = match timeout(SILENCE, reader.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(error))) => return End::Refused(Refusal::Away(error.into())),
                Ok(None) => return End::Refused(link::closed(None, error)),
                Err(_) if self.position.is_owed() => {
                    let why = anyhow!("the server says nothing for {} s", SILENCE.as_secs());
                    return End::Refused(Refusal::Away(why));
                }
                Err(_) => continue,
            };
            match message {
                Message::Text(text) => match serde_json::from_str(&text) {
                    Ok(ServerMessage::Ack { samples }) => self.acknowledged(samples),
                    Ok(ServerMessage::Stopped { samples }) => return End::Stopped(samples),
                    Ok(ServerMessage::Warning { message, .. }) => {
                        self.screen.say(&format!(
                            "{}: the server warns: {}",
                            self.label,
                            printable(&message, 300)
                        ));
                    }
                    Ok(ServerMessage::Error { code, message }) => error = Some((code, message)),
                    Ok(ServerMessage::Session { .. }) | Err(_) => {}
                },
                Message::Close(frame) => return End::Refused(link::closed(frame, error)),
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    fn acknowledged(&self, samples: u64) {
        let safe = (self.base + samples).min(self.position.sent());
        self.position.safe.fetch_max(safe, Ordering::Relaxed);
        self.release.before(safe);
    }
}
