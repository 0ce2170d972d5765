//! Where a server is, as people write it.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, Scheme};

use crate::exit::Usage;
use crate::settings::redacted;

/// The path of the ingest socket.
const INGEST: &str = "/v1/ingest/pcm";

/// A server's address: host, port, and the path in front of its own where a proxy adds one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    authority: Authority,
    secure: bool,
    /// Without a slash at the end.
    prefix: String,
}

impl Target {
    /// What goes into `Host`.
    pub(crate) fn host(&self) -> &str {
        self.authority.as_str()
    }

    /// The host alone, as its certificate names it.
    pub(crate) fn name(&self) -> &str {
        self.authority.host()
    }

    /// Whether TLS is spoken.
    pub(crate) const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Host and port to connect to.
    pub(crate) fn address(&self) -> String {
        match self.authority.port() {
            Some(_) => self.authority.as_str().to_owned(),
            None => format!("{}:{}", self.authority, if self.secure { 443 } else { 80 }),
        }
    }

    /// The path of a request: the server's own behind the prefix.
    pub(crate) fn path(&self, own: &str) -> String {
        format!("{}{own}", self.prefix)
    }

    /// The URL of the ingest socket with these parameters, as it is asked for within a connection of either kind.
    pub(crate) fn ingest<'a>(&self, query: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        format!("ws://{}{}{INGEST}?{query}", self.authority, self.prefix)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.prefix)
    }
}

impl FromStr for Target {
    type Err = Usage;

    fn from_str(text: &str) -> Result<Self, Usage> {
        let shown = redacted(text);
        let wrong = |why: &str| Usage(format!("{shown:?} {why}; write for example http://127.0.0.1:7400"));
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = whole.parse().map_err(|_| wrong("is not the URL of a server"))?;
        let secure = match uri.scheme().map(Scheme::as_str) {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            _ => return Err(wrong("is not the URL of a server")),
        };
        if uri.query().is_some() {
            return Err(wrong("has a query: give its fields as flags"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("holds a password: give the key with --api-key"));
        }
        let path = uri.path().trim_end_matches('/');
        let prefix = path.strip_suffix(INGEST).unwrap_or(path).to_owned();
        Ok(Self { authority: authority.clone(), secure, prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_its_socket_its_page_or_its_address() {
        for text in [
            "ws://rec:7400/v1/ingest/pcm",
            "ws://rec:7400",
            "http://rec:7400/",
            "http://rec:7400",
            "rec:7400",
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!(target.to_string(), "http://rec:7400", "{text}");
            let url = target.ingest([("call", "a&b"), ("rate", "8000")]);
            assert_eq!(url, "ws://rec:7400/v1/ingest/pcm?call=a%26b&rate=8000");
        }
    }

    #[test]
    fn a_path_in_front_and_a_missing_port_are_kept_in_mind() {
        let target: Target = "http://[::1]/rec/v1/ingest/pcm".parse().unwrap();
        assert_eq!(
            (target.address().as_str(), target.path("/healthz").as_str()),
            ("[::1]:80", "/rec/healthz")
        );
        assert_eq!(target.ingest([]), "ws://[::1]/rec/v1/ingest/pcm?");
    }

    #[test]
    fn what_is_said_to_be_secure_is() {
        for text in ["https://rec", "wss://rec/v1/ingest/pcm"] {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.to_string().as_str(), target.address().as_str()), ("https://rec", "rec:443"));
            assert!(target.is_secure() && target.name() == "rec");
        }
    }

    #[test]
    fn what_is_no_server_is_refused_with_an_example() {
        for (text, why) in
            [("", "URL"), ("ftp://x", "URL"), ("http://x/?call=a", "query"), ("http://key@x", "--api-key")]
        {
            let error = text.parse::<Target>().unwrap_err().0;
            assert!(error.contains(why) && error.contains("http://127.0.0.1:7400"), "{error}");
        }
    }
}
