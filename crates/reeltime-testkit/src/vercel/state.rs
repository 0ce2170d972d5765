//! What the store holds, and what it makes of a request.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use reeltime::store::PART;
use reeltime::store::vercel::Access;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::answer::Answer;
use super::{Fault, STORE_ID, TOKEN};

const MAX_PATHNAME: usize = 950;
const MOST_LISTED: usize = 1000;
const UPLOADED_AT: &str = "2026-01-02T03:04:05.678Z";
const TAKEN: &str = "This blob already exists, use `allowOverwrite: true` if you want to overwrite it. Or \
                     `addRandomSuffix: true` to generate a unique filename.";

/// A request that has come in whole.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Asked {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn has_token(&self) -> bool {
        self.header("authorization") == format!("Bearer {TOKEN}")
    }

    fn query(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }
}

#[derive(Debug)]
pub(super) struct Object {
    pub(super) bytes: Bytes,
    content_type: String,
    etag: String,
}

#[derive(Debug)]
struct Upload {
    key: String,
    parts: BTreeMap<u32, Bytes>,
}

#[derive(Debug)]
pub(super) struct State {
    access: Access,
    /// What the addresses of objects begin with.
    files: String,
    pub(super) objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Upload>,
    /// Names given out: uploads and suffixes.
    named: u64,
    pub(super) faults: VecDeque<Fault>,
    pub(super) read_faults: VecDeque<Fault>,
    pub(super) calls: Vec<String>,
}

/// A request that is refused ends with the answer that says so.
type Outcome = Result<Answer, Answer>;

fn bad_request(message: &str) -> Answer {
    Answer::error(400, "bad_request", message)
}

fn not_found() -> Answer {
    Answer::error(404, "not_found", "The requested blob does not exist")
}

impl State {
    pub(super) fn new(access: Access, files: String) -> Self {
        Self {
            access,
            files,
            objects: BTreeMap::new(),
            uploads: BTreeMap::new(),
            named: 0,
            faults: VecDeque::new(),
            read_faults: VecDeque::new(),
            calls: Vec::new(),
        }
    }

    pub(super) fn answer(&mut self, asked: &Asked) -> Answer {
        self.route(asked).unwrap_or_else(|refusal| refusal)
    }

    /// What this request meets.
    pub(super) fn fault(&mut self, asked: &Asked) -> Option<Fault> {
        let reads = self.reads(asked).is_some();
        if reads { &mut self.read_faults } else { &mut self.faults }.pop_front()
    }

