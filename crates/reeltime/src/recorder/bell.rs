//! What a connection is woken for, besides its socket: one bell, rung for several reasons. Waiting on a channel for
//! each of them would cost more, at every message, than reading the message.

use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// A newer connection wants the session.
pub(crate) const TAKEOVER: u8 = 1;
/// A control waits in the session's queue.
pub(crate) const CONTROL: u8 = 2;
/// The recorder goes down.
pub(crate) const LEAVE: u8 = 4;
/// More is synced.
pub(crate) const SYNCED: u8 = 8;
/// Nothing was heard for a while: ask for a sign of life.
pub(crate) const PING: u8 = 16;

/// One connection's bell.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: AtomicU8,
    waker: AtomicWaker,
}

impl Bell {
    /// Rings, for the reasons given.
    pub(crate) fn ring(&self, reasons: u8) {
        self.rung.fetch_or(reasons, Ordering::AcqRel);
        self.waker.wake();
    }

    /// Forgets what it was rung for.
    pub(crate) fn reset(&self) {
        self.rung.store(0, Ordering::Release);
    }

    /// The reasons since the last call.
    pub(crate) fn take(&self) -> u8 {
        if self.rung.load(Ordering::Acquire) == 0 { 0 } else { self.rung.swap(0, Ordering::AcqRel) }
    }

    /// Waits for a reason.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<u8> {
        self.waker.register(cx.waker());
        match self.take() {
            0 => Poll::Pending,
            reasons => Poll::Ready(reasons),
        }
    }
}
