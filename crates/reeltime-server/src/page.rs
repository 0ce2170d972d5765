//! The page at `/`: built from `web/` and kept inside the binary, so that it is there without a network.

use std::io::{self, Write};
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::app::App;
use crate::problem::Problem;

/// A file of the page, under a name that changes with its content.
struct Asset {
    name: &'static str,
    bytes: &'static [u8],
}

// `INDEX` and `ASSETS`, written by the build of `web/` beside the files they name.
include!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/assets.rs"));

/// What the page's one inline style is let in by: the waveforms' own, in their shadow trees.
const NONCE: &str = "{{nonce}}";
/// What belongs to programs; below it nobody gets a page.
const PROGRAMS: [&str; 5] = ["/api", "/v1", "/ws", "/assets", "/metrics"];

struct Served {
    asset: &'static Asset,
    mime: &'static str,
    etag: String,
    gzip: Vec<u8>,
}

static SERVED: LazyLock<Vec<Served>> = LazyLock::new(|| ASSETS.iter().map(Served::from).collect());

/// The page and its files.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new().route("/", get(async || index())).route("/assets/{name}", get(file))
}

/// Whether a request that no route takes is a person's: their browser opens a place of the page by its path.
pub(crate) fn is_asked_for(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    let programs = PROGRAMS.iter().any(|prefix| path == *prefix || path.starts_with(&format!("{prefix}/")));
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    matches!(*method, Method::GET | Method::HEAD) && !programs && accepts.contains("text/html")
}

/// The page itself: never kept, since it names the files of this version.
pub(crate) fn index() -> Response {
    let nonce = Uuid::new_v4().simple().to_string();
    let policy = format!(
        "default-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; media-src 'self' blob:; \
         object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut response = Body::from(INDEX.replace(NONCE, &nonce)).into_response();
    set(&mut response, header::CONTENT_TYPE, "text/html; charset=utf-8");
    set(&mut response, header::CACHE_CONTROL, "no-store");
    set(&mut response, header::CONTENT_SECURITY_POLICY, &policy);
    set(&mut response, HeaderName::from_static("permissions-policy"), "microphone=(self), camera=()");
    response
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match SERVED.iter().find(|served| served.asset.name == name) {
        Some(served) => served.answer(&headers),
        None => Problem::new(StatusCode::NOT_FOUND, "The page has no such file").into_response(),
    }
}

impl Served {
    fn answer(&'static self, headers: &HeaderMap) -> Response {
        let tags = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
        let known = tags.is_some_and(|tags| tags.contains(&self.etag));
        let packed = takes_gzip(headers);
        let mut response = match (known, packed) {
            (true, _) => StatusCode::NOT_MODIFIED.into_response(),
            (false, true) => Body::from(self.gzip.as_slice()).into_response(),
            (false, false) => Body::from(self.asset.bytes).into_response(),
        };
        set(&mut response, header::CONTENT_TYPE, self.mime);
        set(&mut response, header::CACHE_CONTROL, "public, max-age=31536000, immutable");
        set(&mut response, header::VARY, "accept-encoding");
        // Weak: the packed bytes and the plain ones share it.
        set(&mut response, header::ETAG, &format!("W/{}", self.etag));
        if packed && !known {
            set(&mut response, header::CONTENT_ENCODING, "gzip");
        }
        response
    }
}

impl From<&'static Asset> for Served {
    fn from(asset: &'static Asset) -> Self {
        let hash = Sha256::digest(asset.bytes);
        let etag = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>();
        // Writing into memory does not fail.
        let gzip = gzip(asset.bytes).unwrap_or_default();
        Self { asset, mime: mime(asset.name), etag: format!("\"{etag}\""), gzip }
    }
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(bytes)?;
    packed.finish()
}

fn mime(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some(_) | None => "application/octet-stream",
    }
}

/// RFC 9110 §12.5.3: a coding that is named, and not with a weight of 0.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted =
        headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_person_gets_the_page_and_a_program_is_told() {
        let person = headers(header::ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8");
        let program = headers(header::ACCEPT, "*/*");
        for path in ["/r/some-id", "/anything", "/apiary"] {
            assert!(is_asked_for(&Method::GET, path, &person), "{path}");
            assert!(!is_asked_for(&Method::GET, path, &program), "{path}");
            assert!(!is_asked_for(&Method::POST, path, &person), "{path}");
        }
        for path in ["/api/v1/nothing", "/api", "/v1/ingest/nothing", "/ws/x", "/assets/gone.js"] {
            assert!(!is_asked_for(&Method::GET, path, &person), "{path}");
        }
    }

    #[test]
    fn the_page_names_only_files_that_are_there_and_each_answer_has_its_own_nonce() {
        let names = INDEX.split("/assets/").skip(1).filter_map(|rest| rest.split('"').next());
        let mut found = 0;
        for name in names {
            assert!(ASSETS.iter().any(|asset| asset.name == name), "{name}");
            found += 1;
        }
        assert!(found >= 2, "script and style");
        let policies: Vec<_> =
            [index(), index()].map(|page| page.headers()[header::CONTENT_SECURITY_POLICY].clone()).into();
        assert_ne!(policies[0], policies[1]);
        assert!(INDEX.contains(NONCE) && !INDEX.contains("http://") && !INDEX.contains("https://"));
    }

    #[test]
    fn a_file_is_packed_for_whom_takes_it_and_known_by_its_tag() {
        let served = &SERVED[0];
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(served.gzip.as_slice()).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, served.asset.bytes);
        let encoding = |accepted| {
            let answer = served.answer(&headers(header::ACCEPT_ENCODING, accepted));
            answer.headers().get(header::CONTENT_ENCODING).cloned()
        };
        assert_eq!(encoding("gzip, deflate, br"), Some(HeaderValue::from_static("gzip")));
        assert_eq!((encoding("br"), encoding("gzip;q=0")), (None, None));
        let plain = served.answer(&HeaderMap::new());
        let tag = plain.headers()[header::ETAG].clone();
        let again = served.answer(&HeaderMap::from_iter([(header::IF_NONE_MATCH, tag)]));
        assert_eq!((plain.status(), again.status()), (StatusCode::OK, StatusCode::NOT_MODIFIED));
    }

    #[test]
    fn all_of_the_page_is_small() {
        let packed: usize = SERVED.iter().map(|served| served.gzip.len()).sum();
        assert!(packed < 80 << 10, "{packed} bytes");
    }
}
