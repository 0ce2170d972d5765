//! A store that speaks S3: AWS, `MinIO`, Garage, Ceph, R2, Supabase and others, over `object_store`.
//!
//! A few attempts a request are made here, within seconds; outlasting an outage is for whoever calls. No request
//! relies on a condition being honoured, since some stores accept conditions and ignore them.

use std::fmt;
use std::io;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{GetOptions, GetResult, ObjectStore, ObjectStoreExt};
use reeltime_core::keys::ObjectKey;
use reqwest::Method;

use super::{ByteSender, ByteStream, CHUNK, ObjectMeta, PartStore, Prefix, Signed, Store, StoreError};

mod address;
mod failure;
mod left;
mod options;
mod parts;
mod put;
mod wire;

use address::Address;
pub use address::{OptionsError, is_bucket};
use failure::{Asked, Failure};
use left::Left;
pub use options::{Addressing, Credentials, Encryption, S3Options};

/// AWS takes no longer one. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html>
const LONGEST_SIGNATURE: Duration = Duration::from_secs(7 * 24 * 3600);
/// No store has objects as large; some answer larger numbers with an error of their own.
const BEYOND_ANY: u64 = 1 << 50;
/// Keys of an object are at most this long, prefix included: bytes.
const MOST_OF_A_KEY: usize = 1024;
/// How often an object's body is asked for again from where it broke off, without any progress.
const RESUMES: u32 = 4;
/// What says where this process gets its role from, beside the machine itself.
const ROLE_VARIABLES: [&str; 6] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// A bucket, or what is below a prefix in it.
#[derive(Clone)]
pub struct S3Store {
    client: AmazonS3,
    bucket: String,
    region: String,
    address: Address,
    prefix: Prefix,
    parts_in_flight: usize,
    left: Left,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Store(s3://{}/{})", self.bucket, self.prefix)
    }
}

impl S3Store {
    /// A store in `bucket` below `prefix`. Nothing is asked yet.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where the options make no sense.
    pub fn open(bucket: &str, prefix: Prefix, options: &S3Options) -> Result<Self, StoreError> {
        let region = options.region().to_owned();
        let refused = |why: String| StoreError::Refused { what: format!("s3://{bucket}/{prefix}"), why };
        let address = options.check(bucket).and_then(|()| options.address(bucket));
        let address = address.map_err(|error| refused(error.to_string()))?;
        let builder = builder(bucket, options)
            .with_endpoint(&address.endpoint)
            .with_virtual_hosted_style_request(address.in_host);
        let builder = encrypted(builder, &options.encryption);
        let client = builder.build().map_err(|error| refused(error.to_string()))?;
        let parts_in_flight = options.parts_in_flight.max(1);
        let left = Left::default();
        Ok(Self { client, bucket: bucket.to_owned(), region, address, prefix, parts_in_flight, left })
    }

    /// Where `key` lies in the bucket.
    fn path(&self, key: &ObjectKey) -> Result<Path, StoreError> {
        let full = self.prefix.join(key.as_str());
        let refused = |why: String| StoreError::Refused { what: key.to_string(), why };
        if full.len() > MOST_OF_A_KEY {
            return Err(refused(format!(
                "with its prefix the key has {} bytes, and S3 takes {MOST_OF_A_KEY}",
                full.len()
            )));
        }
        Path::parse(&full).map_err(|error| refused(error.to_string()))
    }

