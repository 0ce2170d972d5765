//! A Vercel Blob service for tests, in memory: what npm's `@vercel/blob` asks for, it answers as the service does.
//!
//! It is one store, whose access is chosen when it is made. Folded lists, renames, images and signed tokens it does not
//! know. Objects are read below `/blob/`, where the addresses that it answers lead, or with the host name of the real
//! service in `Host`, as `@vercel/blob` reads them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use reeltime::store::vercel::Access;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use url::form_urlencoded;

use self::answer::{Answer, Reply};
use self::state::{Asked, State};

mod answer;
mod state;

/// The store's id, which is in its token and in its host names.
pub const STORE_ID: &str = "teststore";
/// The token that the service takes.
pub const TOKEN: &str = "vercel_blob_rw_teststore_S3cr3tOfTheStore";

/// What a request meets instead of being done, or as well.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Nothing is done: an error with this status and code, and `Retry-After` in seconds.
    Says(u16, &'static str, Option<u32>),
    /// Nothing is done: a page of HTML with this status.
    Html(u16),
    /// It is done, and the connection closed without an answer.
    ReplyLost,
    /// It is done, and the connection closed in the middle of the answer.
    ReplyCut,
}

/// The service. It ends when this is dropped.
#[derive(Debug)]
pub struct VercelBlob {
    address: SocketAddr,
    shared: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

impl Drop for VercelBlob {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl VercelBlob {
    /// An empty store, served on a free port of this machine.
    ///
    /// # Errors
    /// Where there is no port.
    pub async fn start(access: Access) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = State::new(access, format!("http://{address}/blob"));
        let shared = Arc::new(Mutex::new(state));
        let serving = tokio::spawn(serve(listener, shared.clone()));
        Ok(Self { address, shared, serving })
    }

    /// What `VERCEL_BLOB_API_URL` has to be.
    pub fn api_url(&self) -> String {
        format!("http://{}/api/blob", self.address)
    }

    /// The next requests to the API meet these, in order, one each.
    pub fn meet(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.shared).faults.extend(faults);
    }

    /// The next reads of objects from their addresses meet these, in order, one each.
    pub fn meet_reading(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.shared).read_faults.extend(faults);
    }

    /// The requests that were to change or list something, as `what pathname`.
    pub fn calls(&self) -> Vec<String> {
        lock(&self.shared).calls.clone()
    }

    /// The bytes of an object.
    pub fn object(&self, pathname: &str) -> Option<Bytes> {
        lock(&self.shared).objects.get(pathname).map(|object| object.bytes.clone())
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, shared: Arc<Mutex<State>>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(connection(stream, shared.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, shared: Arc<Mutex<State>>) {
    let service = service_fn(|request| handle(request, shared.clone()));
    // A client may go away whenever it likes, and a lost reply is an error here.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn handle(request: Request<Incoming>, shared: Arc<Mutex<State>>) -> Result<Response<Reply>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let query = head.uri.query().unwrap_or_default();
    let asked = Asked {
        path: head.uri.path().to_owned(),
        query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        method: head.method,
        headers: head.headers,
        body,
    };
    let mut state = lock(&shared);
    match state.fault(&asked) {
        Some(Fault::Says(status, code, retry_after)) => {
            Ok(Answer::error(status, code, "told to").retry_after(retry_after).into_response())
        }
        Some(Fault::Html(status)) => Ok(Answer::html(status).into_response()),
        Some(Fault::ReplyLost) => {
            state.answer(&asked);
            Err(io::Error::other("told to lose the reply"))
        }
        Some(Fault::ReplyCut) => Ok(state.answer(&asked).into_cut_response()),
        None => Ok(state.answer(&asked).into_response()),
    }
}
