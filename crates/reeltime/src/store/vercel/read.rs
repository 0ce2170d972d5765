//! Reading an object from its own address.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use reqwest::header::RANGE;
use reqwest::{Response, StatusCode};
use tokio::time::timeout;

use super::api::{Api, TIMEOUT, check};
use super::failure::Failure;
use crate::store::{ByteSender, ByteStream};

/// Chunks read ahead of whoever reads.
const READ_AHEAD: usize = 2;
const NOT_ALLOWED: &str =
    "it may not be read: vercel_access has to say what the store is, and the token to be the store's";

/// What is still to be read of an object.
pub(super) struct Read {
    api: Api,
    url: String,
    left: Range<u64>,
}

impl Read {
    /// The bytes of `range`, which lie within the object at `url`.
    pub(super) fn new(api: &Api, url: String, range: Range<u64>) -> Self {
        Self { api: api.clone(), url, left: range }
    }

    /// Begins to read.
    pub(super) async fn open(self) -> Result<ByteStream, Failure> {
        if self.left.is_empty() {
            return Ok(Bytes::new().into());
        }
        let response = self.ask().await?;
        let (sender, body) = ByteStream::channel(READ_AHEAD);
        tokio::spawn(self.pump(response, sender));
        Ok(body)
    }

    async fn ask(&self) -> Result<Response, Failure> {
        let range = format!("bytes={}-{}", self.left.start, self.left.end - 1);
        let request = self.api.read(&self.url)?.header(RANGE, range);
        let answer = async {
            let response = request.send().await.map_err(Failure::no_answer)?;
            match response.status() {
                // Of an object's own address each is an answer, with words for people or none.
                StatusCode::NOT_FOUND => Err(Failure::Missing),
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    Err(Failure::Refused(NOT_ALLOWED.to_owned()))
                }
                _ => check(response).await,
            }
        };
        let slow = |_| Failure::Away(format!("no answer within {} s", TIMEOUT.as_secs()));
        timeout(TIMEOUT, answer).await.map_err(slow)?
    }

    /// Hands on what comes. What breaks off is asked for again from there, as long as each answer brings something.
    async fn pump(mut self, mut response: Response, sender: ByteSender) {
        let outcome = loop {
            let before = self.left.start;
            let Err(error) = self.hand_on(response, &sender).await else { break Ok(()) };
            if self.left.start == before {
                break Err(error);
            }
            response = match self.ask().await {
                Ok(response) => response,
                Err(_) => break Err(error),
            };
        };
        // Whoever reads may have gone away, and is told of nothing then.
        let _ = match outcome {
            Ok(()) => sender.finish().await,
            Err(error) => sender.fail(error).await,
        };
    }

    /// To the end, or until nobody reads any more. A store that does not know ranges sends everything.
    async fn hand_on(&mut self, mut response: Response, sender: &ByteSender) -> io::Result<()> {
        let mut skip = if response.status() == StatusCode::PARTIAL_CONTENT { 0 } else { self.left.start };
        while !self.left.is_empty() {
            let chunk = timeout(TIMEOUT, response.chunk()).await?.map_err(io::Error::other)?;
            let mut chunk = chunk.ok_or(io::ErrorKind::UnexpectedEof)?;
            let skipped = chunk.split_to((chunk.len() as u64).min(skip) as usize);
            skip -= skipped.len() as u64;
            chunk.truncate((chunk.len() as u64).min(self.left.end - self.left.start) as usize);
            self.left.start += chunk.len() as u64;
            if !chunk.is_empty() && sender.send(chunk).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}
