//! Who is let in.
//!
//! Without keys the server listens on loopback alone, and serves only requests that say so in `Host` and come from
//! no other page: a web page elsewhere, or a name that was rebound to 127.0.0.1, cannot reach it. With keys a
//! request needs one (`Authorization: Bearer`), a signed URL, or the cookie that the page was given for a key.

mod sign_in;

pub(crate) use sign_in::sign_out;

use std::net::IpAddr;

use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use reeltime_core::signing::{self, SignatureError};
use reeltime_core::time::UtcMicros;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::exit::Usage;
use crate::problem::{Problem, capitalised};
use crate::settings::reveal;

/// Everything belongs to one tenant until there are more.
pub(crate) const TENANT: &str = "default";

/// Served to everybody: probes carry no key, and the docs and the page hold nothing of anybody's.
const OPEN: &[&str] = &["/", "/healthz", "/readyz", "/api/docs", "/api/openapi.json"];
const OPEN_BELOW: &[&str] = &["/api/docs/", "/assets/", "/r/"];

/// On whose behalf a request is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) tenant: String,
}

type KeyHash = [u8; 32];

/// The checks that come before every route.
pub(crate) struct Guard {
    keys: Vec<KeyHash>,
    url_secret: Vec<u8>,
}

impl Guard {
    /// Keys are kept as their SHA-256 only.
    pub(crate) fn new(keys: &[SecretString], url_secret: Vec<u8>) -> Result<Self, Usage> {
        Ok(Self { keys: keys.iter().map(hash_of).collect::<Result<_, _>>()?, url_secret })
    }

    /// Lets a request in, or says why not.
    pub(crate) fn admit(&self, request: &Parts, now: UtcMicros) -> Result<Identity, Problem> {
        if self.keys.is_empty() {
            check_host(request)?;
            check_origin(&request.headers)?;
        }
        if is_signed(request) {
            return self.check_signature(request, now);
        }
        let path = request.uri.path();
        let open = OPEN.contains(&path) || OPEN_BELOW.iter().any(|prefix| path.starts_with(prefix));
        if self.keys.is_empty() || open || self.key_in(&request.headers).is_some() {
            return Ok(Identity { tenant: TENANT.to_owned() });
        }
        if let Some(identity) = self.admit_cookie(request, now)? {
            return Ok(identity);
        }
        Err(Problem::new(StatusCode::UNAUTHORIZED, "A valid key is needed: send Authorization: Bearer <key>")
            .with(header::WWW_AUTHENTICATE, "Bearer realm=\"reeltime\""))
    }

    /// The query of a link for `method` to `path`, good until `expires` (Unix seconds).
    pub(crate) fn sign(
        &self,
        method: &str,
        identity: &Identity,
        path: &str,
        query: &str,
        expires: i64,
    ) -> String {
        let request = signing::Request { method, path, query, tenant: &identity.tenant };
        signing::sign(&self.url_secret, &request, expires)
    }

    fn check_signature(&self, request: &Parts, now: UtcMicros) -> Result<Identity, Problem> {
        let (method, uri) = (request.method.as_str(), &request.uri);
        signing::verify(&self.url_secret, method, uri.path(), uri.query().unwrap_or(""), now)
            .map(|tenant| Identity { tenant })
            .map_err(|error: SignatureError| {
                Problem::new(StatusCode::FORBIDDEN, capitalised(&error.to_string()))
            })
    }

    /// Which of the keys a request holds. It is compared with all, whichever fits, so that the time tells nothing.
    fn key_in(&self, headers: &HeaderMap) -> Option<&KeyHash> {
        let value = headers.get(header::AUTHORIZATION).map(http::HeaderValue::as_bytes).unwrap_or_default();
        let (scheme, key) = value.split_at_checked(7)?;
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return None;
        }
        let given: KeyHash = Sha256::digest(key.trim_ascii()).into();
        self.keys.iter().fold(None, |found, key| if key.ct_eq(&given).into() { Some(key) } else { found })
    }
}

