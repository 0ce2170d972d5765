//! Tries out a store with a probe, and says what does not work and what follows from it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use reeltime_core::keys::ObjectKey;
use serde::Serialize;
use uuid::Uuid;

use super::{ByteStream, ObjectMeta, PART, PartStore, Signed, Store, StoreError};

/// Where probes lie: below this, so that one lifecycle rule takes away what could not be deleted.
pub const PROBES: &str = "_reeltime/probe";
/// Bytes of the short probe.
const SIZE: usize = 1000;
/// How long the probe's signed address is good for.
const VALID: Duration = Duration::from_secs(60);

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should.
    Passed,
    /// It does not work, and recordings are stored and read all the same.
    Limited,
    /// It does not work, and no recording would be safe there.
    Failed,
    /// It was not tried.
    Skipped,
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// A word for it.
    pub name: &'static str,
    /// How it went.
    pub outcome: Outcome,
    /// What is wrong and what to do; or why it was not tried. Empty where it passed.
    pub why: String,
    /// What cannot be done until that is mended. Empty where it passed.
    pub follows: &'static str,
}

/// All that was tried, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Every step.
    pub steps: Vec<Step>,
}

impl Report {
    /// Whether recordings can be stored there and read.
    pub fn is_ok(&self) -> bool {
        self.steps.iter().all(|step| step.outcome != Outcome::Failed)
    }

    fn add(&mut self, name: &'static str, outcome: Outcome, why: impl Into<String>, follows: &'static str) {
        self.steps.push(Step { name, outcome, why: why.into(), follows });
    }

    /// Notes how a step went that recordings cannot do without; whether it passed.
    fn must(&mut self, name: &'static str, outcome: Result<(), String>, follows: &'static str) -> bool {
        let passed = outcome.is_ok();
        match outcome {
            Ok(()) => self.add(name, Outcome::Passed, "", ""),
            Err(why) => self.add(name, Outcome::Failed, why, follows),
        }
        passed
    }

    /// Notes how a step went that recordings can do without; `None` where the store has no such thing.
    fn may(&mut self, name: &'static str, outcome: Result<Option<()>, String>, follows: &'static str) {
        match outcome {
            Ok(Some(())) => self.add(name, Outcome::Passed, "", ""),
            Ok(None) => self.add(name, Outcome::Skipped, "this store has no such thing, and needs none", ""),
            Err(why) => self.add(name, Outcome::Limited, why, follows),
        }
    }
}

const RECORDING: &str = "recordings stay in the spool, on this machine's disk, until it works";
const PLAYING: &str = "recordings could be stored and not be played";
const ABORTING: &str = "uploads that were begun and given up stay, unseen and paid for, until the bucket's lifecycle \
                        rule for incomplete uploads takes them away";
const CONDITIONS: &str = "nothing is lost by it: the catalogue alone says whose a key is, so never let two catalogues \
                          write below one prefix";
const SIGNING: &str = "whoever plays a recording gets its bytes through this server";
const DELETING: &str = "what is deleted stays in the store: retention, the sweeper of what was left behind, and the \
                        clearing of shipped bundles do not work; set a lifecycle rule for _reeltime/ in the bucket";

/// Tries out `store`. What it writes it deletes, where it may.
pub async fn check(store: &dyn Store) -> Report {
    let mut report = Report::default();
    let id = Uuid::new_v4();
    let (Ok(short), Ok(long)) = (
        ObjectKey::new(format!("{PROBES}/{id}/short.bin")),
        ObjectKey::new(format!("{PROBES}/{id}/long.bin")),
    ) else {
        return report;
    };
    if report.must("write", write(store, &short).await, RECORDING) {
        report.must("read", read(store, &short).await, PLAYING);
        report.must("range", range(store, &short).await, PLAYING);
        report.must(
            "list",
            list(store, &short).await,
            "what was left behind is not found, and the catalogue cannot be rebuilt",
        );
        report.must("overwrite", overwrite(store, &short).await, "a recording could replace another");
        if let Some((parts, at)) = store.parts(&long) {
            report.must(
                "parts",
                in_parts(store, parts, &long, &at).await,
                "recordings longer than 5 MiB are not stored",
            );
            report.may("abort", abort(parts, &at).await.map(Some), ABORTING);
        }
        report.may("signed address", signed(store, &short).await, SIGNING);
        report.may("conditions", conditions(store, &short).await, CONDITIONS);
        report.may("delete", delete(store, [&short, &long]).await.map(Some), DELETING);
    }
    report
}

