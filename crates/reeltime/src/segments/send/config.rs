//! What the segments' sender is told.

use std::fmt;
use std::time::Duration;

use reeltime_core::cuts::Rules;
use reeltime_core::media::Container;
use secrecy::SecretString;
use url::Url;

/// Where segments go.
#[derive(Clone, Debug)]
pub enum Target {
    /// To the recorder's store: `recordings/{recording}/{participant}/segment_000.flac`, with a `segments.json` beside
    /// them once the recording is over.
    Store,
    /// To a recording API.
    Api(ApiTarget),
}

/// A recording API and the key to it.
#[derive(Clone, Debug)]
pub struct ApiTarget {
    url: Url,
    pub(super) key: Option<SecretString>,
}

/// Why an address is none of a recording API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It cannot be read.
    #[error("is no address: {0}; write for example https://recordings.example")]
    Address(String),
    /// Its scheme is another one, or it is plain http over a network, where anyone could read the key.
    #[error("is not https: only an address of this machine may be http")]
    Insecure,
    /// It has a query, a fragment, or a password.
    #[error("has more than scheme, host and path: the key has a setting of its own")]
    TooMuch,
}

impl ApiTarget {
    /// The API at `url`: what comes before `/api/recordings`.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn new(url: &str, key: Option<SecretString>) -> Result<Self, TargetError> {
        let url = Url::parse(url).map_err(|error| TargetError::Address(error.to_string()))?;
        if !Self::is_safe(&url) {
            return Err(TargetError::Insecure);
        }
        let bare = url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::TooMuch);
        }
        Ok(Self { url, key })
    }

    /// Whether nobody on the way can read what is sent to it.
    pub(super) fn is_safe(url: &Url) -> bool {
        let local = match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        };
        url.scheme() == "https" || (url.scheme() == "http" && local)
    }

    /// The address of a call: these components below `/api/recordings`.
    pub(super) fn address(&self, call: &[&str]) -> Url {
        let mut url = self.url.clone();
        let below = url.path().trim_end_matches('/').trim_end_matches("/api/recordings").to_owned();
        url.set_path(&format!("{below}/api/recordings"));
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(call);
        }
        url
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store => f.write_str("store"),
            Self::Api(api) => api.url.fmt(f),
        }
    }
}

/// How segments are cut and sent.
#[derive(Clone, Debug)]
pub struct SegmentsConfig {
    /// Where they go.
    pub target: Target,
    /// Where they are cut.
    pub rules: Rules,
    /// The most bytes of a segment's file.
    pub max_bytes: u64,
    /// The format of the files: WAV, FLAC or Ogg. Tracks of a rate that Opus does not know become FLAC.
    pub format: Container,
    /// Segments sent at the same time, of all recordings.
    pub parallel: usize,
    /// What comes later in a recording is not cut.
    pub max_duration: Duration,
    /// Recordings that are cut at the same time; those beyond are recorded and not cut.
    pub max_recordings: usize,
    /// Whether the files stay in the data folder when they have arrived.
    pub keep_local: bool,
}

impl SegmentsConfig {
    /// The defaults, for a target.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            rules: Rules::default(),
            max_bytes: 10_000_000,
            format: Container::Flac,
            parallel: 5,
            max_duration: Duration::from_secs(120 * 60),
            max_recordings: 5,
            keep_local: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_is_https_or_of_this_machine_and_nothing_but_an_address() {
        let address =
            |url| ApiTarget::new(url, None).map(|api| api.address(&["a/b", "finalize"]).to_string());
        assert_eq!(address("https://a.example").unwrap(), "https://a.example/api/recordings/a%2Fb/finalize");
        assert_eq!(
            address("https://a.example/rec/").unwrap(),
            "https://a.example/rec/api/recordings/a%2Fb/finalize"
        );
        assert_eq!(
            address("http://127.0.0.1:80/api/recordings").unwrap(),
            "http://127.0.0.1/api/recordings/a%2Fb/finalize"
        );
        assert_eq!(address("http://a.example"), Err(TargetError::Insecure));
        assert_eq!(address("ftp://localhost"), Err(TargetError::Insecure));
        assert_eq!(address("https://a:b@c.example"), Err(TargetError::TooMuch));
        assert!(matches!(address("a.example"), Err(TargetError::Address(_))));
    }
}
