//! What an S3 store is opened with.

use std::fmt;
use std::time::Duration;

/// How requests name the bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addressing {
    /// In the path where there is an endpoint, a dot in the bucket's name (no certificate covers that as a host), or
    /// a name that no host can have; else in the host.
    #[default]
    Auto,
    /// `https://host/bucket/key`
    Path,
    /// `https://bucket.host/key`
    VirtualHost,
}

/// Who we are to the store.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The access key's id.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// Where the keys are temporary.
    pub session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What the store encrypts objects with, where it is to do so.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/serv-side-encryption.html>
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Encryption {
    /// As the bucket has it.
    #[default]
    None,
    /// SSE-S3: with the store's own keys.
    Managed,
    /// SSE-KMS: with this key of the key service.
    Kms {
        /// Its id or ARN.
        key: String,
    },
    /// SSE-C: with our own key, which the store forgets. Signed addresses do not work with it.
    Customer {
        /// 32 bytes in base64.
        key: String,
    },
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Managed => "Managed",
            Self::Kms { .. } => "Kms",
            Self::Customer { .. } => "Customer",
        })
    }
}

/// How to speak to an S3; the bucket stands in its address.
#[derive(Clone, Debug)]
pub struct S3Options {
    /// Where it is, as `https://s3.example.com`; `None`: AWS.
    pub endpoint: Option<String>,
    /// The bucket's region; `None`: `us-east-1`, which stores without regions take.
    pub region: Option<String>,
    /// How requests name the bucket.
    pub addressing: Addressing,
    /// `None`: the role that the machine, the container or the pod has.
    pub credentials: Option<Credentials>,
    /// What objects are encrypted with.
    pub encryption: Encryption,
    /// Whether bodies are left out of the signature. That saves a SHA-256 of each; TLS protects them still.
    pub unsigned_payload: bool,
    /// Parts of one object that are in memory at a time, at least 1.
    pub parts_in_flight: usize,
    /// The longest silence: of a store that was sent a request, and between two pieces of an answer. A part of 5 MiB
    /// has to be through in it.
    pub answer_timeout: Duration,
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            addressing: Addressing::Auto,
            credentials: None,
            encryption: Encryption::None,
            unsigned_payload: false,
            parts_in_flight: 2,
            // An uplink needs 1.4 Mbit/s for each part that is on its way.
            answer_timeout: Duration::from_secs(30),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let canary = "canary-77d1";
        let options = S3Options {
            credentials: Some(Credentials {
                id: "id".into(),
                secret: canary.into(),
                session_token: Some(canary.into()),
            }),
            encryption: Encryption::Customer { key: canary.into() },
            ..S3Options::default()
        };
        let shown = format!("{options:?}");
        assert!(!shown.contains(canary) && shown.contains("\"id\""), "{shown}");
    }
}
