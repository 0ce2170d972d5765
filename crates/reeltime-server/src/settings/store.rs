//! Where recordings go: the store's address, and what S3 needs beside it.

use std::fmt;
use std::path::PathBuf;

use reeltime::store::Prefix;
use reeltime::store::s3::{Addressing, Credentials, Encryption, OptionsError, S3Options, is_bucket};
use reeltime::store::vercel::{Access, VercelOptions};
use reqwest::Url;

use super::{Rows, text};
use crate::exit::Usage;

/// A store by its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    /// `file:///path`
    Folder(PathBuf),
    /// `s3://bucket/prefix`
    S3 { bucket: String, prefix: Prefix },
    /// `vercel-blob:///prefix`
    VercelBlob { prefix: Prefix },
}

impl StoreUrl {
    /// Reads an address; the error says what to write.
    fn parse(url: &str) -> Result<Self, String> {
        let forms = "write file:///path, s3://bucket/prefix or vercel-blob:///prefix";
        let (scheme, rest) =
            url.split_once("://").ok_or_else(|| format!("is not the address of a store; {forms}"))?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !text::is_path(rest) {
            return Err(format!("has a user or a query, and no store's address takes either; {forms}"));
        }
        let prefix = || path.parse::<Prefix>().map_err(|why| format!("has a prefix that cannot be: {why}"));
        match scheme {
            "file" if !rest.is_empty() => Ok(Self::Folder(rest.into())),
            "s3" if is_bucket(host) => Ok(Self::S3 { bucket: host.to_owned(), prefix: prefix()? }),
            "s3" => Err(OptionsError::Bucket.to_string()),
            "vercel-blob" if host.is_empty() => Ok(Self::VercelBlob { prefix: prefix()? }),
            "vercel-blob" => {
                Err("has a host, but the token names the store; write vercel-blob:///prefix".to_owned())
            }
            _ => Err(format!("is not the address of a store; {forms}")),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "file://{}", path.display()),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Self::VercelBlob { prefix } => write!(f, "vercel-blob:///{prefix}"),
        }
    }
}

impl Rows {
    /// The store's address; `None` where there is none.
    pub(super) fn store_url(&self) -> Result<Option<StoreUrl>, Usage> {
        self.text("store_url").map(|_| self.read("store_url", StoreUrl::parse)).transpose()
    }

    /// How to speak to an S3 store about this bucket.
    pub(super) fn s3(&self, bucket: &str) -> Result<S3Options, Usage> {
        let options = S3Options {
            endpoint: self.read("s3_endpoint", endpoint)?,
            region: self.text("s3_region"),
            addressing: self.read("s3_path_style", addressing)?,
            credentials: self.s3_credentials()?,
            encryption: self.s3_encryption()?,
            unsigned_payload: self.read("s3_unsigned_payload", text::boolean)?,
            parts_in_flight: self.read("s3_part_concurrency", text::count)?,
            ..S3Options::default()
        };
        options.check(bucket).map_err(|error| self.row(about(error)).refuse(&error.to_string()))?;
        Ok(options)
    }

    fn s3_credentials(&self) -> Result<Option<Credentials>, Usage> {
        match (self.text("s3_access_key_id"), self.text("s3_secret_access_key")) {
            (Some(id), Some(secret)) => {
                Ok(Some(Credentials { id, secret, session_token: self.text("s3_session_token") }))
            }
            (None, None) => Ok(None),
            (Some(_), None) => Err(self.row("s3_access_key_id").refuse(
                "comes without its secret; set AWS_SECRET_ACCESS_KEY as well, or neither to use the machine's role",
            )),
            (None, Some(_)) => Err(self
                .row("s3_secret_access_key")
                .refuse("comes without its id; set AWS_ACCESS_KEY_ID as well, or neither to use the machine's role")),
        }
    }

    /// How to speak to a Vercel Blob store.
    pub(super) fn vercel(&self) -> Result<VercelOptions, Usage> {
        let token = self.text("vercel_token").ok_or_else(|| {
            self.row("store_url").refuse("needs the store's token; set BLOB_READ_WRITE_TOKEN as well")
        })?;
        let access = self.read("vercel_access", |text| match text {
            "private" => Ok(Access::Private),
            "public" => Ok(Access::Public),
            _ => Err("is neither private nor public".to_owned()),
        })?;
        Ok(VercelOptions { token, access, api_url: self.read("vercel_api_url", endpoint)? })
    }