fn hash_of(key: &SecretString) -> Result<KeyHash, Usage> {
    match reveal(key).strip_prefix(b"sha256:") {
        None => Ok(Sha256::digest(reveal(key)).into()),
        Some(hex) => unhex(hex).ok_or_else(|| {
            Usage(
                "api_keys: what follows sha256: must be 64 hexadecimal digits; make them with sha256sum"
                    .into(),
            )
        }),
    }
}

fn unhex(hex: &[u8]) -> Option<KeyHash> {
    let mut hash = KeyHash::default();
    let pairs = hex.chunks_exact(2);
    if hex.len() != 2 * hash.len() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

fn is_signed(request: &Parts) -> bool {
    let query = request.uri.query().unwrap_or("");
    // Any of the three, so that a link whose signature lost its name is not taken for an unsigned one.
    let names = ["signature=", "expires=", "tenant="];
    query.split('&').any(|field| names.iter().any(|name| field.starts_with(name)))
}

fn check_host(request: &Parts) -> Result<(), Problem> {
    match host(request) {
        Some(host) if is_loopback_name(host) => Ok(()),
        Some(_) | None => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "Without api_keys only requests to localhost, 127.0.0.1 or [::1] are served",
        )),
    }
}

/// The one `Host` there is (RFC 9112 §3.2 forbids several).
fn host(request: &Parts) -> Option<&str> {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let host = hosts.next().filter(|_| hosts.next().is_none());
    let target = request.uri.authority().map(|authority| authority.as_str());
    target.or(host?.to_str().ok())
}

fn is_loopback_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    name.eq_ignore_ascii_case("localhost") || matches!(name, "127.0.0.1" | "[::1]")
}

/// A browser says where a request comes from in `Origin`, and where it leaves that out, in `Sec-Fetch-Site`. Following
/// a link here from elsewhere is no attack.
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let own = match (text(header::ORIGIN), text(header::HOST)) {
        (Some(origin), Some(host)) => {
            let authority = origin.strip_prefix("http://").or(origin.strip_prefix("https://"));
            authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
        }
        (Some(_), None) => false,
        (None, _) => {
            let site = text(HeaderName::from_static("sec-fetch-site")).unwrap_or("none");
            let mode = text(HeaderName::from_static("sec-fetch-mode")).unwrap_or_default();
            matches!(site, "none" | "same-origin") || mode == "navigate"
        }
    };
    if own {
        Ok(())
    } else {
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "Requests from another origin are not served; a proxy in front has to pass Host on",
        ))
    }
}

