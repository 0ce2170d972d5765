//! What the service said instead of doing it, in words for a person.

use std::error::Error;

use reeltime_core::keys::ObjectKey;
use reqwest::StatusCode;
use serde::Deserialize;

use crate::store::StoreError;

/// As much of the service's own words as is told on, in characters.
const MOST_WORDS: usize = 200;

/// Why a request came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no such object or upload.
    Missing,
    /// The path has an object already.
    Taken,
    /// What answered is not Vercel Blob.
    NotTheService,
    /// It may work at once, or later.
    Away(String),
    /// It may work later, and is not to be tried at once.
    Busy(String),
    /// It will not, until somebody changes something.
    Refused(String),
}

pub(super) fn refused(what: &str, why: impl Into<String>) -> StoreError {
    StoreError::Refused { what: what.to_owned(), why: why.into() }
}

impl Failure {
    /// As what happened to `key`.
    pub(super) fn of(self, key: &ObjectKey) -> StoreError {
        match self {
            Self::Missing => StoreError::NotFound { key: key.clone() },
            Self::Taken => StoreError::AlreadyExists { key: key.clone() },
            Self::NotTheService | Self::Away(_) | Self::Busy(_) | Self::Refused(_) => {
                self.of_text(key.as_str())
            }
        }
    }

    /// As what happened to the keys that begin with `what`.
    pub(super) fn of_text(self, what: &str) -> StoreError {
        let what = if what.is_empty() { "its list" } else { what }.to_owned();
        match self {
            Self::Away(why) | Self::Busy(why) => StoreError::Unavailable { what, why },
            Self::Refused(why) => StoreError::Refused { what, why },
            Self::Missing | Self::Taken | Self::NotTheService => {
                let why = "the answer is not one of Vercel Blob: look at VERCEL_BLOB_API_URL and at proxies on the way";
                StoreError::Refused { what, why: why.to_owned() }
            }
        }
    }

    /// No answer came, or not to its end; or there was no request to be made of what the service had said.
    pub(super) fn no_answer(error: reqwest::Error) -> Self {
        if error.is_builder() {
            return Self::NotTheService;
        }
        let at = error.url().map_or_else(|| "it".to_owned(), |url| url.origin().ascii_serialization());
        let error = error.without_url();
        let mut why = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            why = format!("{why}: {inner}");
            cause = inner.source();
        }
        Self::Away(format!(
            "{at} gives no answer ({why}): look at VERCEL_BLOB_API_URL, and at this machine's network"
        ))
    }

    /// An answer that is no success: its status, `Retry-After` in seconds, and the body.
    pub(super) fn said(status: StatusCode, retry_after: Option<u64>, body: &[u8]) -> Self {
        let Ok(Said { error }) = serde_json::from_slice(body) else {
            return Self::wordless(status, retry_after);
        };
        let words: String = error.message.chars().filter(|c| !c.is_control()).take(MOST_WORDS).collect();
        match error.code.as_str() {
            "not_found" => Self::Missing,
            "bad_request" if words.contains("already exists") => Self::Taken,
            "bad_request" if is_about_access(&words) => {
                Self::Refused(format!("{words} (the setting vercel_access says how the store was made)"))
            }
            "bad_request" if is_about_no_upload(&words) => Self::Missing,
            "forbidden" => Self::Refused(
                "the token is not valid for this store: put the store's BLOB_READ_WRITE_TOKEN from Vercel's dashboard in place".to_owned(),
            ),
            "store_not_found" => Self::Refused(
                "the token's store does not exist any more: make one in Vercel's dashboard and use its token".to_owned(),
            ),
            "store_suspended" => Self::Refused(
                "the store has been suspended: Vercel's dashboard says why (a plan's limit, or an unpaid bill)".to_owned(),
            ),
            "file_too_large" => Self::Refused(format!("it is too large for the store: {words}")),
            "rate_limited" => Self::busy(retry_after),
            "service_unavailable" | "internal_server_error" | "unknown_error" => {
                Self::Away(format!("the service is not available: {words}"))
            }
            _ if is_passing(status) || status == StatusCode::PAYLOAD_TOO_LARGE => {
                Self::wordless(status, retry_after)
            }
            code => Self::Refused(format!("{code} (HTTP {}): {words}", status.as_u16())),
        }
    }

    fn wordless(status: StatusCode, retry_after: Option<u64>) -> Self {
        match status {
            StatusCode::TOO_MANY_REQUESTS => Self::busy(retry_after),
            StatusCode::PAYLOAD_TOO_LARGE => Self::Refused("it is too large for the store".to_owned()),
            _ if is_passing(status) => Self::Away(format!("the service answers HTTP {}", status.as_u16())),
            _ => Self::NotTheService,
        }
    }

    fn busy(retry_after: Option<u64>) -> Self {
        let again = retry_after.map_or(String::new(), |seconds| format!(", try again in {seconds} s"));
        Self::Busy(format!("too many requests for the store's plan{again}"))
    }
}

fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

fn is_about_access(words: &str) -> bool {
    ["private store", "public store"].iter().any(|store| words.contains(store)) && words.contains("access")
}

fn is_about_no_upload(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    words.contains("upload") && (words.contains("not exist") || words.contains("not found"))
}

/// How the service says what went wrong.
#[derive(Deserialize)]
struct Said {
    error: Words,
}

#[derive(Deserialize)]
struct Words {
    code: String,
    #[serde(default)]
    message: String,
}
