//! Browsers, which can send no key along with audio, events or a WebSocket: a key is given once, for a cookie.
//!
//! The cookie is out of reach of scripts, and holds no key: a tenant, an expiry and a signature that fits only together
//! with the key it was given for. So it survives a restart, and ends with its key. Since a browser sends it without
//! being asked, it counts only where the request comes from the page itself.

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use reeltime_core::signing;
use reeltime_core::time::UtcMicros;

use super::{Guard, Identity, KeyHash, TENANT, check_origin};
use crate::problem::Problem;

const NAME: &str = "reeltime_sign_in";
/// In place of a request's method: no link is signed for it.
const USE: &str = "COOKIE";
/// Seconds that a cookie is good for; the page asks for a new one in time.
const LIFETIME: i64 = 12 * 3_600;

impl Guard {
    /// Whether a key is asked for at all.
    pub(crate) const fn asks_for_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Who a request is from by its cookie, if it has a good one. What came from elsewhere is refused.
    pub(super) fn admit_cookie(&self, request: &Parts, now: UtcMicros) -> Result<Option<Identity>, Problem> {
        let Some((_, tenant)) = self.signed_in(&request.headers, now) else { return Ok(None) };
        check_origin(&request.headers)?;
        Ok(Some(Identity { tenant }))
    }

    /// The `Set-Cookie` for whoever holds the key, or a cookie that is still good.
    pub(crate) fn sign_in(&self, headers: &HeaderMap, now: UtcMicros) -> Result<HeaderValue, Problem> {
        let by_cookie = || self.signed_in(headers, now).map(|(key, _)| key);
        let key = self.key_in(headers).or_else(by_cookie);
        let key = key.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "A key is needed to sign in"))?;
        let request = signing::Request { method: USE, path: &hex(key), query: "", tenant: TENANT };
        let value = signing::sign(&self.url_secret, &request, now.unix_seconds() + LIFETIME);
        cookie(&value, LIFETIME, headers)
    }

    /// The key that a cookie was given for, and its tenant.
    fn signed_in(&self, headers: &HeaderMap, now: UtcMicros) -> Option<(&KeyHash, String)> {
        if headers.contains_key(header::AUTHORIZATION) {
            return None;
        }
        let value = cookie_in(headers)?;
        self.keys.iter().find_map(|key| {
            let tenant = signing::verify(&self.url_secret, USE, &hex(key), value, now).ok()?;
            Some((key, tenant))
        })
    }
}

/// The `Set-Cookie` that takes the cookie away.
pub(crate) fn sign_out(headers: &HeaderMap) -> Result<HeaderValue, Problem> {
    cookie("", 0, headers)
}

fn cookie_in(headers: &HeaderMap) -> Option<&str> {
    let texts = headers.get_all(header::COOKIE).iter().filter_map(|text| text.to_str().ok());
    let mut values = texts.flat_map(|text| text.split(';')).filter_map(|each| {
        let (name, value) = each.trim().split_once('=')?;
        (name == NAME).then_some(value)
    });
    values.next()
}

