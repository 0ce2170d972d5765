//! Which bundles are still needed: from the first to the last that hold something of an unfinished recording.

use std::collections::{BTreeSet, HashMap};

use reeltime_core::bundle::{Name, Owner};

/// A node's bundles in the store: 16 bytes each, and two names for each unfinished recording.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    bundles: BTreeSet<Name>,
    spans: HashMap<Owner, (Name, Name)>,
}

impl Ledger {
    /// A bundle is in the store, and holds something of these.
    pub(super) fn note(&mut self, name: Name, owners: impl IntoIterator<Item = Owner>) {
        self.bundles.insert(name);
        for owner in owners {
            let span = self.spans.entry(owner).or_insert((name, name));
            *span = (span.0.min(name), span.1.max(name));
        }
    }

    /// The recordings that are not known to be finished.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = &Owner> {
        self.spans.keys()
    }

    pub(super) fn finish(&mut self, owner: &Owner) {
        self.spans.remove(owner);
    }

    /// Takes out the bundles that nobody needs any more.
    pub(super) fn take_free(&mut self) -> Vec<Name> {
        let mut spans: Vec<_> = self.spans.values().copied().collect();
        spans.sort_unstable();
        let (mut spans, mut until) = (spans.into_iter().peekable(), None);
        let mut free = Vec::new();
        for name in &self.bundles {
            while let Some((_, last)) = spans.next_if(|(first, _)| first <= name) {
                until = until.max(Some(last));
            }
            if until.is_none_or(|until| until < *name) {
                free.push(*name);
            }
        }
        self.bundles.retain(|name| free.binary_search(name).is_err());
        free
    }

    /// How many bundles there are.
    pub(super) fn len(&self) -> usize {
        self.bundles.len()
    }
}

#[cfg(test)]
mod tests {
    use reeltime_core::id::RecordingId;
    use uuid::Uuid;

    use super::*;

    fn name(number: u64) -> Name {
        Name { epoch: 1, number }
    }

    fn owner(n: u128) -> Owner {
        Owner { tenant: "default".to_owned(), recording: RecordingId(Uuid::from_u128(n)) }
    }

    #[test]
    fn a_bundle_stays_while_any_recording_spans_it() {
        let mut ledger = Ledger::default();
        for (number, owners) in [(1, vec![1]), (2, vec![1, 2]), (3, vec![2]), (4, vec![1, 3]), (5, vec![3])] {
            ledger.note(name(number), owners.into_iter().map(owner));
        }
        assert_eq!(ledger.take_free(), []);
        ledger.finish(&owner(1));
        assert_eq!(ledger.take_free(), [name(1)], "2 and 3 are the second's, 4 and 5 the third's");
        ledger.finish(&owner(3));
        assert_eq!(ledger.take_free(), [name(4), name(5)]);
        assert_eq!(ledger.take_free(), [], "each is given once");
        ledger.finish(&owner(2));
        assert_eq!((ledger.take_free(), ledger.len()), (vec![name(2), name(3)], 0));
    }
}