    fn s3_encryption(&self) -> Result<Encryption, Usage> {
        let key = self.text("s3_encryption_key");
        self.read("s3_encryption", |name| match (name, key.clone()) {
            ("none", _) => Ok(Encryption::None),
            ("sse-s3", _) => Ok(Encryption::Managed),
            ("sse-kms", Some(key)) => Ok(Encryption::Kms { key }),
            ("sse-c", Some(key)) => Ok(Encryption::Customer { key }),
            ("sse-kms" | "sse-c", None) => Err("needs a key; set s3_encryption_key as well".to_owned()),
            _ => Err("is no encryption; write none, sse-s3, sse-kms or sse-c".to_owned()),
        })
    }
}

/// The setting that an error is about.
const fn about(error: OptionsError) -> &'static str {
    match error {
        OptionsError::Bucket | OptionsError::BeforeHost => "store_url",
        OptionsError::Endpoint | OptionsError::BeforeIp => "s3_endpoint",
        OptionsError::Region => "s3_region",
        OptionsError::KeyId => "s3_access_key_id",
        OptionsError::SessionToken => "s3_session_token",
        OptionsError::CustomerKey | OptionsError::KmsKey => "s3_encryption_key",
    }
}

/// `None` stands for AWS itself.
fn endpoint(text: &str) -> Result<Option<String>, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest {
        _ if text.is_empty() => Ok(None),
        Some(host) if !host.contains(['?', '#', '@']) && Url::parse(text).is_ok() => {
            Ok(Some(text.trim_end_matches('/').to_owned()))
        }
        Some(_) | None => Err(OptionsError::Endpoint.to_string()),
    }
}

fn addressing(text: &str) -> Result<Addressing, String> {
    match text {
        "auto" => Ok(Addressing::Auto),
        _ => match text::boolean(text) {
            Ok(true) => Ok(Addressing::Path),
            Ok(false) => Ok(Addressing::VirtualHost),
            Err(_) => Err("is none of auto, true (host/bucket/key) and false (bucket.host/key)".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_address_is_read_and_written() {
        for url in
            ["file:///srv/o", "s3://bucket/", "s3://my.bucket-1/a/b", "vercel-blob:///", "vercel-blob:///a"]
        {
            assert_eq!(StoreUrl::parse(url).unwrap().to_string(), url);
        }
        assert_eq!(StoreUrl::parse("s3://bucket").unwrap(), StoreUrl::parse("s3://bucket/").unwrap());
        assert_eq!(StoreUrl::parse("s3://bucket/a/").unwrap(), StoreUrl::parse("s3://bucket/a").unwrap());
    }

    #[test]
    fn an_address_of_no_store_is_refused_with_what_to_write() {
        for (url, hint) in [
            ("gopher://x", "write file:///path"),
            ("/srv/o", "write file:///path"),
            ("file://", "write file:///path"),
            ("s3:///prefix", "names no bucket"),
            ("s3://a b/c", "names no bucket"),
            ("s3://user@bucket/c", "has a user"),
            ("file://user:password@/srv", "has a user"),
            ("s3://bucket/c?token=t", "a query"),
            ("s3://bucket/../c", "prefix that cannot be"),
            ("s3://bucket/a//b", "prefix that cannot be"),
            ("vercel-blob://store/x", "write vercel-blob:///prefix"),
        ] {
            let why = StoreUrl::parse(url).unwrap_err();
            assert!(why.contains(hint), "{url}: {why}");
        }
    }

    #[test]
    fn an_endpoint_is_a_plain_http_address() {
        assert_eq!(endpoint(""), Ok(None));
        assert_eq!(endpoint("http://127.0.0.1:9000/"), Ok(Some("http://127.0.0.1:9000".into())));
        for wrong in ["s3.example.com", "https://", "https://key@host", "ftp://host", "http://:80"] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }
}