    /// The path of the object that is read, where it is one.
    fn reads<'a>(&self, asked: &'a Asked) -> Option<&'a str> {
        let host = format!("{STORE_ID}.{}.blob.vercel-storage.com", self.access.as_str());
        if asked.header("host") == host {
            return Some(&asked.path);
        }
        asked.path.strip_prefix("/blob")
    }

    fn route(&mut self, asked: &Asked) -> Outcome {
        if let Some(path) = self.reads(asked) {
            return self.read(asked, path);
        }
        let path = asked.path.strip_prefix("/api/blob").ok_or_else(|| Answer::html(404))?;
        if !asked.has_token() || asked.header("x-vercel-blob-store-id") != STORE_ID {
            return Err(Answer::error(403, "forbidden", "Forbidden"));
        }
        let name = asked.query("pathname");
        match (asked.method.as_str(), path) {
            ("PUT", "" | "/") if asked.query.contains_key("fromUrl") => self.copy(asked),
            ("PUT", "" | "/") => {
                self.calls.push(format!("put {name}"));
                self.put(asked, asked.body.clone())
            }
            ("POST", "/mpu") => self.in_parts(asked),
            ("POST", "/delete") => self.delete(asked),
            ("GET", "" | "/") if asked.query.contains_key("url") => self.head(asked),
            ("GET", "" | "/") => self.list(asked),
            _ => Err(bad_request("this fake does not know that")),
        }
    }

    /// The path that a write is for, once everything about it is right.
    fn writable(&mut self, asked: &Asked) -> Result<String, Answer> {
        let pathname = asked.query("pathname");
        if pathname.is_empty() || pathname.encode_utf16().count() > MAX_PATHNAME || pathname.contains("//") {
            return Err(bad_request("Invalid pathname"));
        }
        let (asks, is) = (asked.header("x-vercel-blob-access"), self.access.as_str());
        if asks != is {
            return Err(bad_request(&format!("Cannot use {asks} access on a {is} store")));
        }
        let pathname = match asked.header("x-add-random-suffix") {
            "1" => self.suffixed(pathname),
            _ => pathname.to_owned(),
        };
        if self.objects.contains_key(&pathname) && asked.header("x-allow-overwrite") != "1" {
            return Err(bad_request(TAKEN));
        }
        Ok(pathname)
    }

    fn suffixed(&mut self, pathname: &str) -> String {
        self.named += 1;
        let (stem, extension) = pathname.rsplit_once('.').unwrap_or((pathname, ""));
        let dot = if extension.is_empty() { "" } else { "." };
        format!("{stem}-suffix{}{dot}{extension}", self.named)
    }

    fn put(&mut self, asked: &Asked, bytes: Bytes) -> Outcome {
        let pathname = self.writable(asked)?;
        Ok(self.insert(asked, pathname, bytes))
    }

    fn insert(&mut self, asked: &Asked, pathname: String, bytes: Bytes) -> Answer {
        let content_type = match asked.header("x-content-type") {
            "" => guessed_type(&pathname).to_owned(),
            told => told.to_owned(),
        };
        let etag = etag(&bytes);
        self.objects.insert(pathname.clone(), Object { bytes, content_type, etag });
        Answer::json(&self.described(&pathname))
    }

    /// What the API says of an object: more to a `head` than after a write, which does no harm.
    fn described(&self, pathname: &str) -> Value {
        let object = &self.objects[pathname];
        let url = self.url(pathname);
        let file = pathname.rsplit('/').next().unwrap_or_default();
        json!({
            "url": url,
            "downloadUrl": format!("{url}?download=1"),
            "pathname": pathname,
            "size": object.bytes.len(),
            "contentType": object.content_type,
            "contentDisposition": format!("inline; filename=\"{file}\""),
            "cacheControl": "public, max-age=2592000",
            "uploadedAt": UPLOADED_AT,
            "etag": object.etag,
        })
    }

    fn url(&self, pathname: &str) -> String {
        let encoded = pathname.split('/').map(encoded).collect::<Vec<_>>().join("/");
        format!("{}/{encoded}", self.files)
    }

    /// An object by its address or its path.
    fn at(&self, url_or_path: &str) -> Option<&str> {
        let path = match url_or_path.strip_prefix(&format!("{}/", self.files)) {
            Some(path) => &decoded(path)?,
            None => url_or_path,
        };
        self.objects.get_key_value(path).map(|(key, _)| key.as_str())
    }

    fn head(&self, asked: &Asked) -> Outcome {
        let pathname = self.at(asked.query("url")).ok_or_else(not_found)?;
        Ok(Answer::json(&self.described(pathname)))
    }

    fn copy(&mut self, asked: &Asked) -> Outcome {
        let from = self.at(asked.query("fromUrl")).ok_or_else(not_found)?;
        let bytes = self.objects[from].bytes.clone();
        self.put(asked, bytes)
    }

    fn delete(&mut self, asked: &Asked) -> Outcome {
        let body: Value = serde_json::from_slice(&asked.body).map_err(|_| bad_request("malformed"))?;
        let urls = body["urls"].as_array().ok_or_else(|| bad_request("Missing urls in request body"))?;
        for url in urls.iter().filter_map(Value::as_str) {
            self.calls.push(format!("delete {url}"));
            if let Some(pathname) = self.at(url).map(str::to_owned) {
                self.objects.remove(&pathname);
            }
        }
        Ok(Answer::json(&Value::Null))
    }

    fn list(&mut self, asked: &Asked) -> Outcome {
        if asked.query("mode") == "folded" {
            return Err(bad_request("this fake does not fold lists"));
        }
        let (prefix, cursor) = (asked.query("prefix"), asked.query("cursor"));
        self.calls.push(format!("list {prefix}"));
        let limit = asked.query("limit").parse().unwrap_or(MOST_LISTED).min(MOST_LISTED);
        let mut names: Vec<_> = self
            .objects
            .keys()
            .filter(|name| name.starts_with(prefix) && (cursor.is_empty() || name.as_str() > cursor))
            .take(limit + 1)
            .collect();
        let more = names.len() > limit;
        names.truncate(limit);
        let blobs: Vec<_> = names.iter().map(|name| self.described(name)).collect();
        let mut page = json!({ "blobs": blobs, "hasMore": more });
        if more {
            page["cursor"] = json!(names.last());
        }
        Ok(Answer::json(&page))
    }

    fn in_parts(&mut self, asked: &Asked) -> Outcome {
        let action = asked.header("x-mpu-action").to_owned();
        self.calls.push(format!("{action} {}", asked.query("pathname")));
        if action == "create" {
            let key = self.writable(asked)?;
            self.named += 1;
            let id = format!("upload/{}+{STORE_ID}", self.named);
            self.uploads.insert(id.clone(), Upload { key: key.clone(), parts: BTreeMap::new() });
            return Ok(Answer::json(&json!({ "uploadId": id, "key": key })));
        }
        let id = asked.header("x-mpu-upload-id").to_owned();
        let key = decoded(asked.header("x-mpu-key"));
        let upload = self.uploads.get_mut(&id).filter(|upload| Some(&upload.key) == key.as_ref());
        let upload = upload.ok_or_else(not_found)?;
        match action.as_str() {
            "upload" => upload_part(upload, asked),
            "complete" => self.complete(&id, asked),
            _ => Err(bad_request("Invalid x-mpu-action")),
        }
    }

    fn complete(&mut self, id: &str, asked: &Asked) -> Outcome {
        let named: Vec<Value> = serde_json::from_slice(&asked.body).map_err(|_| bad_request("malformed"))?;
        let upload = &self.uploads[id];
        let mut parts = BTreeMap::new();
        for part in &named {
            let number = part["partNumber"].as_u64().unwrap_or_default() as u32;
            let bytes = upload.parts.get(&number).filter(|bytes| part["etag"] == etag(bytes));
            parts.insert(number, bytes.ok_or_else(|| bad_request("Invalid part"))?.clone());
        }
        let last = parts.keys().last().copied().unwrap_or_default();
        if parts.iter().any(|(number, bytes)| *number != last && bytes.len() < PART) {
            return Err(bad_request("A part is smaller than 5 MB"));
        }
        // With a random suffix the name was made when the upload began, and is free.
        let pathname = upload.key.clone();
        if self.objects.contains_key(&pathname) && asked.header("x-allow-overwrite") != "1" {
            return Err(bad_request(TAKEN));
        }
        self.uploads.remove(id);
        let whole = parts.into_values().collect::<Vec<_>>().concat();
        Ok(self.insert(asked, pathname, whole.into()))
    }

    fn read(&self, asked: &Asked, path: &str) -> Outcome {
        if self.access == Access::Private && !asked.has_token() {
            return Err(Answer::new(403, "Forbidden".into()));
        }
        let missing = || Answer::new(404, "Not found".into());
        let pathname = decoded(path.trim_start_matches('/')).ok_or_else(missing)?;
        let object = self.objects.get(&pathname).ok_or_else(missing)?;
        if asked.header("if-none-match") == object.etag {
            return Ok(Answer::new(304, Bytes::new()).with("etag", &object.etag));
        }
        let answer = match range(asked.header("range"), object.bytes.len()) {
            None => Answer::new(200, object.bytes.clone()),
            Some(Err(())) => return Err(Answer::new(416, Bytes::new())),
            Some(Ok((start, end))) => {
                let told = format!("bytes {start}-{}/{}", end - 1, object.bytes.len());
                Answer::new(206, object.bytes.slice(start..end)).with("content-range", told)
            }
        };
        Ok(answer
            .with("content-type", &object.content_type)
            .with("etag", &object.etag)
            .with("cache-control", "public, max-age=2592000"))
    }
}

