//! Syncs that many ask for at once, done once: a call for the whole file system serves all who came before it began.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// From so many at once on, one call is cheaper than one each.
const MANY: usize = 4;

/// Rounds of syncing, one after the other.
#[derive(Debug, Default)]
pub(super) struct Together {
    active: AtomicUsize,
    rounds: Mutex<Rounds>,
    done: Condvar,
}

#[derive(Debug, Default)]
struct Rounds {
    begun: u64,
    ended: u64,
    running: bool,
    /// The last round that failed: nothing it should have synced counts.
    failed: u64,
}

/// One who may come to sync; counts as long as it lives.
pub(super) struct Member<'t>(&'t Together);

impl Together {
    pub(super) fn join(&self) -> Member<'_> {
        self.active.fetch_add(1, Ordering::AcqRel);
        Member(self)
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Member<'_> {
    /// Syncs everything that was written to `folder`'s file system before; false where there are too few for that,
    /// or it failed: then each has to sync its own.
    pub(super) fn sync(&self, folder: impl AsFd) -> bool {
        let together = self.0;
        if together.active.load(Ordering::Acquire) < MANY {
            return false;
        }
        let mut rounds = together.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        // The round that runs may have begun before our last write.
        let ours = rounds.begun + 1;
        while rounds.ended < ours {
            if rounds.running {
                rounds = together.done.wait(rounds).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            rounds.running = true;
            rounds.begun += 1;
            let round = rounds.begun;
            drop(rounds);
            let synced = rustix::fs::syncfs(folder.as_fd()).is_ok();
            rounds = together.rounds.lock().unwrap_or_else(PoisonError::into_inner);
            rounds.running = false;
            rounds.ended = round;
            if !synced {
                rounds.failed = round;
            }
            together.done.notify_all();
        }
        rounds.failed < ours
    }
}
