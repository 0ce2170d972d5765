//! Where a bucket is. `object_store` takes for granted that every address, key and token can be sent, and panics at
//! the first request where one cannot: so all of them are looked at before it gets them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::{Host, Url};

use super::options::{Addressing, Encryption, S3Options};

/// The region where none is said: stores without regions take it.
pub(super) const REGION: &str = "us-east-1";

/// Options that make no sense, alone or with the bucket. Each reads as what is wrong with the value it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The bucket's name is none.
    #[error(
        "names no bucket; write s3://bucket/prefix, with a bucket of 3 to 63 letters, digits, dots and dashes"
    )]
    Bucket,
    /// The endpoint is no plain address.
    #[error("is not an endpoint; write for example https://s3.example.com")]
    Endpoint,
    /// The bucket is to stand in the host, which is an IP address.
    #[error(
        "is an IP address, and a bucket cannot be put before one; set s3_path_style=true, or give the endpoint a name"
    )]
    BeforeIp,
    /// The bucket is to stand in the host, which is no host with it.
    #[error("has a bucket that cannot be part of a host's name; set s3_path_style=true")]
    BeforeHost,
    /// The region is none.
    #[error("is not a region; write for example eu-central-1")]
    Region,
    /// The access key's id cannot be sent.
    #[error("is not the id of an access key; copy it again")]
    KeyId,
    /// The session token cannot be sent.
    #[error("is not a session token; copy it again")]
    SessionToken,
    /// The key of SSE-C has another length, or is not in base64.
    #[error("is no key for sse-c; write 32 bytes in base64, as `openssl rand -base64 32` makes them")]
    CustomerKey,
    /// The name of the key for SSE-KMS cannot be sent.
    #[error("is not the id of a KMS key; copy its id or ARN again")]
    KmsKey,
}

/// What requests are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Without a slash at the end; the bucket is in it where it stands in the host.
    pub(super) endpoint: String,
    /// Whether it does.
    pub(super) in_host: bool,
    /// Whether it follows from the region alone.
    pub(super) is_aws: bool,
}

/// Whether every S3 takes it in a name (AWS and most others take no capitals and no underscores; their stores say so).
pub fn is_bucket(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (3..=63).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.contains("..")
        && !name.starts_with(['.', '-'])
        && !name.ends_with('.')
}

/// Whether a header can hold it as it is.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl S3Options {
    /// Whether they make sense together and with `bucket`. Nothing is asked of anybody.
    ///
    /// # Errors
    /// [`OptionsError`]: the first that is wrong.
    pub fn check(&self, bucket: &str) -> Result<(), OptionsError> {
        self.address(bucket).map(drop)?;
        self.encryption.check()?;
        let Some(keys) = &self.credentials else { return Ok(()) };
        if !is_plain(&keys.id) {
            return Err(OptionsError::KeyId);
        }
        if !keys.session_token.iter().all(|token| is_plain(token)) {
            return Err(OptionsError::SessionToken);
        }
        Ok(())
    }

    pub(super) fn region(&self) -> &str {
        self.region.as_deref().unwrap_or(REGION)
    }

    /// Where `bucket` is asked for.
    pub(super) fn address(&self, bucket: &str) -> Result<Address, OptionsError> {
        if !is_bucket(bucket) {
            return Err(OptionsError::Bucket);
        }
        let host = self.host()?;
        let in_host = match self.addressing {
            Addressing::Auto => {
                self.endpoint.is_none() && !bucket.contains('.') && before(bucket, &host).is_ok()
            }
            Addressing::Path => false,
            Addressing::VirtualHost => true,
        };
        let url = if in_host { before(bucket, &host)? } else { host };
        let endpoint = url.as_str().trim_end_matches('/').to_owned();
        Ok(Address { endpoint, in_host, is_aws: self.endpoint.is_none() })
    }

    /// The endpoint, or AWS's own.
    fn host(&self) -> Result<Url, OptionsError> {
        let region = self.region();
        if !is_plain(region) {
            return Err(OptionsError::Region);
        }
        let Some(endpoint) = &self.endpoint else {
            let host = format!("s3.{region}.amazonaws.com");
            let url = Url::parse(&format!("https://{host}")).map_err(|_| OptionsError::Region)?;
            return if url.host_str() == Some(&host) { Ok(url) } else { Err(OptionsError::Region) };
        };
        let url = Url::parse(endpoint).map_err(|_| OptionsError::Endpoint)?;
        let nobody = url.username().is_empty() && url.password().is_none();
        let bare = nobody && url.query().is_none() && url.fragment().is_none();
        if bare && matches!(url.scheme(), "http" | "https") { Ok(url) } else { Err(OptionsError::Endpoint) }
    }
}

impl Encryption {
    fn check(&self) -> Result<(), OptionsError> {
        match self {
            Self::Customer { key } if STANDARD.decode(key).ok().is_none_or(|key| key.len() != 32) => {
                Err(OptionsError::CustomerKey)
            }
            Self::Kms { key } if !is_plain(key) => Err(OptionsError::KmsKey),
            Self::None | Self::Managed | Self::Kms { .. } | Self::Customer { .. } => Ok(()),
        }
    }
}

/// The address with the bucket as the first part of its host.
fn before(bucket: &str, url: &Url) -> Result<Url, OptionsError> {
    let Some(Host::Domain(name)) = url.host() else { return Err(OptionsError::BeforeIp) };
    let (host, mut url) = (format!("{bucket}.{name}"), url.clone());
    url.set_host(Some(&host)).map_err(|_| OptionsError::BeforeHost)?;
    // Capitals would become small letters: another bucket.
    if url.host_str() == Some(&host) { Ok(url) } else { Err(OptionsError::BeforeHost) }
}

