//! The requests, one method each.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, Url};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use super::failure::{Failure, refused};
use super::{Access, VercelOptions};
use crate::store::{PartTag, StoreError};

const API_URL: &str = "https://vercel.com/api/blob";
const API_VERSION: &str = "12";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For a request and its whole answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// For a request with a body of up to a part: it gets through at 45 kB/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(120);
/// Attempts at a request that may be made twice. To outlast an outage is for whoever calls.
const TRIES: u32 = 4;
/// Before the second attempt; doubled each time, and up to half as much again by chance.
const WAIT: Duration = Duration::from_millis(100);
/// The longest answer of the API that is read, in bytes: a page of the list with paths as long as they may be.
const MOST_ANSWER: usize = 16 << 20;
/// Objects on a page of the list; the API has no larger ones.
const PAGE: &str = "1000";

/// The API of one store.
#[derive(Clone)]
pub(super) struct Api {
    http: Client,
    url: Url,
    authorization: HeaderValue,
    store_id: String,
    access: Access,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, store_id, access, .. } = self;
        f.debug_struct("Api")
            .field("url", &url.as_str())
            .field("store_id", store_id)
            .field("access", access)
            .finish()
    }
}

/// Where an object lies, and what it is.
pub(super) struct At {
    pub(super) pathname: String,
    pub(super) mime: &'static str,
}

/// What the API knows of one object.
#[derive(Deserialize)]
pub(super) struct Found {
    pub(super) url: String,
    pub(super) size: u64,
}

/// An object in a list.
#[derive(Deserialize)]
pub(super) struct Listed {
    pub(super) pathname: String,
    pub(super) size: u64,
}

/// A page of a list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    pub(super) blobs: Vec<Listed>,
    pub(super) cursor: Option<String>,
    #[serde(default)]
    pub(super) has_more: bool,
}

/// An upload in parts, which the API knows by two names.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Upload {
    upload_id: String,
    key: String,
}

impl Upload {
    /// Both names as one text.
    pub(super) fn to_text(&self) -> String {
        format!("{} {}", self.upload_id, self.key)
    }

    /// Of [`Self::to_text`]; `None` where it is no such text.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let (upload_id, key) = text.split_once(' ')?;
        Some(Self { upload_id: upload_id.to_owned(), key: key.to_owned() })
    }
}

#[derive(Deserialize)]
struct Etag {
    etag: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    part_number: usize,
    etag: &'a str,
}

impl Api {
    pub(super) fn new(options: &VercelOptions) -> Result<Self, StoreError> {
        let (authorization, store_id) = check_token(&options.token)?;
        let url = options.api_url.as_deref().unwrap_or(API_URL).trim_end_matches('/');
        let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url =
            url.ok_or_else(|| refused("VERCEL_BLOB_API_URL", "it is no http:// or https:// address"))?;
        // Another part of the process may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().connect_timeout(CONNECT_TIMEOUT).build();
        let http = http.map_err(|error| refused("TLS for Vercel Blob", error.to_string()))?;
        Ok(Self { http, url, authorization, store_id, access: options.access })
    }

    pub(super) async fn put(&self, at: &At, body: Bytes) -> Result<(), Failure> {
        let request = self.writes(Method::PUT, "/", at).body(body).timeout(BODY_TIMEOUT);
        // The answer has the object's addresses, which are asked for when they are needed.
        let _: IgnoredAny = answer(request, 0).await?;
        Ok(())
    }

    pub(super) async fn head(&self, at: &At) -> Result<Found, Failure> {
        answer_patiently(self.request(Method::GET, "", &[("url", &at.pathname)])).await
    }

