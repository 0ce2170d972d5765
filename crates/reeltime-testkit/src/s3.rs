//! An S3 in this process, on a folder: other people's (`s3s-fs`), with a door before it that fails on purpose.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use reeltime::store::s3::{Credentials, S3Options};
use reeltime::store::{Prefix, S3Store};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

type Body = BoxBody<Bytes, io::Error>;

const KEY: &str = "reeltime-test";
const SECRET: &str = "not-a-secret-5c2e";
const BUCKET: &str = "recordings";

/// What a request meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status and this S3 code, and nothing is done.
    Status(u16, &'static str),
    /// It is answered with this status, type and body, and nothing is done.
    Says(u16, &'static str, &'static str),
    /// It is done this much later.
    Slow(Duration),
    /// It is done, and the connection breaks half way through the body of its answer.
    Half,
    /// It is done, and the connection breaks before its answer.
    ReplyLost,
}

#[derive(Debug, Default)]
struct State {
    /// Method, path and query of every request that came.
    seen: Vec<String>,
    /// By the number of the request.
    faults: BTreeMap<usize, Fault>,
    /// What every other one meets.
    always: Option<Fault>,
}

/// The server, which ends with it; and one bucket.
#[derive(Debug)]
pub struct FakeS3 {
    folder: TempDir,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

impl Drop for FakeS3 {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakeS3 {
    /// Starts one on a free port, empty.
    ///
    /// # Errors
    /// Where there is no folder or port to be had.
    pub async fn start() -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join(BUCKET))?;
        let fs = s3s_fs::FileSystem::new(folder.path()).map_err(|error| format!("{error:?}"))?;
        let mut builder = S3ServiceBuilder::new(fs);
        builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::<Mutex<State>>::default();
        let server = tokio::spawn(accept(listener, service, state.clone()));
        Ok(Self { folder, address, state, server })
    }

    /// What a store on it is opened with.
    pub fn options(&self) -> S3Options {
        S3Options {
            endpoint: Some(format!("http://{}", self.address)),
            credentials: Some(Credentials { id: KEY.into(), secret: SECRET.into(), session_token: None }),
            ..S3Options::default()
        }
    }

    /// A store on its bucket, below a prefix.
    ///
    /// # Errors
    /// Never with these options.
    pub fn store(&self) -> Result<S3Store, Box<dyn Error>> {
        Ok(S3Store::open(BUCKET, "below/this".parse::<Prefix>()?, &self.options())?)
    }

    /// The request `after` so many others from now meets `fault`.
    pub fn meet(&self, after: usize, fault: Fault) {
        let mut state = lock(&self.state);
        let number = state.seen.len() + after;
        state.faults.insert(number, fault);
    }

    /// Every request meets `fault` from now on; `None` ends that.
    pub fn always(&self, fault: Option<Fault>) {
        lock(&self.state).always = fault;
    }

    /// The requests that came, as `PUT /bucket/key?query`.
    pub fn seen(&self) -> Vec<String> {
        lock(&self.state).seen.clone()
    }

    /// How many files of unfinished uploads lie in it.
    ///
    /// # Errors
    /// Where its folder cannot be read.
    pub fn leftovers(&self) -> io::Result<usize> {
        let names = std::fs::read_dir(self.folder.path())?.map(|entry| Ok(entry?.file_name()));
        let names: io::Result<Vec<_>> = names.collect();
        Ok(names?.iter().filter(|name| name.to_string_lossy().contains("upload")).count())
    }
}

async fn accept(listener: TcpListener, service: S3Service, state: Arc<Mutex<State>>) {
    while let Ok((socket, _)) = listener.accept().await {
        tokio::spawn(connection(socket, service.clone(), state.clone()));
    }
}

async fn connection(socket: TcpStream, service: S3Service, state: Arc<Mutex<State>>) {
    let answer = service_fn(|request: Request<Incoming>| answer(request, &service, &state));
    // A connection that breaks is the client's to notice.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), answer).await;
}

async fn answer(
    request: Request<Incoming>,
    service: &S3Service,
    state: &Mutex<State>,
) -> Result<Response<Body>, io::Error> {
    let fault = {
        let mut state = lock(state);
        let number = state.seen.len();
        state.seen.push(format!("{} {}", request.method(), request.uri()));
        state.faults.remove(&number).or_else(|| state.always.clone())
    };
    match &fault {
        Some(Fault::Status(status, code)) => {
            let body = format!("<Error><Code>{code}</Code><Message>on purpose</Message></Error>");
            return Ok(said(*status, "application/xml", body));
        }
        Some(Fault::Says(status, kind, body)) => return Ok(said(*status, kind, (*body).to_owned())),
        Some(Fault::Slow(time)) => tokio::time::sleep(*time).await,
        Some(Fault::Half | Fault::ReplyLost) | None => {}
    }
    let response = service
        .call(request.map(s3s::Body::from))
        .await
        .map_err(|error| io::Error::other(format!("{error:?}")))?;
    match fault {
        Some(Fault::ReplyLost) => Err(io::Error::other("lost on purpose")),
        Some(Fault::Half) => {
            let (head, body) = response.into_parts();
            let bytes = body.collect().await.map_err(io::Error::other)?.to_bytes();
            let half = bytes.slice(..bytes.len() / 2);
            let frames = [Ok(Frame::data(half)), Err(io::Error::other("broken on purpose"))];
            Ok(Response::from_parts(head, BodyExt::boxed(StreamBody::new(stream::iter(frames)))))
        }
        Some(Fault::Status(..) | Fault::Says(..) | Fault::Slow(_)) | None => {
            Ok(response.map(|body| BodyExt::boxed(body.map_err(io::Error::other))))
        }
    }
}

fn said(status: u16, kind: &str, body: String) -> Response<Body> {
    let body = Full::new(Bytes::from(body)).map_err(|never: Infallible| match never {});
    let mut response = Response::new(BodyExt::boxed(body));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::IM_A_TEAPOT);
    if let Ok(kind) = kind.parse() {
        response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    }
    response
}
