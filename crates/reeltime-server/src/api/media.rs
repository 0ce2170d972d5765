//! A file over HTTP: which part of it is asked for (RFC 9110 §13, §14), and the headers that say what is sent. The
//! file may still grow: then it has no strong validator, and its total length is `*`.

use std::ops::Range;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reeltime::Error;
use reeltime::store::{ByteStream, StoreError};
use reeltime_core::range::{self, Resolved};

use crate::problem::{Problem, capitalised};

/// What is known of the file before any of it is read.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) mime: String,
    pub(crate) name: String,
    /// Bytes, as of now; unknown where the answer goes on while the file grows.
    pub(crate) length: Option<u64>,
    /// A validator, quoted; only of a file that is complete.
    pub(crate) etag: Option<String>,
}

/// What to send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The client has it already.
    NotModified,
    /// All of it.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// The range begins behind this length.
    Beyond(u64),
}

impl File {
    /// Answers a request for it; `read` gives all of it, or a range.
    pub(crate) async fn serve<R>(
        &self,
        method: &Method,
        headers: &HeaderMap,
        read: impl FnOnce(Option<Range<u64>>) -> R,
    ) -> Result<Response, Problem>
    where
        R: Future<Output = Result<ByteStream, Error>>,
    {
        let answer = self.answer(headers);
        let mut response = self.head(&answer);
        let range = match answer {
            Answer::Whole => None,
            Answer::Part(bytes) => Some(bytes),
            Answer::NotModified | Answer::Beyond(_) => return Ok(response),
        };
        *response.body_mut() = match *method {
            // Its length is not that of an empty body.
            Method::HEAD => Body::from_stream(futures_util::stream::empty::<std::io::Result<bytes::Bytes>>()),
            _ => Body::from_stream(read(range).await.map_err(unread)?),
        };
        Ok(response)
    }

    /// Reads the conditions and the range of a request, in the order of RFC 9110 §13.2.2.
    pub(crate) fn answer(&self, request: &HeaderMap) -> Answer {
        if request.get(header::IF_NONE_MATCH).is_some_and(|tags| self.is_among(tags)) {
            return Answer::NotModified;
        }
        let same = request.get(header::IF_RANGE).is_none_or(|tag| self.has_tag(tag.as_bytes()));
        let asked = request.get(header::RANGE).filter(|_| same).map(HeaderValue::as_bytes);
        match range::resolve(asked, self.length) {
            Resolved::Whole => Answer::Whole,
            Resolved::Bytes(bytes) => Answer::Part(bytes),
            Resolved::Unsatisfiable { length } => Answer::Beyond(length),
        }
    }

    /// Weak comparison (§8.8.3.2): a cache may have weakened our tag on its way.
    fn is_among(&self, tags: &HeaderValue) -> bool {
        let Ok(tags) = tags.to_str() else { return false };
        let Some(own) = self.etag.as_deref() else { return false };
        let mut tags = tags.split(',').map(str::trim);
        tags.any(|tag| tag == "*" || tag.trim_start_matches("W/") == own.trim_start_matches("W/"))
    }

    /// Strong comparison (§8.8.3.2): what a client has goes together with what it asks for.
    fn has_tag(&self, tag: &[u8]) -> bool {
        self.etag.as_ref().is_some_and(|own| !own.starts_with("W/") && own.as_bytes() == tag)
    }

    /// The head of the answer; the body is the caller's.
    pub(crate) fn head(&self, answer: &Answer) -> Response {
        let (status, length) = match answer {
            Answer::NotModified => (StatusCode::NOT_MODIFIED, None),
            Answer::Whole => (StatusCode::OK, self.length),
            Answer::Part(bytes) => (StatusCode::PARTIAL_CONTENT, Some(bytes.end - bytes.start)),
            Answer::Beyond(length) => return beyond(*length),
        };
        let mut response = status.into_response();
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(name, value);
            }
        };
        set(header::ACCEPT_RANGES, "bytes");
        set(
            header::CACHE_CONTROL,
            if self.etag.is_some() { "private, no-cache" } else { "private, no-store" },
        );
        set(header::CONTENT_TYPE, &self.mime);
        set(header::CONTENT_DISPOSITION, &format!("inline; filename={}", self.name));
        if let Some(etag) = &self.etag {
            set(header::ETAG, etag);
        }
        if let Some(length) = length {
            set(header::CONTENT_LENGTH, &length.to_string());
        }
        if let Answer::Part(bytes) = answer {
            // Only a complete file has a total.
            let total = self.length.filter(|_| self.etag.is_some());
            set(header::CONTENT_RANGE, &range::content_range(bytes, total));
        }
        response
    }
}

