//! Reading an object from its own address.

use std::io;
use std::ops::Range;

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

/// The bytes of `range`, which lie within the object at `url`.
pub(super) async fn open(api: &Api, url: &str, range: Range<u64>) -> Result<ByteStream, Failure> {
    if range.is_empty() {
        return Ok(bytes::Bytes::new().into());
    }
    let request = api.read(url)?.header(RANGE, format!("bytes={}-{}", range.start, range.end - 1));
    let response = timeout(TIMEOUT, request.send()).await.map_err(|_| slow())?.map_err(Failure::no_answer)?;
    let response = match response.status() {
        // Of an object's own address each is an answer, with words for people or none.
        StatusCode::NOT_FOUND => return Err(Failure::Missing),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(Failure::Refused(NOT_ALLOWED.to_owned()));
        }
        _ => check(response).await?,
    };
    let skip = if response.status() == StatusCode::PARTIAL_CONTENT { 0 } else { range.start };
    let (sender, body) = ByteStream::channel(READ_AHEAD);
    tokio::spawn(pump(response, skip, range.end - range.start, sender));
    Ok(body)
}

fn slow() -> Failure {
    Failure::Away(format!("no answer within {} s", TIMEOUT.as_secs()))
}

/// Hands on `length` bytes after the first `skip`: a store that does not know ranges sends everything.
async fn pump(response: Response, skip: u64, length: u64, sender: ByteSender) {
    // Whoever reads may have gone away, and is told of nothing then.
    let _ = match hand_on(response, skip, length, &sender).await {
        Ok(()) => sender.finish().await,
        Err(error) => sender.fail(error).await,
    };
}

async fn hand_on(
    mut response: Response,
    mut skip: u64,
    mut left: u64,
    sender: &ByteSender,
) -> io::Result<()> {
    while left > 0 {
        let chunk = timeout(TIMEOUT, response.chunk()).await?.map_err(io::Error::other)?;
        let mut chunk = chunk.ok_or(io::ErrorKind::UnexpectedEof)?;
        let skipped = chunk.split_to((chunk.len() as u64).min(skip) as usize);
        skip -= skipped.len() as u64;
        chunk.truncate((chunk.len() as u64).min(left) as usize);
        left -= chunk.len() as u64;
        if !chunk.is_empty() && sender.send(chunk).await.is_err() {
            break;
        }
    }
    Ok(())
}
