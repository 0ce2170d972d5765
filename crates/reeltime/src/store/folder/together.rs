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
pub(super) struct Member<'t> {
    together: &'t Together,
    /// The first round that may have met a failure of what this one wrote.
    since: u64,
}

impl Together {
    pub(super) fn join(&self) -> Member<'_> {
        self.active.fetch_add(1, Ordering::AcqRel);
        let rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        Member { together: self, since: rounds.ended + 1 }
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.together.active.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Member<'_> {
    /// Syncs everything that was written to the file system of `root` before; false where there are too few for
    /// that, or a round has failed since this one joined: then each has to sync its own. The system reports a failure
    /// to each open file once, so all rounds are asked through `root`, and a failure counts for all who were there.
    pub(super) fn sync(&self, root: impl AsFd) -> bool {
        let together = self.together;
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
            let synced = rustix::fs::syncfs(root.as_fd()).is_ok();
            rounds = together.rounds.lock().unwrap_or_else(PoisonError::into_inner);
            rounds.running = false;
            rounds.ended = round;
            if !synced {
                rounds.failed = round;
            }
            together.done.notify_all();
        }
        rounds.failed < self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_round_counts_for_all_who_were_there_and_for_nobody_after() {
        let root = std::fs::File::open(std::env::temp_dir()).unwrap();
        let together = Together::default();
        let there: Vec<_> = (0..MANY).map(|_| together.join()).collect();
        {
            let mut rounds = together.rounds.lock().unwrap();
            (rounds.begun, rounds.ended, rounds.failed) = (1, 1, 1);
        }
        assert!(there.iter().all(|member| !member.sync(&root)));
        assert!(together.join().sync(&root));
    }

    #[test]
    fn a_few_sync_their_own() {
        let root = std::fs::File::open(std::env::temp_dir()).unwrap();
        assert!(!Together::default().join().sync(&root));
    }
}