#[cfg(test)]
mod tests {
    use super::super::{Credentials, Prefix, S3Store};
    use super::*;

    fn options(endpoint: &str, addressing: Addressing) -> S3Options {
        let endpoint = (!endpoint.is_empty()).then(|| endpoint.to_owned());
        S3Options { endpoint, addressing, ..S3Options::default() }
    }

    fn address(endpoint: &str, addressing: Addressing, bucket: &str) -> Result<String, OptionsError> {
        options(endpoint, addressing).address(bucket).map(|address| address.endpoint)
    }

    #[test]
    fn a_bucket_stands_in_the_host_or_in_the_path() {
        use Addressing::{Auto, Path, VirtualHost};
        for (endpoint, addressing, bucket, expected) in [
            ("", Auto, "calls", "https://calls.s3.us-east-1.amazonaws.com"),
            ("", Auto, "my.calls", "https://s3.us-east-1.amazonaws.com"),
            ("", Auto, "My_Calls", "https://s3.us-east-1.amazonaws.com"),
            ("http://127.0.0.1:9000/", Auto, "calls", "http://127.0.0.1:9000"),
            ("http://[::1]:9000", Path, "calls", "http://[::1]:9000"),
            ("http://localhost:9000", VirtualHost, "my.calls", "http://my.calls.localhost:9000"),
            ("https://s3.example/base/", VirtualHost, "calls", "https://calls.s3.example/base"),
        ] {
            assert_eq!(address(endpoint, addressing, bucket).as_deref(), Ok(expected), "{endpoint} {bucket}");
        }
    }

    #[test]
    fn no_bucket_is_put_before_an_ip_address_or_into_what_is_no_host() {
        for endpoint in ["http://127.0.0.1:9000", "http://[::1]:9000", "http://0x7f.1", "http://127.1"] {
            assert_eq!(address(endpoint, Addressing::VirtualHost, "calls"), Err(OptionsError::BeforeIp));
        }
        for bucket in ["Calls", "xn--zzzzzzz-", "1.2.3.xn--"] {
            let refused = address("http://localhost", Addressing::VirtualHost, bucket);
            assert_eq!(refused, Err(OptionsError::BeforeHost), "{bucket}");
        }
    }

    #[test]
    fn what_could_not_be_sent_is_refused_when_the_store_is_opened() {
        for bucket in ["", "a b", "a/b", "a@b", "..", "a..b", "abc.", "-abc", "b\u{fc}cher", "a\nb"] {
            assert_eq!(address("", Addressing::Auto, bucket), Err(OptionsError::Bucket), "{bucket:?}");
        }
        for endpoint in [
            "http://",
            "http://:80",
            "http://h:99999",
            "https://u:p@h",
            "http://h?x",
            "http://a b",
            "ftp://h",
        ] {
            let refused = address(endpoint, Addressing::Auto, "calls");
            assert_eq!(refused, Err(OptionsError::Endpoint), "{endpoint:?}");
        }
        for region in ["eu west", "xn--a", "a/b", "EU", "a\nb"] {
            let options = S3Options { region: Some(region.to_owned()), ..S3Options::default() };
            assert_eq!(options.check("calls"), Err(OptionsError::Region), "{region:?}");
        }
        let keys = |id: &str, token: &str| {
            let keys =
                Credentials { id: id.into(), secret: String::new(), session_token: Some(token.into()) };
            let options = S3Options { credentials: Some(keys), ..S3Options::default() };
            assert!(S3Store::open("calls", Prefix::default(), &options).is_err());
            options.check("calls").unwrap_err()
        };
        assert_eq!(keys("i\u{e9}", "token"), OptionsError::KeyId);
        assert_eq!(keys("id", "to\nken"), OptionsError::SessionToken);
    }

    #[test]
    fn a_key_that_cannot_encrypt_is_refused() {
        let checked = |encryption| S3Options { encryption, ..S3Options::default() }.check("calls");
        let customer = |key: &str| checked(Encryption::Customer { key: key.to_owned() });
        for key in ["short", "", "c2hvcnQ=", &"A".repeat(43), &STANDARD.encode([7; 33])] {
            assert_eq!(customer(key), Err(OptionsError::CustomerKey), "{key:?}");
        }
        assert_eq!(customer(&STANDARD.encode([7; 32])), Ok(()));
        assert_eq!(checked(Encryption::Kms { key: "a\nb".to_owned() }), Err(OptionsError::KmsKey));
    }

    #[tokio::test]
    async fn whatever_is_opened_is_asked_without_a_panic() {
        use crate::store::Store as _;
        let key = reeltime_core::keys::ObjectKey::new("k").unwrap();
        let keys = Credentials { id: "id".into(), secret: "s".into(), session_token: None };
        let mut stores = Vec::new();
        for host in ["127.0.0.1:1", "[::1]:1", "localhost:1", "localhost:1/a b/{c}", "a_b.localhost:1"] {
            for bucket in ["calls", "Ca_ll-s", "1.2.3.4", "xn--zzzzzzz-", "0x7"] {
                for addressing in [Addressing::Path, Addressing::VirtualHost] {
                    let options = options(&format!("http://{host}"), addressing);
                    let options = S3Options { credentials: Some(keys.clone()), ..options };
                    stores.extend(S3Store::open(bucket, Prefix::default(), &options));
                }
            }
        }
        assert!(stores.len() > 25, "{}", stores.len());
        // The first request is made at once; what is tried again is the same one.
        let wait = std::time::Duration::from_millis(100);
        let asked = stores.iter().map(|store| tokio::time::timeout(wait, store.head(&key)));
        let answers = futures_util::future::join_all(asked).await;
        assert!(answers.iter().all(|answer| !matches!(answer, Ok(Ok(_)))), "nobody is there");
    }
}
