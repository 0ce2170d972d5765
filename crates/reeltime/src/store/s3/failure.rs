//! What the store's refusals mean, in plain words.

use std::error::Error;
use std::io;

use object_store::client::{HttpError, HttpErrorKind};
use reeltime_core::keys::ObjectKey;

use super::address::Address;
use super::wire::Answer;
use crate::store::StoreError;

/// What was asked for, so that an error can name it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// A key, or the beginning of keys.
    pub(super) what: &'a str,
    /// The right that it takes.
    pub(super) right: &'static str,
    pub(super) bucket: &'a str,
    pub(super) region: &'a str,
    pub(super) address: &'a Address,
}

/// How a request failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no such object, or no such upload.
    Absent,
    /// There is one already.
    Taken,
    /// The range begins at the object's end or behind it.
    BeyondEnd,
    /// The store refused, and did not say why: a HEAD has no body.
    Unexplained(StoreError),
    /// Anything else.
    Other(StoreError),
}

impl Failure {
    /// What happened when `key` was asked for.
    pub(super) fn of(self, key: &ObjectKey) -> StoreError {
        match self {
            Self::Absent => StoreError::NotFound { key: key.clone() },
            Self::Taken => StoreError::AlreadyExists { key: key.clone() },
            Self::BeyondEnd => StoreError::Refused {
                what: key.to_string(),
                why: "it refuses a range that lies within the object".to_owned(),
            },
            Self::Unexplained(error) | Self::Other(error) => error,
        }
    }

    /// For what was to go: that it is not there is a success.
    pub(super) fn unless_absent(self, key: &ObjectKey) -> Result<(), StoreError> {
        if matches!(self, Self::Absent) { Ok(()) } else { Err(self.of(key)) }
    }
}

impl Asked<'_> {
    /// Reads what `object_store` made of it.
    pub(super) fn failure(&self, error: &object_store::Error) -> Failure {
        let chain = chain(error);
        if let Some(answer) = chain.iter().find_map(|error| error.downcast_ref::<Answer>()) {
            return self.answer(answer);
        }
        let at = &self.address.endpoint;
        Failure::Other(match chain.iter().find_map(|error| tls(*error)) {
            Some(why @ (rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)) => self
                .refused(format!(
                    "the certificate of {at} is not trusted ({why}): correct the endpoint, or install the \
                     certificate's authority on this machine"
                )),
            Some(rustls::Error::InvalidMessage(_)) => self.refused(format!(
                "what answers at {at} does not speak TLS: write http:// into s3_endpoint (AWS_ENDPOINT_URL_S3), or \
                 the port of its https"
            )),
            Some(_) | None => self.unavailable(format!("{at} {}: {}", transport(&chain), self.look())),
        })
    }

    /// The setting that says where the store is.
    const fn look(&self) -> &'static str {
        if self.address.is_aws {
            "look at s3_region (AWS_REGION), and at this machine's network"
        } else {
            "look at s3_endpoint (AWS_ENDPOINT_URL_S3), and whether the store runs"
        }
    }

    fn answer(&self, answer: &Answer) -> Failure {
        match (answer.status, answer.code.as_str()) {
            _ if answer.passes() => Failure::Other(self.unavailable(answer.to_string())),
            _ if answer.of_role || answer.is_page => Failure::Other(self.refused(self.words(answer))),
            (404, code) if code != "NoSuchBucket" => Failure::Absent,
            (412, _) => Failure::Taken,
            (416, _) => Failure::BeyondEnd,
            _ if !answer.had_body => Failure::Unexplained(self.refused(self.words(answer))),
            _ => Failure::Other(self.refused(self.words(answer))),
        }
    }

    /// What is wrong and what to do. Codes: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
    fn words(&self, answer: &Answer) -> String {
        let Self { bucket, region, right, .. } = self;
        match (answer.status, answer.code.as_str()) {
            _ if answer.of_role => "no keys are set and this machine has no role: set AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY"
                .to_owned(),
            _ if answer.is_page => {
                "what answers is a web page and no S3: correct AWS_ENDPOINT_URL, which wants the \
                 address of the API, not that of a console"
                    .to_owned()
            }
            (_, "InvalidAccessKeyId") => {
                "it does not know the access key: correct AWS_ACCESS_KEY_ID".to_owned()
            }
            (_, "SignatureDoesNotMatch") => "the secret does not belong to the access key: correct \
                 AWS_SECRET_ACCESS_KEY (or something between here and the store alters requests)"
                .to_owned(),
            (_, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => {
                "the session token is not valid any more: renew AWS_SESSION_TOKEN with its keys".to_owned()
            }
            (_, "RequestTimeTooSkewed" | "RequestExpired") => {
                "this machine's clock is wrong by more than the store \
                 allows (15 minutes on AWS): set it, for instance with NTP"
                    .to_owned()
            }
            (_, "NoSuchBucket") => {
                format!(
                    "there is no bucket {bucket}: create it, or correct the store's address (--store-url)"
                )
            }
            (_, "InvalidBucketName") => {
                format!("{bucket} cannot be a bucket's name: correct the store's address (--store-url)")
            }
            (301 | 307, _) | (_, "PermanentRedirect" | "AuthorizationHeaderMalformed" | "InvalidRegion") => {
                let other = answer.region.as_deref().filter(|other| other != region);
                let hint = other.map_or(" to the bucket's".to_owned(), |other| format!("={other}"));
                format!("the bucket {bucket} is not in the region {region}: set AWS_REGION{hint}")
            }
            (401 | 403, _) => {
                format!("the keys do not have the right to do this: allow {right} in their policy ({answer})")
            }
            (501, _) => format!("it does not know this part of S3 ({answer})"),
            // As of a web server whose port wants https.
            (_, "") if answer.message.is_empty() => {
                format!("{answer} at {}, and does not say why: {}", self.address.endpoint, self.look())
            }
            _ => answer.to_string(),
        }
    }

    pub(super) fn unavailable(&self, why: impl Into<String>) -> StoreError {
        StoreError::Unavailable { what: self.what.to_owned(), why: why.into() }
    }

    pub(super) fn refused(&self, why: impl Into<String>) -> StoreError {
        StoreError::Refused { what: self.what.to_owned(), why: why.into() }
    }
}

