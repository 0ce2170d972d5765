//! The accept loop: our own, since a recorder needs what servers on top of a router do not give. A deadline for the
//! head of a request, a cap on connections and on those that have not finished their first request, and an accept
//! that outlives running out of file descriptors: what is being recorded must not feel who else knocks.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::AbortHandle;

use crate::settings::Limits;

/// Bytes of one request's head, and of a connection's read buffer.
const MAX_HEAD: usize = 16 << 10;
/// How long to wait when no file descriptor is left.
const OUT_OF_FILES_PAUSE: Duration = Duration::from_millis(50);

/// Answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Never fails: an error is an answer too.
    fn handle(&self, request: Request<Incoming>) -> impl Future<Output = Response> + Send;
}

/// A connection's place under the cap. An upgraded connection takes it along (from the request's extensions), so
/// that it counts until it ends.
#[derive(Clone)]
pub(crate) struct Place(#[expect(dead_code, reason = "held, not read")] Arc<OwnedSemaphorePermit>);

/// Accepts until `stop` turns true. Connections that are open then end after their current request.
pub(crate) async fn accept<H: Handler>(
    listener: TcpListener,
    limits: &Limits,
    handler: Arc<H>,
    mut stop: watch::Receiver<bool>,
) {
    let door = Door {
        http: http(limits),
        places: Arc::new(Semaphore::new(places(limits.max_connections))),
        handshakes: Arc::new(Handshakes::new(limits.max_handshakes)),
        stop: stop.clone(),
    };
    let mut trouble = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = told(&mut stop) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                trouble = false;
                door.enter(stream, &handler);
            }
            Err(error) if is_the_peers(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut trouble, true) {
                    tracing::error!(%error, "cannot accept connections; trying on");
                }
                tokio::time::sleep(OUT_OF_FILES_PAUSE).await;
            }
        }
    }
}

fn http(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout).max_buf_size(MAX_HEAD);
    http
}

/// Waits for the word to stop; nobody left to say it means the same.
async fn told(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// The peer gave up before we took its connection; nothing is wrong here.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    [ConnectionAborted, ConnectionReset, Interrupted].contains(&error.kind())
}

struct Door {
    http: http1::Builder,
    places: Arc<Semaphore>,
    handshakes: Arc<Handshakes>,
    stop: watch::Receiver<bool>,
}

impl Door {
    fn enter<H: Handler>(&self, stream: TcpStream, handler: &Arc<H>) {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            refuse(&stream);
            return;
        };
        // Small messages (acks) must not wait for each other.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let (http, stop, handler) = (self.http.clone(), self.stop.clone(), handler.clone());
        let place = Place(Arc::new(place));
        self.handshakes.spawn(|handshake| serve(http, stream, handler, place, handshake, stop));
    }
}

/// Says so before hanging up, as far as one write without waiting can.
fn refuse(stream: &TcpStream) {
    const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
        Content-Type: application/problem+json\r\nRetry-After: 1\r\nConnection: close\r\n\r\n\
        {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\
        \"detail\":\"Too many connections; try again\"}";
    tracing::debug!("refused a connection: max_connections are open");
    if let Err(error) = stream.try_write(FULL) {
        tracing::debug!(%error, "the refused connection was gone already");
    }
}

async fn serve<H: Handler>(
    http: http1::Builder,
    stream: TcpStream,
    handler: Arc<H>,
    place: Place,
    handshake: Handshake,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(place.clone());
        let (handler, handshake) = (handler.clone(), &handshake);
        async move {
            let response = handler.handle(request).await;
            handshake.finish();
            Ok::<_, Infallible>(response)
        }
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Connections that have not finished their first request, oldest first. When there are too many, the oldest makes
/// room: who is slow on purpose is older than who is not, so an honest client gets in even during a flood.
struct Handshakes {
    cap: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    tasks: BTreeMap<u64, AbortHandle>,
}

impl Handshakes {
    fn new(cap: usize) -> Self {
        Self { cap, waiting: Mutex::default() }
    }

    /// Spawns under the lock, so that no connection can finish before it is listed.
    fn spawn<F>(self: &Arc<Self>, connection: impl FnOnce(Handshake) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut waiting = self.lock();
        if waiting.tasks.len() >= self.cap
            && let Some((_, oldest)) = waiting.tasks.pop_first()
        {
            oldest.abort();
        }
        let number = waiting.next;
        waiting.next += 1;
        let handshake = Handshake { number, all: self.clone(), finished: AtomicBool::new(false) };
        let task = tokio::spawn(connection(handshake));
        waiting.tasks.insert(number, task.abort_handle());
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One entry of [`Handshakes`]; taken out when the first request is finished or the connection ends.
struct Handshake {
    number: u64,
    all: Arc<Handshakes>,
    finished: AtomicBool,
}

impl Handshake {
    fn finish(&self) {
        if !self.finished.swap(true, Ordering::Relaxed) {
            self.all.lock().tasks.remove(&self.number);
        }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Descriptors that one connection may need: its socket, the two files of its track, and those that are made of it, and
/// read for that, while it grows.
const EACH: u64 = 7;
/// Descriptors for everything else: the database, the store, files being made.
const OTHERS: u64 = 64;

/// How many connections there may be: as many as are allowed, and as there are descriptors for. A call that was taken
/// must not find that its log cannot be opened.
fn places(allowed: usize) -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let possible = usize::try_from(limit.saturating_sub(OTHERS) / EACH).unwrap_or(usize::MAX).max(1);
    if possible < allowed {
        tracing::warn!(
            connections = possible,
            open_files = limit,
            "fewer connections than max_connections: raise the limit of open files (ulimit -n) for more"
        );
    }
    possible.min(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_unfinished_handshake_makes_room() {
        let all = Arc::new(Handshakes::new(2));
        let (ended, mut order) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..3 {
            let ended = ended.clone();
            all.spawn(move |handshake| async move {
                let _handshake = handshake;
                let _told = Told(number, ended);
                std::future::pending::<()>().await;
            });
            tokio::task::yield_now().await;
        }
        assert_eq!(order.recv().await, Some(0));
        assert_eq!(all.lock().tasks.keys().copied().collect::<Vec<_>>(), [1, 2]);
    }

    struct Told(u64, tokio::sync::mpsc::UnboundedSender<u64>);

    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.1.send(self.0);
        }
    }

    #[tokio::test]
    async fn a_finished_handshake_is_never_evicted() {
        let all = Arc::new(Handshakes::new(1));
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let (done, finished) = tokio::sync::oneshot::channel();
        all.spawn(|handshake| async move {
            handshake.finish();
            let _ = gone.await;
            let _ = done.send("lived");
        });
        tokio::task::yield_now().await;
        all.spawn(|handshake| async move { drop(handshake) });
        go.send(()).unwrap();
        assert_eq!(finished.await, Ok("lived"));
        assert!(all.lock().tasks.is_empty());
    }
}
