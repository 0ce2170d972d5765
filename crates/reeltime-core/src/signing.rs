//! Signed URLs: a link that opens one thing, for one tenant, until a given second.
//!
//! The signature is an HMAC-SHA256 over the method, the path and the whole query as they are written, which
//! holds the tenant and the expiry; nothing of it can be changed, added or left out. The text is signed as
//! written, not as decoded: `%2F` and `%2f` mean the same and are not the same link. Every field is preceded
//! by its length, so that no two requests have one form.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::keys::hex;
use crate::time::UtcMicros;

/// Says what is signed, so that no signature made for another use fits here.
const PURPOSE: &str = "reeltime signed url 1";
const TENANT: &str = "tenant";
const EXPIRES: &str = "expires";
const SIGNATURE: &str = "signature";

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method in upper case. A link for `GET` serves `HEAD` too.
    pub method: &'a str,
    /// The path as it stands in the URL, percent-encoded where it must be.
    pub path: &'a str,
    /// The query as it stands in the URL, without `?`; empty where there is none. It may not hold `tenant`,
    /// `expires` or `signature`: a link that does is never accepted.
    pub query: &'a str,
    /// Whose it is.
    pub tenant: &'a str,
}

/// Why a link is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The link carries no signature, or not each of its three fields exactly once.
    #[error("the link is not signed: it needs tenant, expires and signature, once each")]
    Missing,
    /// The signature does not belong to this request.
    #[error("the link's signature does not fit: it was changed, or signed for something else")]
    Wrong,
    /// The signature fits, and the link's time is over.
    #[error("the link has expired: ask for a new one")]
    Expired,
}

/// The whole query of the signed link: `request.query`, then `tenant`, `expires` (Unix seconds) and `signature`.
pub fn sign(secret: &[u8], request: &Request<'_>, expires: i64) -> String {
    let tenant = percent_encode(request.tenant);
    let joint = if request.query.is_empty() { "" } else { "&" };
    let query = format!("{}{joint}{TENANT}={tenant}&{EXPIRES}={expires}", request.query);
    let signature = signature(secret, request.method, request.path, &query);
    format!("{query}&{SIGNATURE}={signature}")
}

/// Checks a request against its signature and returns the tenant it was signed for. A request is good until
/// the second `expires` has begun. The comparison takes the same time wherever it fails.
///
/// # Errors
/// [`SignatureError`]; a link is told to be expired only when all else is right.
pub fn verify(
    secret: &[u8],
    method: &str,
    path: &str,
    query: &str,
    now: UtcMicros,
) -> Result<String, SignatureError> {
    let given = only(query, SIGNATURE)?;
    let expected = signature(secret, method, path, query);
    if !bool::from(expected.as_bytes().ct_eq(given.as_bytes())) {
        return Err(SignatureError::Wrong);
    }
    let expires: i64 = only(query, EXPIRES)?.parse().map_err(|_| SignatureError::Wrong)?;
    let tenant = percent_decode(only(query, TENANT)?).ok_or(SignatureError::Wrong)?;
    if now.unix_seconds() < expires { Ok(tenant) } else { Err(SignatureError::Expired) }
}

/// Lower-case hex, compared as text: so each signature has one spelling.
fn signature(secret: &[u8], method: &str, path: &str, query: &str) -> String {
    let mut mac = keyed(secret);
    let method = if method == "HEAD" { "GET" } else { method };
    for field in [PURPOSE, method, path] {
        update(&mut mac, field);
    }
    for field in canonical(query) {
        update(&mut mac, field);
    }
    hex(&mac.finalize().into_bytes())
}

/// HMAC takes a key of any length, so this cannot fail; the type says it could.
fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    match Hmac::new_from_slice(secret) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes a key of any length"),
    }
}

fn update(mac: &mut Hmac<Sha256>, field: &str) {
    mac.update(&(field.len() as u64).to_be_bytes());
    mac.update(field.as_bytes());
}

/// The fields but for the signature, by name; fields of one name keep their order, since it has a meaning.
fn canonical(query: &str) -> Vec<&str> {
    let mut fields: Vec<_> = query.split('&').filter(|field| split(field).0 != SIGNATURE).collect();
    fields.sort_by_key(|field| split(field).0);
    fields
}

fn split(field: &str) -> (&str, &str) {
    field.split_once('=').unwrap_or((field, ""))
}

/// The value of the field `wanted`, which must be there exactly once.
fn only<'a>(query: &'a str, wanted: &str) -> Result<&'a str, SignatureError> {
    let mut values = query.split('&').map(split).filter(|(name, _)| *name == wanted).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(SignatureError::Missing),
    }
}