/// Beyond loopback anybody could listen in, so keys are asked for.
pub(crate) fn check_exposure(addresses: &[IpAddr], keys: &[SecretString]) -> Result<(), Usage> {
    match addresses.iter().find(|address| !address.to_canonical().is_loopback()) {
        Some(address) if keys.is_empty() => Err(Usage(format!(
            "{address} is reachable from other machines and no key is set: \
             set REELTIME_API_KEYS, or listen on 127.0.0.1"
        ))),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    const KEY: &str = "a key";
    const NOW: UtcMicros = UtcMicros(1_700_000_000_000_000);

    fn guard(keys: &[&str]) -> Guard {
        let keys: Vec<_> = keys.iter().map(|key| SecretString::from(*key)).collect();
        Guard::new(&keys, b"secret".to_vec()).unwrap()
    }

    fn admit(guard: &Guard, uri: &str, headers: &[(&str, &str)]) -> Result<Identity, Problem> {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let Ok(request) = request.body(()) else { panic!("{headers:?} are no headers") };
        guard.admit(&request.into_parts().0, NOW)
    }

    #[test]
    fn without_keys_only_a_loopback_name_is_served() {
        for host in ["localhost", "LOCALHOST:7400", "127.0.0.1:1", "[::1]", "[::1]:80"] {
            assert!(admit(&guard(&[]), "/", &[("host", host)]).is_ok(), "{host}");
        }
        for host in
            ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "[::2]", "10.0.0.1"]
        {
            assert!(admit(&guard(&[]), "/", &[("host", host)]).is_err(), "{host}");
        }
        assert!(admit(&guard(&[]), "/", &[]).is_err(), "no Host at all");
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert!(admit(&guard(&[]), "/", &two).is_err(), "two Hosts");
        assert!(
            admit(&guard(&[]), "http://evil.example/", &[("host", "localhost")]).is_err(),
            "absolute form"
        );
    }

    #[test]
    fn without_keys_another_origin_is_refused() {
        let from = |headers: &[(&str, &str)]| {
            let all: Vec<_> = [("host", "localhost:7400")].iter().chain(headers).copied().collect();
            admit(&guard(&[]), "/v1/ingest/pcm", &all).is_ok()
        };
        assert!(from(&[("origin", "http://localhost:7400")]));
        assert!(from(&[("sec-fetch-site", "same-origin")]));
        assert!(from(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]));
        for origin in ["http://localhost:3000", "http://evil.example", "null", "", "file://localhost:7400"] {
            assert!(!from(&[("origin", origin)]), "{origin}");
        }
        assert!(!from(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")]));
    }

    #[test]
    fn with_keys_a_request_needs_one_of_them() {
        let hashed = "sha256:2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";
        let guard = guard(&[KEY, hashed]);
        let with = |value: &str| admit(&guard, "/api/v1/recordings", &[("authorization", value)]).is_ok();
        assert!(with("Bearer a key") && with("bearer a key") && with("Bearer key"));
        for wrong in ["", "Bearer", "Bearer ", "Bearer a kex", "Basic a key", hashed, "Bearer a key2"] {
            assert!(!with(wrong), "{wrong}");
        }
    }

    #[test]
    fn probes_docs_and_the_page_need_no_key() {
        let guard = guard(&[KEY]);
        let docs = ["/api/docs", "/api/docs/index.css", "/api/openapi.json"];
        for path in ["/healthz", "/readyz", "/", "/assets/app.js", "/r/some-id"].into_iter().chain(docs) {
            assert!(admit(&guard, path, &[]).is_ok(), "{path}");
        }
        for path in ["/metrics", "/api/v1/recordings", "/v1/ingest/pcm", "/healthz/", "/api/docsx"] {
            assert!(admit(&guard, path, &[]).is_err(), "{path}");
        }
    }

    #[test]
    fn a_signed_url_stands_in_for_a_key_until_it_expires() {
        let guard = guard(&[KEY]);
        let identity = Identity { tenant: TENANT.to_owned() };
        let link = |expires| {
            format!("/a/stream?{}", guard.sign("GET", &identity, "/a/stream", "format=wav", expires))
        };
        let now = NOW.unix_seconds();
        assert_eq!(admit(&guard, &link(now + 1), &[]).unwrap(), identity);
        assert!(admit(&guard, &link(now), &[]).is_err(), "expired");
        assert!(admit(&guard, &link(now + 1).replace("/a/", "/b/"), &[]).is_err(), "another path");
    }

    #[test]
    fn beyond_loopback_keys_are_asked_for() {
        let check = |address: &str, keys: &[SecretString]| check_exposure(&[address.parse().unwrap()], keys);
        for local in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert!(check(local, &[]).is_ok(), "{local}");
        }
        for open in ["0.0.0.0", "::", "10.0.0.1", "192.168.0.1"] {
            assert!(check(open, &[]).unwrap_err().0.contains("REELTIME_API_KEYS"), "{open}");
            assert!(check(open, &[KEY.into()]).is_ok(), "{open}");
        }
    }

    #[test]
    fn a_key_hash_of_the_wrong_form_is_refused() {
        for wrong in ["sha256:", "sha256:zz", "sha256:00"] {
            assert!(Guard::new(&[wrong.into()], Vec::new()).is_err(), "{wrong}");
        }
    }
}