    pub(super) async fn list(&self, prefix: &str, cursor: Option<&str>) -> Result<Page, Failure> {
        let given = [("limit", Some(PAGE)), ("prefix", Some(prefix)), ("cursor", cursor)];
        let query: Vec<_> = given
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)))
            .collect();
        answer_patiently(self.request(Method::GET, "", &query)).await
    }

    pub(super) async fn delete(&self, at: &At) -> Result<(), Failure> {
        let request = self.request(Method::POST, "/delete", &[]);
        let request = request.json(&serde_json::json!({ "urls": [at.pathname] }));
        // `null`, whether there was an object or not.
        let _: IgnoredAny = answer_patiently(request).await?;
        Ok(())
    }

    pub(super) async fn create(&self, at: &At) -> Result<Upload, Failure> {
        answer_patiently(self.in_parts("create", at)).await
    }

    pub(super) async fn upload(
        &self,
        at: &At,
        upload: &Upload,
        number: u32,
        body: Bytes,
    ) -> Result<String, Failure> {
        let request = of_upload(self.in_parts("upload", at), upload)
            .header("x-mpu-part-number", number)
            .body(body)
            .timeout(BODY_TIMEOUT);
        let part: Etag = answer_patiently(request).await?;
        Ok(part.etag)
    }

    pub(super) async fn complete(&self, at: &At, upload: &Upload, parts: &[PartTag]) -> Result<(), Failure> {
        let parts: Vec<_> =
            (1..).zip(parts).map(|(part_number, tag)| Part { part_number, etag: &tag.0 }).collect();
        let request = of_upload(self.in_parts("complete", at), upload);
        let _: IgnoredAny = answer(request.json(&parts).timeout(BODY_TIMEOUT), 0).await?;
        Ok(())
    }

    /// A request for an object's bytes at `url`, which the API has answered. The token goes along where it must.
    pub(super) fn read(&self, url: &str) -> Result<RequestBuilder, Failure> {
        let url = Url::parse(url).map_err(|_| Failure::NotTheService)?;
        if url.scheme() != "https" && url.scheme() != self.url.scheme() {
            return Err(Failure::NotTheService);
        }
        let request = self.http.get(url);
        Ok(match self.access {
            Access::Private => request.header(AUTHORIZATION, self.authorization.clone()),
            Access::Public => request,
        })
    }

    fn request(&self, method: Method, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.http
            .request(method, format!("{}{path}", self.url.as_str().trim_end_matches('/')))
            .query(query)
            .timeout(TIMEOUT)
            .header(AUTHORIZATION, self.authorization.clone())
            .header("x-api-version", API_VERSION)
            .header("x-vercel-blob-store-id", &self.store_id)
            .header("x-api-blob-request-id", format!("{}:{now}:{:x}", self.store_id, fastrand::u64(..)))
    }

    fn writes(&self, method: Method, path: &str, at: &At) -> RequestBuilder {
        self.request(method, path, &[("pathname", &at.pathname)])
            .header("x-vercel-blob-access", self.access.as_str())
            .header("x-add-random-suffix", "0")
            .header("x-allow-overwrite", "0")
            .header("x-content-type", at.mime)
    }

    fn in_parts(&self, action: &str, at: &At) -> RequestBuilder {
        self.writes(Method::POST, "/mpu", at).header("x-mpu-action", action)
    }
}

/// The header with the token, and the id of its store: `vercel_blob_rw_{store}_{secret}`.
fn check_token(token: &str) -> Result<(HeaderValue, String), StoreError> {
    let malformed = || {
        let why =
            "it is not of the form vercel_blob_rw_…: copy it from the store's page in Vercel's dashboard";
        refused("BLOB_READ_WRITE_TOKEN", why)
    };
    let token = token.trim();
    let store_id = token.strip_prefix("vercel_blob_rw_").and_then(|rest| rest.split('_').next());
    let store_id = store_id.filter(|id| !id.is_empty()).ok_or_else(malformed)?;
    let mut header = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| malformed())?;
    header.set_sensitive(true);
    Ok((header, store_id.to_owned()))
}

fn of_upload(request: RequestBuilder, upload: &Upload) -> RequestBuilder {
    let key: String = form_urlencoded::byte_serialize(upload.key.as_bytes()).collect();
    request.header("x-mpu-upload-id", &upload.upload_id).header("x-mpu-key", key.replace('+', "%20"))
}

/// As [`answer`], again while that may help: for what may be done twice.
async fn answer_patiently<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, Failure> {
    let mut wait = WAIT;
    for attempt in 0..TRIES - 1 {
        let Some(same) = request.try_clone() else { break };
        match answer(same, attempt).await {
            Err(Failure::Away(_)) => tokio::time::sleep(wait.mul_f64(1.0 + fastrand::f64() / 2.0)).await,
            done => return done,
        }
        wait *= 2;
    }
    answer(request, TRIES - 1).await
}

/// Sends a request and reads the answer, which is JSON.
async fn answer<T: DeserializeOwned>(request: RequestBuilder, attempt: u32) -> Result<T, Failure> {
    let request = request.header("x-api-blob-request-attempt", attempt);
    let response = request.send().await.map_err(Failure::no_answer)?;
    let response = check(response).await?;
    let body = whole(response).await?;
    serde_json::from_slice(&body).map_err(|_| Failure::NotTheService)
}

/// The response, where it is a success.
pub(super) async fn check(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let body = whole(response).await?;
    Err(Failure::said(status, retry_after, &body))
}

async fn whole(mut response: Response) -> Result<Bytes, Failure> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(Failure::no_answer)? {
        if body.len() + chunk.len() > MOST_ANSWER {
            return Err(Failure::NotTheService);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