/// Leaves the unreserved characters of RFC 3986 §2.3 as they are.
fn percent_encode(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let encode = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    Cow::Owned(text.bytes().map(encode).collect())
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' { 16 * digit(bytes.next()?)? + digit(bytes.next()?)? } else { byte });
    }
    String::from_utf8(decoded).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &[u8] = b"thirty-two bytes of some secret.";
    const PATH: &str = "/api/v1/recordings/01890a5d-ac96-774b-bcce-b302099a8057/stream";
    const EXPIRES_AT: i64 = 1_735_790_645;
    const BEFORE: UtcMicros = UtcMicros((EXPIRES_AT - 1) * 1_000_000);

    fn request(query: &str) -> Request<'_> {
        Request { method: "GET", path: PATH, query, tenant: "acme" }
    }

    fn check(query: &str) -> Result<String, SignatureError> {
        verify(SECRET, "GET", PATH, query, BEFORE)
    }

    #[test]
    fn a_signed_link_opens_for_its_tenant() {
        for query in ["", "format=wav&layout=mono", "a=1&a=2", "x&y=%2F"] {
            let signed = sign(SECRET, &request(query), EXPIRES_AT);
            assert_eq!(check(&signed).as_deref(), Ok("acme"), "{signed}");
        }
        let odd = Request { tenant: "ä&b=%/", ..request("") };
        assert_eq!(check(&sign(SECRET, &odd, EXPIRES_AT)).as_deref(), Ok("ä&b=%/"));
    }

    #[test]
    fn no_flipped_bit_is_ever_accepted() {
        let query = sign(SECRET, &request("format=wav&participant=a%2Fb"), EXPIRES_AT);
        let url = format!("{PATH}?{query}");
        assert!(check(&query).is_ok(), "the link itself is good");
        let mut tried = 0;
        for bit in 0..url.len() * 8 {
            let mut bytes = url.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let flipped = String::from_utf8_lossy(&bytes).into_owned();
            let (path, query) = flipped.split_once('?').unwrap_or((&flipped, ""));
            for method in ["GET", "HEAD"] {
                assert!(verify(SECRET, method, path, query, BEFORE).is_err(), "bit {bit}: {flipped}");
                tried += 1;
            }
        }
        assert_eq!(tried, url.len() * 16);
    }

    #[test]
    fn a_link_serves_its_method_alone_and_head_with_get() {
        let signed = sign(SECRET, &request(""), EXPIRES_AT);
        assert!(verify(SECRET, "HEAD", PATH, &signed, BEFORE).is_ok());
        for method in ["DELETE", "POST", "PUT", "get", ""] {
            assert_eq!(verify(SECRET, method, PATH, &signed, BEFORE), Err(SignatureError::Wrong), "{method}");
        }
        let upload = sign(SECRET, &Request { method: "PUT", ..request("") }, EXPIRES_AT);
        assert!(verify(SECRET, "PUT", PATH, &upload, BEFORE).is_ok());
        assert_eq!(check(&upload), Err(SignatureError::Wrong));
    }

    #[test]
    fn a_link_expires_at_its_second_and_says_so() {
        let signed = sign(SECRET, &request(""), EXPIRES_AT);
        let at = |micros| verify(SECRET, "GET", PATH, &signed, UtcMicros(micros));
        assert!(at(EXPIRES_AT * 1_000_000 - 1).is_ok());
        assert_eq!(at(EXPIRES_AT * 1_000_000), Err(SignatureError::Expired));
        let forged = signed.replace(&EXPIRES_AT.to_string(), "1");
        assert_eq!(check(&forged), Err(SignatureError::Wrong), "a forged link is not told its time");
    }

    #[test]
    fn a_link_without_each_field_once_is_not_signed() {
        let signed = sign(SECRET, &request(""), EXPIRES_AT);
        assert_eq!(check(""), Err(SignatureError::Missing));
        assert_eq!(check(&format!("{signed}&signature=00")), Err(SignatureError::Missing));
        assert_eq!(check(&format!("{signed}&tenant=other")), Err(SignatureError::Wrong));
        let own_tenant = sign(SECRET, &request("tenant=other"), EXPIRES_AT);
        assert_eq!(check(&own_tenant), Err(SignatureError::Missing));
    }

    #[test]
    fn fields_may_change_places_but_not_where_that_has_a_meaning() {
        let reversed = |query: &str| query.split('&').rev().collect::<Vec<_>>().join("&");
        let distinct = sign(SECRET, &request("a=1&b=2"), EXPIRES_AT);
        assert!(check(&reversed(&distinct)).is_ok());
        let repeated = sign(SECRET, &request("a=1&a=2"), EXPIRES_AT);
        assert_eq!(check(&reversed(&repeated)), Err(SignatureError::Wrong));
    }

    #[test]
    fn another_secret_does_not_open_it() {
        let signed = sign(SECRET, &request(""), EXPIRES_AT);
        assert_eq!(verify(b"", "GET", PATH, &signed, BEFORE), Err(SignatureError::Wrong));
    }

    proptest! {
        #[test]
        fn a_link_for_one_request_never_opens_another(
            a in ("[a-c/]{0,6}", "[a-c=&%]{0,8}", "[a-c]{0,3}"),
            b in ("[a-c/]{0,6}", "[a-c=&%]{0,8}", "[a-c]{0,3}"),
        ) {
            let signed = |(path, query, tenant): &(String, String, String)| {
                sign(SECRET, &Request { method: "GET", path, query, tenant }, EXPIRES_AT)
            };
            let own = verify(SECRET, "GET", &a.0, &signed(&a), BEFORE);
            prop_assert_eq!(own.as_deref(), Ok(a.2.as_str()));
            if a != b {
                let moved = signed(&b).rsplit_once('=').map(|(_, signature)| signature.to_owned()).unwrap();
                let query = signed(&a);
                let (kept, _) = query.rsplit_once('=').unwrap();
                let same = canonical(&signed(&a)) == canonical(&signed(&b)) && a.0 == b.0;
                prop_assert_eq!(verify(SECRET, "GET", &a.0, &format!("{kept}={moved}"), BEFORE).is_ok(), same);
            }
        }

        #[test]
        fn no_query_makes_the_check_panic(query in any::<String>(), path in any::<String>()) {
            prop_assert!(verify(SECRET, "GET", &path, &query, BEFORE).is_err());
        }
    }
}
