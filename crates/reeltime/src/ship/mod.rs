//! Shipping: what all live logs gained goes to the store each `ship_interval`, as one object. And taking over: what
//! another node has shipped and can no longer finish.
//!
//! ```text
//! spool: synced bytes ─▶ round: ranges ─▶ bundle ─▶ put ─▶ positions advance, acks=store, the ledger notes it
//! catalogue: a lease ran out ─▶ claim ─▶ bundles ─▶ logs in our spool ─▶ ordinary recovery ─▶ published ─▶ bundles go
//! ```
//!
//! Positions advance after success alone. A bundle that could not be put is kept and put again under the same key, with
//! the same bytes; nobody else writes below this node's epoch.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use reeltime_core::keys::ObjectKey;
use tokio::sync::Notify;
use tracing::{error, info, warn};

use crate::error::Error;
use crate::recorder::{Inner, Recorder};
use crate::store::{ByteStream, Store, StoreError};

pub(crate) mod lease;
mod ledger;
mod read;
mod recall;
mod round;
mod takeover;

pub(crate) use lease::Node;

/// When to ship.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Where the store lies elsewhere.
    #[default]
    Auto,
    /// Into any store, a folder too: one on another machine's disk, say.
    Always,
    /// Never.
    Never,
}

/// What shipping is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shipping {
    /// When.
    pub when: When,
    /// How often: with `sync_interval`, the most audio that losing the machine costs. Zero is never.
    pub interval: Duration,
}

impl Default for Shipping {
    fn default() -> Self {
        Self { when: When::Auto, interval: Duration::from_secs(2) }
    }
}

impl Shipping {
    fn applies(&self, store: &dyn Store) -> bool {
        let wanted = match self.when {
            When::Auto => store.is_remote(),
            When::Always => true,
            When::Never => false,
        };
        wanted && !self.interval.is_zero()
    }
}

/// Why nothing is shipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotShipping {
    /// It is not configured, or the store lies on this machine.
    #[error(
        "ack=store needs a remote store, and shipping that is on (--ship, --ship-interval): ask for ack=disk"
    )]
    Off,
    /// The store does not let us write and delete bundles.
    #[error(
        "ack=store is not possible: the store refuses to have bundles written and deleted; ask for ack=disk"
    )]
    Refused,
}

/// Figures of shipping as of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shipped {
    /// Bytes of payload that went to the store since the start: never more than `synced`.
    pub payload: u64,
    /// How long synced audio has waited, at the worst of all tracks.
    pub lag: Duration,
    /// Bundles of this node in the store.
    pub bundles: u64,
}

/// 0 is off.
const ON: u8 = 1;
const REFUSED: u8 = 2;

/// What the rest of the recorder sees of it.
#[derive(Debug, Default)]
pub(crate) struct State {
    now: AtomicU8,
    payload: AtomicU64,
    bundles: AtomicU64,
    /// Somebody waits: a round is made at once.
    pub(crate) hurry: Notify,
}

impl State {
    /// Whether what is received will be shipped.
    pub(crate) fn check(&self) -> Result<(), NotShipping> {
        match self.now.load(Ordering::Acquire) {
            ON => Ok(()),
            REFUSED => Err(NotShipping::Refused),
            _ => Err(NotShipping::Off),
        }
    }

    fn set(&self, now: u8) {
        self.now.store(now, Ordering::Release);
    }
}

/// How it stands. What waits is looked at now: a round may hang.
pub(crate) fn figures(inner: &Inner) -> Shipped {
    let state = &inner.ship;
    Shipped {
        payload: state.payload.load(Ordering::Acquire),
        lag: state.check().map(|()| round::lag(inner)).unwrap_or_default(),
        bundles: state.bundles.load(Ordering::Relaxed),
    }
}

/// Starts what has to run: the lease, the look-out for lost nodes, and shipping where it applies.
pub(crate) fn start(recorder: &Arc<Inner>) {
    lease::start(recorder);
    if recorder.config.ship.applies(&*recorder.store) {
        recorder.ship.set(ON);
        tokio::spawn(run(Arc::downgrade(recorder), recorder.config.ship.interval));
    }
}

/// What is known to be wrong is looked at again this often: somebody may have mended it.
const AGAIN: Duration = Duration::from_secs(60);
/// The longest wait after a failure that passes.
const LONGEST: Duration = Duration::from_secs(15);

async fn run(recorder: Weak<Inner>, interval: Duration) {
    if !make_sure(&recorder).await {
        return;
    }
    let mut shipper = round::Shipper::default();
    let mut wait = interval;
    loop {
        let Some(inner) = recorder.upgrade() else { return };
        let recorder = Recorder(inner);
        wait = match shipper.round(&recorder).await {
            Ok(()) => interval,
            Err(error) => after(&error, wait),
        };
        let state = Arc::clone(&recorder.inner().ship);
        drop(recorder);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            // Not while the store is away.
            () = state.hurry.notified(), if wait == interval => {}
        }
    }
}

/// How long to wait after a failure; it was told.
fn after(error: &Error, wait: Duration) -> Duration {
    metrics::counter!("reeltime_ship_errors_total").increment(1);
    let passing = !matches!(error, Error::Store(error) if !error.is_passing());
    match passing {
        true => warn!(%error, "cannot ship now; the spool has it all, trying again"),
        false => error!(%error, "cannot ship; the spool has it all, looking again in a minute"),
    }
    let longer = (wait * 2).min(LONGEST).mul_f64(0.75 + fastrand::f64() / 2.0);
    if passing { longer } else { AGAIN }
}

/// Makes sure that what is put can be deleted: bundles that stay would cost their owner money for ever. False where the
/// recorder is gone.
async fn make_sure(recorder: &Weak<Inner>) -> bool {
    let (mut wait, mut told) = (Duration::from_millis(250), false);
    loop {
        let Some(inner) = recorder.upgrade() else { return false };
        match probe(&inner).await {
            Ok(()) => {
                inner.ship.set(ON);
                info!("shipping: live audio goes to the store as it comes");
                return true;
            }
            Err(Error::Store(error)) if !error.is_passing() => {
                if !told {
                    error!(%error, "shipping is off: the store has to allow writing and deleting below _reeltime/; losing this machine loses what is not published");
                }
                (told, wait) = (true, AGAIN);
                inner.ship.set(REFUSED);
            }
            Err(error) => {
                warn!(%error, "cannot see yet whether bundles can be shipped; trying again");
                wait = (wait * 2).min(LONGEST);
            }
        }
        drop(inner);
        tokio::time::sleep(wait).await;
    }
}

async fn probe(inner: &Inner) -> Result<(), Error> {
    let key = ObjectKey::new(format!("_reeltime/probe/{}", inner.node.id))?;
    let body = ByteStream::from_bytes(bytes::Bytes::from_static(b"may this be deleted?"));
    match inner.store.put(&key, body).await {
        // An earlier one that could not be deleted.
        Ok(_) | Err(StoreError::AlreadyExists { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    inner.store.delete(&key).await?;
    match inner.store.head(&key).await? {
        None => Ok(()),
        Some(_) => Err(StoreError::Refused {
            what: key.to_string(),
            why: "it was deleted, and is still there".to_owned(),
        }
        .into()),
    }
}