    /// What was asked for, to explain a failure with.
    fn asked<'a>(&'a self, what: &'a str, right: &'static str) -> Asked<'a> {
        Asked { what, right, bucket: &self.bucket, region: &self.region, address: &self.address }
    }

    async fn look(&self, key: &ObjectKey, options: GetOptions) -> Result<GetResult, Failure> {
        let path = self.path(key).map_err(Failure::Other)?;
        let got = self.client.get_opts(&path, options).await;
        got.map_err(|error| self.asked(key.as_str(), "s3:GetObject and s3:ListBucket").failure(&error))
    }

    /// The head of an object. A refusal without a body is asked for its reason by a GET.
    async fn find(&self, key: &ObjectKey) -> Result<Option<GetResult>, StoreError> {
        let outcome = match self.look(key, GetOptions { head: true, ..GetOptions::default() }).await {
            Err(Failure::Unexplained(unexplained)) => match self.look(key, first_byte()).await {
                Err(failure) => Err(failure),
                Ok(_) => Err(Failure::Other(unexplained)),
            },
            outcome => outcome,
        };
        match outcome {
            Ok(found) => Ok(Some(found)),
            Err(Failure::Absent) => Ok(None),
            Err(failure) => Err(failure.of(key)),
        }
    }

    /// One page of a list, and where the next begins.
    async fn page(
        &self,
        prefix: &str,
        page_token: Option<String>,
    ) -> Result<(Vec<ObjectMeta>, Option<String>), StoreError> {
        let options = PaginatedListOptions { page_token, ..PaginatedListOptions::default() };
        let full = self.prefix.join(prefix);
        let listed = self.client.list_paginated(Some(&full), options).await;
        let listed = listed.map_err(|error| {
            let failure = self.asked(&full, "s3:ListBucket").failure(&error);
            match failure {
                Failure::Unexplained(error) | Failure::Other(error) => error,
                Failure::Absent | Failure::Taken | Failure::BeyondEnd => {
                    self.asked(&full, "").refused("it does not list the bucket: correct the endpoint")
                }
            }
        })?;
        let ours = listed.result.objects.into_iter().filter_map(|object| {
            Some(ObjectMeta { key: self.prefix.strip(object.location.as_ref())?, size: object.size })
        });
        Ok((ours.collect(), listed.page_token))
    }

    /// Sends the bytes of `first`'s range to `sender`, and goes on where an answer breaks off.
    async fn pump(self, key: ObjectKey, first: GetResult, sender: ByteSender) {
        // Nobody may be reading any more: then there is nobody to tell.
        let _ = match self.relay_all(&key, first, &sender).await {
            Ok(()) => sender.finish().await,
            Err(Some(error)) => sender.fail(error).await,
            Err(None) => return,
        };
    }

    async fn relay_all(
        &self,
        key: &ObjectKey,
        first: GetResult,
        sender: &ByteSender,
    ) -> Result<(), Option<io::Error>> {
        let Range { start: mut at, end } = first.range;
        let mut answer: Result<GetResult, Failure> = Ok(first);
        let mut resumes = 0;
        loop {
            let before = at;
            let broken = match answer {
                Ok(answer) => match relay(answer, &mut at, sender).await {
                    Ok(()) if at >= end => return Ok(()),
                    Ok(()) => io::Error::new(io::ErrorKind::UnexpectedEof, "the store's answer ended early"),
                    Err(Some(error)) => error,
                    Err(None) => return Err(None),
                },
                Err(failure) => io::Error::other(failure.of(key)),
            };
            resumes = if at > before { 0 } else { resumes + 1 };
            if resumes > RESUMES {
                return Err(Some(broken));
            }
            tokio::time::sleep(Duration::from_millis(100 << resumes)).await;
            answer = self.look(key, ranged(at..end)).await;
        }
    }
}

/// Sends what comes, and counts it in `at`. Fails with `None` where nobody reads any more.
async fn relay(answer: GetResult, at: &mut u64, sender: &ByteSender) -> Result<(), Option<io::Error>> {
    let mut chunks = answer.into_stream();
    while let Some(mut chunk) = chunks.try_next().await.map_err(|error| Some(io::Error::other(error)))? {
        *at += chunk.len() as u64;
        while !chunk.is_empty() {
            let piece = chunk.split_to(chunk.len().min(CHUNK));
            sender.send(piece).await.map_err(|_| None)?;
        }
    }
    Ok(())
}

/// A client for signed addresses, which need nothing of S3.
pub(super) fn plain_client() -> reqwest::Result<reqwest::Client> {
    wire::plain_client(S3Options::default().answer_timeout)
}

fn ranged(range: Range<u64>) -> GetOptions {
    GetOptions { range: Some(range.into()), ..GetOptions::default() }
}

fn first_byte() -> GetOptions {
    ranged(0..1)
}