fn upload_part(upload: &mut Upload, asked: &Asked) -> Outcome {
    let number =
        asked.header("x-mpu-part-number").parse().ok().filter(|number| (1..=10_000).contains(number));
    let number = number.ok_or_else(|| bad_request("Invalid part number"))?;
    upload.parts.insert(number, asked.body.clone());
    Ok(Answer::json(&json!({ "etag": etag(&asked.body) })))
}

/// With quotes, as the service's are.
fn etag(bytes: &[u8]) -> String {
    format!("\"{:08x}-{}\"", crc32c::crc32c(bytes), bytes.len())
}

/// `bytes=a-b` and `bytes=a-` in an object of `size` bytes; `None` where there is no range.
fn range(header: &str, size: usize) -> Option<Result<(usize, usize), ()>> {
    let (start, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let start: usize = start.parse().ok()?;
    let end = last.parse().map_or(size, |last: usize| last.saturating_add(1)).min(size);
    Some(if start < end { Ok((start, end)) } else { Err(()) })
}

fn guessed_type(pathname: &str) -> &'static str {
    match pathname.rsplit('.').next().unwrap_or_default() {
        "wav" => "audio/wav",
        "flac" => "audio/flac",
        "ogg" => "audio/ogg",
        "json" => "application/json",
        "txt" => "text/plain",
        _ => "application/octet-stream",
    }
}

/// A component of a path, percent-encoded.
fn encoded(component: &str) -> String {
    form_urlencoded::byte_serialize(component.as_bytes()).collect::<String>().replace('+', "%20")
}

/// Of [`encoded`], of JavaScript's `encodeURIComponent`, and of a path: what means something in forms alone stays.
fn decoded(text: &str) -> Option<String> {
    let text = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    let mut pairs = form_urlencoded::parse(text.as_bytes());
    pairs.next().map(|(name, _)| name.into_owned())
}