/// Whether a part of a file is asked for, and not all of it, as browsers ask for it at first.
pub(crate) fn wants_part(headers: &HeaderMap) -> bool {
    headers.get(header::RANGE).is_some_and(|range| range != "bytes=0-")
}

/// Why there are no bytes, as a client is told.
pub(crate) fn unread(error: Error) -> Problem {
    if matches!(error, Error::Store(StoreError::NotFound { .. })) {
        return Problem::new(StatusCode::GONE, "The file of this recording was removed from its store");
    }
    if matches!(error, Error::Busy { .. }) {
        let busy = Problem::new(StatusCode::SERVICE_UNAVAILABLE, capitalised(&error.to_string()));
        return busy.with(header::RETRY_AFTER, "5");
    }
    Problem::internal(error)
}

fn beyond(length: u64) -> Response {
    let detail = format!("The range begins behind the end: there are {length} bytes");
    let mut response = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, detail).into_response();
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{length}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(etag: Option<&str>) -> File {
        let etag = etag.map(str::to_owned);
        File { mime: "audio/wav".into(), name: "recording_x.wav".into(), length: Some(1000), etag }
    }

    fn asked(file: &File, headers: &[(&'static str, &'static str)]) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        file.answer(&map)
    }

    fn header<'a>(response: &'a Response, name: &str) -> &'a str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[test]
    fn a_complete_file_is_sent_whole_in_part_or_not_at_all() {
        let complete = file(Some("\"a\""));
        assert_eq!(asked(&complete, &[]), Answer::Whole);
        assert_eq!(asked(&complete, &[("range", "bytes=10-19")]), Answer::Part(10..20));
        assert_eq!(asked(&complete, &[("range", "bytes=1000-")]), Answer::Beyond(1000));
        for tags in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert_eq!(asked(&complete, &[("if-none-match", tags)]), Answer::NotModified, "{tags}");
        }
        assert_eq!(asked(&complete, &[("if-none-match", "\"b\"")]), Answer::Whole);
    }

    #[test]
    fn a_range_of_another_version_is_sent_whole() {
        let complete = file(Some("\"a\""));
        let range = ("range", "bytes=0-0");
        assert_eq!(asked(&complete, &[range, ("if-range", "\"a\"")]), Answer::Part(0..1));
        assert_eq!(asked(&complete, &[range, ("if-range", "W/\"a\"")]), Answer::Whole);
        assert_eq!(asked(&complete, &[range, ("if-range", "Wed, 21 Oct 2015 07:28:00 GMT")]), Answer::Whole);
        assert_eq!(asked(&file(None), &[range, ("if-range", "\"a\"")]), Answer::Whole);
    }

    #[test]
    fn a_file_of_the_same_sound_is_known_but_not_gone_on_with() {
        let made = file(Some("W/\"a\""));
        assert_eq!(asked(&made, &[("if-none-match", "\"a\"")]), Answer::NotModified);
        assert_eq!(asked(&made, &[("if-none-match", "W/\"a\"")]), Answer::NotModified);
        for tag in ["\"a\"", "W/\"a\""] {
            assert_eq!(asked(&made, &[("range", "bytes=0-0"), ("if-range", tag)]), Answer::Whole, "{tag}");
        }
    }

    #[test]
    fn a_growing_file_has_no_validator_and_no_total() {
        let live = file(None);
        let answer = asked(&live, &[("range", "bytes=0-9"), ("if-none-match", "*")]);
        let response = live.head(&answer);
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(header(&response, "content-range"), "bytes 0-9/*");
        assert_eq!((header(&response, "etag"), header(&response, "content-length")), ("", "10"));
    }

    #[test]
    fn the_head_says_what_is_sent() {
        let complete = file(Some("\"a\""));
        let whole = complete.head(&Answer::Whole);
        assert_eq!(header(&whole, "content-disposition"), "inline; filename=recording_x.wav");
        assert_eq!((header(&whole, "accept-ranges"), header(&whole, "content-length")), ("bytes", "1000"));
        assert_eq!((header(&whole, "etag"), header(&whole, "cache-control")), ("\"a\"", "private, no-cache"));
        let beyond = complete.head(&Answer::Beyond(1000));
        assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(header(&beyond, "content-range"), "bytes */1000");
        assert_eq!(header(&beyond, "content-type"), "application/problem+json");
    }

    #[test]
    fn while_following_a_range_is_ignored() {
        let following = File { length: None, ..file(None) };
        assert_eq!(asked(&following, &[("range", "bytes=5-")]), Answer::Whole);
        assert_eq!(header(&following.head(&Answer::Whole), "content-length"), "");
    }
}