fn builder(bucket: &str, options: &S3Options) -> AmazonS3Builder {
    let retry = object_store::RetryConfig {
        backoff: object_store::BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(1),
            base: 2.0,
        },
        max_retries: 3,
        retry_timeout: Duration::from_secs(10),
    };
    let builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(options.region())
        .with_retry(retry)
        .with_unsigned_payload(options.unsigned_payload)
        .with_disable_bulk_delete(true)
        .with_http_connector(wire::Connector { silence: options.answer_timeout });
    match &options.credentials {
        Some(keys) => {
            let builder = builder.with_access_key_id(&keys.id).with_secret_access_key(&keys.secret);
            keys.session_token.iter().fold(builder, |builder, token| builder.with_token(token))
        }
        None => ROLE_VARIABLES.into_iter().fold(builder, |builder, name| {
            let key = name.to_lowercase().parse::<AmazonS3ConfigKey>();
            match (key, std::env::var(name)) {
                (Ok(key), Ok(value)) => builder.with_config(key, value),
                _ => builder,
            }
        }),
    }
}

fn encrypted(builder: AmazonS3Builder, encryption: &Encryption) -> AmazonS3Builder {
    match encryption {
        Encryption::None => builder,
        Encryption::Managed => match "aws_server_side_encryption".parse::<AmazonS3ConfigKey>() {
            Ok(key) => builder.with_config(key, "AES256"),
            Err(_) => builder,
        },
        Encryption::Kms { key } => builder.with_sse_kms_encryption(key),
        Encryption::Customer { key } => builder.with_ssec_encryption(key),
    }
}

#[async_trait]
impl Store for S3Store {
    async fn put(&self, key: &ObjectKey, body: ByteStream) -> Result<ObjectMeta, StoreError> {
        if self.find(key).await?.is_some() {
            return Err(StoreError::AlreadyExists { key: key.clone() });
        }
        self.write(key, body).await
    }

    async fn put_free(&self, key: &ObjectKey, body: ByteStream) -> Result<ObjectMeta, StoreError> {
        self.write(key, body).await
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ByteStream, StoreError> {
        let absent = || StoreError::NotFound { key: key.clone() };
        let options = match range {
            // No HTTP range is empty, so it is only seen whether the object is there.
            Some(range) if range.is_empty() || range.start >= BEYOND_ANY => {
                return self.find(key).await?.map(|_| Bytes::new().into()).ok_or_else(absent);
            }
            Some(range) => ranged(range.start..range.end.min(BEYOND_ANY)),
            None => GetOptions::default(),
        };
        let first = match self.look(key, options).await {
            Err(Failure::BeyondEnd) => return Ok(Bytes::new().into()),
            outcome => outcome.map_err(|failure| failure.of(key))?,
        };
        let (sender, body) = ByteStream::channel(2);
        tokio::spawn(self.clone().pump(key.clone(), first, sender));
        Ok(body)
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        let found = self.find(key).await?;
        Ok(found.map(|found| ObjectMeta { key: key.clone(), size: found.meta.size }))
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let deleted = self.client.delete(&self.path(key)?).await;
        let asked = self.asked(key.as_str(), "s3:DeleteObject");
        deleted.or_else(|error| asked.failure(&error).unless_absent(key))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let (mut all, mut next) = self.page(prefix, None).await?;
        while let Some(token) = next {
            let (page, after) = self.page(prefix, Some(token)).await?;
            all.extend(page);
            next = after;
        }
        // Some stores list by another order than that of the bytes.
        all.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(all)
    }

    fn is_remote(&self) -> bool {
        true
    }

    async fn honours_conditions(&self, key: &ObjectKey) -> Result<Option<bool>, StoreError> {
        self.refuses_what_is_taken(key).await.map(Some)
    }

    fn place(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }

    fn parts(&self, key: &ObjectKey) -> Option<(&dyn PartStore, ObjectKey)> {
        Some((self, key.clone()))
    }

    async fn sign(
        &self,
        what: Signed,
        key: &ObjectKey,
        valid: Duration,
    ) -> Result<Option<String>, StoreError> {
        let method = match what {
            Signed::Get => Method::GET,
            Signed::Put => Method::PUT,
        };
        let signed = self.client.signed_url(method, &self.path(key)?, valid.min(LONGEST_SIGNATURE)).await;
        let url = signed.map_err(|error| self.asked(key.as_str(), "s3:GetObject").failure(&error).of(key))?;
        Ok(Some(url.into()))
    }
}