fn probe() -> Bytes {
    (0..SIZE).map(|at| (at % 251) as u8).collect()
}

fn said(error: StoreError) -> String {
    use std::error::Error;
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn same(got: &[u8], wanted: &[u8]) -> Result<(), String> {
    let differ = || {
        format!(
            "{} bytes were asked for, and {} other ones came: something between here and the store alters them",
            wanted.len(),
            got.len()
        )
    };
    if got == wanted { Ok(()) } else { Err(differ()) }
}

async fn bytes(body: Result<ByteStream, StoreError>) -> Result<Vec<u8>, String> {
    let chunks: Vec<Bytes> = body.map_err(said)?.try_collect().await.map_err(|error| error.to_string())?;
    Ok(chunks.concat())
}

async fn write(store: &dyn Store, key: &ObjectKey) -> Result<(), String> {
    store.put(key, probe().into()).await.map(drop).map_err(said)
}

async fn read(store: &dyn Store, key: &ObjectKey) -> Result<(), String> {
    same(&bytes(store.get(key, None).await).await?, &probe())
}

async fn range(store: &dyn Store, key: &ObjectKey) -> Result<(), String> {
    let (middle, tail) = (100..200, SIZE as u64 - 10..SIZE as u64 + 10);
    same(&bytes(store.get(key, Some(middle)).await).await?, &probe().slice(100..200))?;
    same(&bytes(store.get(key, Some(tail)).await).await?, &probe().slice(SIZE - 10..))
}

async fn list(store: &dyn Store, key: &ObjectKey) -> Result<(), String> {
    let listed = store.list(key.as_str()).await.map_err(said)?;
    let wanted = [ObjectMeta { key: key.clone(), size: SIZE as u64 }];
    if listed == wanted { Ok(()) } else { Err("what was just written is not in the list".to_owned()) }
}

async fn overwrite(store: &dyn Store, key: &ObjectKey) -> Result<(), String> {
    match store.put(key, probe().into()).await {
        Err(StoreError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(said(error)),
        Ok(_) => Err("an object that is there was not seen".to_owned()),
    }
}

async fn in_parts(
    store: &dyn Store,
    parts: &dyn PartStore,
    key: &ObjectKey,
    at: &ObjectKey,
) -> Result<(), String> {
    let upload = parts.begin(at).await.map_err(said)?;
    let made = async {
        let tail = parts.put_part(at, &upload, 2, probe()).await?;
        let head = parts.put_part(at, &upload, 1, vec![7; PART].into()).await?;
        parts.complete(at, &upload, &[head, tail]).await
    };
    if let Err(error) = made.await {
        // The first error is the one to tell.
        let _ = parts.abort(at, &upload).await;
        return Err(said(error));
    }
    let edge = PART as u64;
    let wanted = [&[7; 10], &probe()[..10]].concat();
    same(&bytes(store.get(key, Some(edge - 10..edge + 10)).await).await?, &wanted)
}

async fn abort(parts: &dyn PartStore, at: &ObjectKey) -> Result<(), String> {
    let upload = parts.begin(at).await.map_err(said)?;
    parts.put_part(at, &upload, 1, probe()).await.map_err(said)?;
    parts.abort(at, &upload).await.map_err(said)
}

async fn signed(store: &dyn Store, key: &ObjectKey) -> Result<Option<()>, String> {
    let Some(url) = store.sign(Signed::Get, key, VALID).await.map_err(said)? else { return Ok(None) };
    let asked = async {
        let client = super::s3::plain_client()?;
        client.get(url).send().await?.error_for_status()?.bytes().await
    };
    // The address is a secret while it is good.
    let got = asked.await.map_err(|error: reqwest::Error| {
        format!("a signed address does not work: {}", error.without_url())
    })?;
    same(&got, &probe()).map(Some)
}

async fn conditions(store: &dyn Store, key: &ObjectKey) -> Result<Option<()>, String> {
    match store.honours_conditions(key).await.map_err(said)? {
        None => Ok(None),
        Some(true) => Ok(Some(())),
        Some(false) => Err("the store takes a condition (If-None-Match) and ignores it".to_owned()),
    }
}

async fn delete(store: &dyn Store, keys: [&ObjectKey; 2]) -> Result<(), String> {
    for key in keys {
        store.delete(key).await.map_err(said)?;
        if store.head(key).await.map_err(said)?.is_some() {
            return Err("what was deleted is still there: is the bucket locked (Object Lock)?".to_owned());
        }
    }
    Ok(())
}