/// RFC 6265 §4.1. Where the page came over TLS, the cookie goes only there.
fn cookie(value: &str, seconds: i64, headers: &HeaderMap) -> Result<HeaderValue, Problem> {
    let origin = headers.get(header::ORIGIN).map(HeaderValue::as_bytes).unwrap_or_default();
    let secure = if origin.starts_with(b"https://") { "; Secure" } else { "" };
    let text = format!("{NAME}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&text).map_err(Problem::internal)
}

fn hex(key: &KeyHash) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use secrecy::SecretString;

    const NOW: UtcMicros = UtcMicros(1_700_000_000_000_000);
    const OWN: (&str, &str) = ("origin", "http://localhost:7400");

    fn guard(keys: &[&str]) -> Guard {
        let keys: Vec<_> = keys.iter().map(|key| SecretString::from(*key)).collect();
        Guard::new(&keys, b"secret".to_vec()).unwrap()
    }

    fn request(headers: &[(&str, &str)]) -> Parts {
        let request = Request::post("/api/v1/recordings/x/stop").header("host", "localhost:7400");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    fn signed_in(guard: &Guard, key: &str) -> String {
        let by_key = request(&[("authorization", &format!("Bearer {key}"))]);
        let cookie = guard.sign_in(&by_key.headers, NOW).unwrap();
        cookie.to_str().unwrap().split(';').next().unwrap().to_owned()
    }

    fn is_in(guard: &Guard, headers: &[(&str, &str)], now: UtcMicros) -> bool {
        guard.admit(&request(headers), now).is_ok()
    }

    #[test]
    fn a_cookie_stands_in_for_its_key_until_it_expires_or_the_key_goes() {
        let two = guard(&["one", "two"]);
        let cookie = signed_in(&two, "two");
        let sent = [("cookie", cookie.as_str()), OWN];
        let end = UtcMicros(NOW.0 + LIFETIME * 1_000_000);
        assert!(is_in(&two, &sent, NOW) && is_in(&guard(&["two"]), &sent, UtcMicros(end.0 - 1_000_000)));
        assert!(!is_in(&two, &sent, end), "expired");
        assert!(!is_in(&guard(&["one"]), &sent, NOW), "its key is gone");
        let others = Guard::new(&["two".into()], b"another".to_vec()).unwrap();
        assert!(!is_in(&others, &sent, NOW), "another server's");
        for changed in
            [cookie.replace("tenant=default", "tenant=others"), cookie.replace("expires=1", "expires=2")]
        {
            assert!(!is_in(&two, &[("cookie", &changed), OWN], NOW), "{changed}");
        }
        assert!(
            !is_in(&two, &[("cookie", &cookie), OWN, ("authorization", "Bearer wrong")], NOW),
            "a wrong key"
        );
    }

    #[test]
    fn a_cookie_counts_only_for_the_page_itself() {
        let guard = guard(&["key"]);
        let cookie = signed_in(&guard, "key");
        let from = |header| is_in(&guard, &[("cookie", cookie.as_str()), header], NOW);
        assert!(from(OWN) && from(("sec-fetch-site", "same-origin")));
        for origin in ["http://localhost:3000", "http://evil.example", "null", ""] {
            assert!(!from(("origin", origin)), "{origin}");
        }
        assert!(!from(("sec-fetch-site", "same-site")) && !from(("sec-fetch-site", "cross-site")));
    }

    #[test]
    fn nothing_of_the_key_is_in_the_cookie_and_no_script_reads_it() {
        let guard = guard(&["key"]);
        let told = |origin| {
            let headers = request(&[("authorization", "Bearer key"), ("origin", origin)]).headers;
            guard.sign_in(&headers, NOW).unwrap().to_str().unwrap().to_owned()
        };
        let plain = told("http://localhost:7400");
        assert!(plain.contains("; Path=/; ") && plain.ends_with("; HttpOnly; SameSite=Strict"), "{plain}");
        assert!(!plain.contains("key") && !plain.contains(&hex(&guard.keys[0])), "{plain}");
        assert!(told("https://reeltime.example").ends_with("; Secure"));
        assert!(sign_out(&HeaderMap::new()).unwrap().to_str().unwrap().contains("=; Path=/; Max-Age=0;"));
        assert!(guard.sign_in(&HeaderMap::new(), NOW).is_err());
    }

    #[test]
    fn a_cookie_opens_no_signed_link_and_a_link_is_no_cookie() {
        let guard = guard(&["key"]);
        let cookie = signed_in(&guard, "key");
        let value = cookie.split_once('=').unwrap().1;
        let (mut parts, ()) =
            Request::get(format!("/api/v1/recordings?{value}")).body(()).unwrap().into_parts();
        assert!(guard.admit(&parts, NOW).is_err());
        let identity = Identity { tenant: TENANT.to_owned() };
        let link = guard.sign("GET", &identity, "/api/v1/recordings", "", NOW.unix_seconds() + 9);
        parts = request(&[("cookie", &format!("{NAME}={link}")), OWN]);
        assert!(guard.admit(&parts, NOW).is_err());
    }
}
