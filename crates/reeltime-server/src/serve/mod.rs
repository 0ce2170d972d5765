//! `reeltime serve`: opens the recorder, serves until told to stop, then drains.

mod accept;
mod router;
mod upgrade;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use reeltime::recorder::{Recorder, Rendition};
use reeltime::spool::FolderLock;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::api::metrics;
use crate::app::App;
use crate::cli::SettingFlags;
use crate::security::{Guard, check_exposure};
use crate::settings::{Limits, Settings};
use crate::traces::Traces;
use crate::{logging, open, secret};

/// Connections that the kernel holds for us while we are busy.
const BACKLOG: u32 = 4_096;
/// How long answers that are under way have when everything else is done.
const LAST_ANSWERS: Duration = Duration::from_millis(50);

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(flags: SettingFlags) -> anyhow::Result<()> {
    let settings = Settings::load(&flags.layers())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let traces = settings.collector.as_ref().map(|collector| Traces::begin(collector, runtime.handle()));
    let traces = traces.transpose()?;
    logging::start(&settings.log, traces.as_ref().map(Traces::follower));
    raise_open_files();
    warn_of_limits(&settings.recording.renditions);
    let done = runtime.block_on(serve(settings));
    if let Some(traces) = traces {
        traces.finish();
    }
    runtime.shutdown_timeout(LAST_ANSWERS);
    done
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let listener = listen(&settings).await?;
    let mut ending = Ending::new()?;
    let lock = FolderLock::take(&settings.recording.data_dir)?;
    let recorder = open::recorder(&settings, lock, open::config(&settings.recording)).await?;
    let service = Arc::new(router::Service::new(Arc::new(app(&settings, recorder.clone())?)));
    announce(listener.local_addr()?)?;
    let (stop, stopped) = watch::channel(false);
    let limits = settings.limits.clone();
    let accepting = tokio::spawn(async move { accept::accept(listener, &limits, service, stopped).await });
    ending.wait().await;
    // Requests are still answered meanwhile, new sessions with 503. A second signal is impatience.
    tokio::select! {
        () = recorder.drain(settings.recording.drain_timeout) => {}
        () = ending.wait() => tracing::warn!("told twice to stop: what is not published yet is after the next start"),
    }
    stop.send_replace(true);
    accepting.await.context("the accept loop broke")
}

fn app(settings: &Settings, recorder: Recorder) -> anyhow::Result<App> {
    let url_secret = secret::url_secret(&settings.access, &settings.recording.data_dir)?;
    Ok(App {
        recorder,
        guard: Guard::new(&settings.access.api_keys, url_secret)?,
        metrics: metrics::install()?,
        websocket: websocket(&settings.limits),
        transcribe: settings.transcribe.clone(),
        public_url: settings.access.public_url.clone(),
    })
}

/// Buffers as small as the traffic: a session costs no more memory than it needs.
fn websocket(limits: &Limits) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(8_192)
        .write_buffer_size(0)
        .max_write_buffer_size(64 << 10)
        .max_message_size(Some(limits.max_message))
        .max_frame_size(Some(limits.max_message))
}

async fn listen(settings: &Settings) -> anyhow::Result<TcpListener> {
    let listen = &settings.listen;
    let found = tokio::net::lookup_host(listen).await;
    let addresses: Vec<_> = found.with_context(|| format!("cannot find the address {listen}"))?.collect();
    check_exposure(&addresses.iter().map(SocketAddr::ip).collect::<Vec<_>>(), &settings.access.api_keys)?;
    let address = addresses.first().with_context(|| format!("{listen} has no address"))?;
    bind(*address)
        .with_context(|| format!("cannot listen on {address}: is it in use? Choose another with --listen"))
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the last connections of the process before it.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The one line on stdout, for people and scripts.
fn announce(address: SocketAddr) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "reeltime is listening on http://{address}")?;
    Ok(stdout.flush()?)
}

/// Told before any call is recorded: afterwards each that is too large would only lack its file.
fn warn_of_limits(renditions: &[Rendition]) {
    for kept in renditions {
        let Some(most) = kept.most_channels() else { continue };
        let (title, name, layout) = (kept.format.title(), kept.format.name(), kept.layout.name());
        tracing::warn!(
            "{title} holds at most {most} channels: calls with more will have no {name}:{layout} (renditions); \
             wav:{layout} holds them all"
        );
    }
}

/// Each session takes a socket and a file; the usual soft limit is 1,024.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit of open files from {:?}", limit.current);
    }
}

/// The signals that end the server.
struct Ending {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Ending {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
