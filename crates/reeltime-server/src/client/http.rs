//! One GET at a server, with its key.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use secrecy::SecretString;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::tls::{Stream, Trust};
use super::{Key, Target};
use crate::exit::Usage;
use crate::settings::reveal;

/// How long a server may take to accept a connection.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);
/// How long it may take to begin its answer: making a file may take a while before its first byte.
const ANSWER: Duration = Duration::from_secs(120);
/// The most bytes of JSON that are read.
const MOST_JSON: usize = 16 << 20;

/// A server, and how to be let in.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) target: Target,
    pub(crate) key: Option<SecretString>,
    /// Absent: no TLS is spoken.
    trust: Option<Trust>,
}

impl Client {
    /// A client of the server at `target`.
    ///
    /// # Errors
    /// Where TLS is asked for and nobody can be trusted.
    pub(crate) fn new(target: Target, key: Key) -> anyhow::Result<Self> {
        let trust = target.is_secure().then(|| Trust::new(key.ca.as_deref())).transpose()?;
        Ok(Self { target, key: key.key, trust })
    }

    /// Connects; an error says what to look at.
    pub(crate) async fn connect(&self) -> anyhow::Result<Stream> {
        let connecting = TcpStream::connect(self.target.address());
        let stream = match timeout(CONNECT, connecting).await {
            Ok(connected) => connected.with_context(|| format!("no server answers at {}", self.target))?,
            Err(_) => bail!("no server answers at {} within {} s", self.target, CONNECT.as_secs()),
        };
        stream.set_nodelay(true)?;
        let Some(trust) = &self.trust else { return Ok(Box::new(stream)) };
        match timeout(CONNECT, trust.connect(self.target.name(), stream)).await {
            Ok(connected) => connected.with_context(|| {
                format!("no TLS with {}; a private authority's certificate is named with --ca", self.target)
            }),
            Err(_) => bail!("no TLS with {} within {} s", self.target, CONNECT.as_secs()),
        }
    }

    /// The head of the answer to a GET, and its body still to come. An answer that is none is an error with the
    /// server's own words.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Response<Incoming>> {
        let stream = self.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the body.
        tokio::spawn(connection);
        let mut path = self.target.path(path);
        if !query.is_empty() {
            path.push('?');
            path = form_urlencoded::Serializer::new(path).extend_pairs(query).finish();
        }
        let mut request = Request::get(path).header(header::HOST, self.target.host());
        if let Some(key) = &self.key {
            request = request.header(header::AUTHORIZATION, bearer(key)?);
        }
        let answering = sender.send_request(request.body(Empty::<Bytes>::new())?);
        let Ok(answer) = timeout(ANSWER, answering).await else {
            bail!("{} did not answer within {} s", self.target, ANSWER.as_secs());
        };
        let answer = answer.with_context(|| format!("{} speaks no HTTP", self.target))?;
        match answer.status() {
            StatusCode::OK => Ok(answer),
            status => Err(self.refused(status, answer.into_body()).await),
        }
    }

    /// A JSON document.
    pub(crate) async fn json(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let answer = self.get(path, query).await?;
        let body = all(answer.into_body()).await?;
        serde_json::from_slice(&body).with_context(|| format!("{} is no reeltime server", self.target))
    }

    async fn refused(&self, status: StatusCode, body: Incoming) -> anyhow::Error {
        let body = all(body).await.unwrap_or_default();
        explain(&self.target, status, &body)
    }
}

/// Why a server refused, in its own words where it has some (RFC 9457).
pub(crate) fn explain(target: &Target, status: StatusCode, body: &[u8]) -> anyhow::Error {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let detail = problem["detail"].as_str().map(|detail| super::printable(detail, 500));
    match (status, detail) {
        (StatusCode::UNAUTHORIZED, _) => {
            anyhow::anyhow!("{target} asks for a key: give it with --api-key or REELTIME_API_KEY")
        }
        (_, Some(detail)) => anyhow::anyhow!("{target}: {detail} ({})", status.as_u16()),
        (_, None) => anyhow::anyhow!("{target} answered {status}: is it a reeltime server?"),
    }
}

async fn all(body: Incoming) -> anyhow::Result<Bytes> {
    match Limited::new(body, MOST_JSON).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => bail!("the answer broke off: {error}"),
    }
}

/// The value of `Authorization`, which shows itself in no log.
pub(crate) fn bearer(key: &SecretString) -> Result<HeaderValue, Usage> {
    let value = [b"Bearer ", reveal(key)].concat();
    let mut value = HeaderValue::from_bytes(&value)
        .map_err(|_| Usage("the key (--api-key) holds characters that no key has".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}
