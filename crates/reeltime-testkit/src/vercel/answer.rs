//! Answers as the service gives them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use serde_json::{Value, json};

/// An answer before it is sent.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Answer {
    pub(super) fn new(status: u16, body: Bytes) -> Self {
        Self { status, headers: Vec::new(), body }
    }

    pub(super) fn json(value: &Value) -> Self {
        Self::new(200, value.to_string().into()).with("content-type", "application/json")
    }

    /// An error as the API spells it: a status, its code and words.
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        let error = json!({ "error": { "code": code, "message": message } });
        Self { status, ..Self::json(&error) }
    }

    pub(super) fn html(status: u16) -> Self {
        let page = "<!doctype html><title>Not what you asked for</title>";
        Self::new(status, page.into()).with("content-type", "text/html")
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn retry_after(self, seconds: Option<u32>) -> Self {
        match seconds {
            Some(seconds) => self.with("retry-after", seconds.to_string()),
            None => self,
        }
    }

    pub(super) fn into_response(self) -> Response<Reply> {
        self.respond(false)
    }

    /// With the whole length told, and half of it sent.
    pub(super) fn into_cut_response(self) -> Response<Reply> {
        self.respond(true)
    }

    fn respond(self, cut: bool) -> Response<Reply> {
        let told = self.body.len() as u64;
        let sent = if cut { self.body.slice(..self.body.len() / 2) } else { self.body };
        let mut response = Response::new(Reply { told, next: Next::Bytes(sent), cut });
        *response.status_mut() = hyper::StatusCode::from_u16(self.status).expect("a status of HTTP");
        for (name, value) in self.headers {
            let value = value.parse().expect("a test's header is one");
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// A body that may end before its time.
#[derive(Debug)]
pub(super) struct Reply {
    told: u64,
    next: Next,
    cut: bool,
}

#[derive(Debug)]
enum Next {
    Bytes(Bytes),
    Pause,
    End,
}

impl Body for Reply {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match std::mem::replace(&mut self.next, Next::End) {
            Next::Bytes(bytes) => {
                self.next = Next::Pause;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            // While this waits, what there was is sent.
            Next::Pause if self.cut => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Next::End if self.cut => Poll::Ready(Some(Err(io::Error::other("told to cut the reply")))),
            Next::Pause | Next::End => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        !self.cut && self.told == 0
    }

    fn size_hint(&self) -> SizeHint {
        match &self.next {
            Next::Bytes(_) => SizeHint::with_exact(self.told),
            Next::Pause | Next::End => SizeHint::default(),
        }
    }
}