/// The error and what caused it, down to the first.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut chain = vec![error];
    while let Some(cause) = chain.last().copied().and_then(|error| error.source()) {
        chain.push(cause);
    }
    chain
}

/// What TLS has against the other side.
fn tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        return tls(inner);
    }
    error.downcast_ref()
}

/// No answer, or half of one. The innermost error is the one that says something.
fn transport(chain: &[&(dyn Error + 'static)]) -> String {
    let kind = chain.iter().find_map(|error| error.downcast_ref::<HttpError>()).map(HttpError::kind);
    let innermost = chain.last().map(ToString::to_string).unwrap_or_default();
    match kind {
        Some(HttpErrorKind::Timeout) => "does not answer in time".to_owned(),
        Some(HttpErrorKind::Connect) => format!("cannot be reached ({innermost})"),
        Some(_) => format!("broke the connection ({innermost})"),
        None => format!("gave an answer that cannot be understood ({innermost})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(source: impl Error + Send + Sync + 'static, kind: HttpErrorKind) -> StoreError {
        let endpoint = "https://s3.example:9000".to_owned();
        let address = &Address { endpoint, in_host: false, is_aws: false };
        let asked =
            Asked { what: "k", right: "s3:PutObject", bucket: "bucket", region: "us-east-1", address };
        let error =
            object_store::Error::Generic { store: "S3", source: Box::new(HttpError::new(kind, source)) };
        asked.failure(&error).of(&ObjectKey::new("k").unwrap())
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_refused() {
        let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        for error in [io::Error::other(unknown.clone()), io::Error::other(io::Error::other(unknown))] {
            let error = failure(error, HttpErrorKind::Connect);
            assert!(
                !error.is_passing() && error.to_string().contains("install the certificate's"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_gives_no_answer_passes() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = failure(refused, HttpErrorKind::Connect);
        let told = "https://s3.example:9000 cannot be reached (connection refused): look at s3_endpoint";
        assert!(error.is_passing() && error.to_string().contains(told), "{error}");
    }

    #[test]
    fn an_answer_without_tls_is_told_with_what_to_write() {
        let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        let error = failure(io::Error::other(plain), HttpErrorKind::Connect);
        let told = "https://s3.example:9000 does not speak TLS: write http:// into s3_endpoint";
        assert!(!error.is_passing() && error.to_string().contains(told), "{error}");
    }

    #[test]
    fn a_machine_without_a_role_is_told_which_keys_to_set() {
        let error = failure(Answer::no_role(), HttpErrorKind::Unknown);
        assert!(!error.is_passing() && error.to_string().contains("set AWS_ACCESS_KEY_ID"), "{error}");
    }
}
