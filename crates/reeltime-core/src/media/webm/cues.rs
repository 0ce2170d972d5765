//! Where clusters are, in bounded memory.

use super::ebml::{id, number, parent};

/// The most places that are kept; past them, every second one is forgotten.
const MOST: usize = 4_096;

/// Times of clusters, in milliseconds, and their places in the segment, in bytes.
pub(super) struct Cues {
    points: Vec<(u64, u64)>,
    /// One cluster in so many is kept.
    every: u64,
    seen: u64,
}

impl Cues {
    pub(super) const fn new() -> Self {
        Self { points: Vec::new(), every: 1, seen: 0 }
    }

    pub(super) fn add(&mut self, time: u64, position: u64) {
        if self.seen.is_multiple_of(self.every) {
            self.points.push((time, position));
        }
        self.seen += 1;
        if self.points.len() == MOST {
            let mut index = 0;
            self.points.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.every *= 2;
        }
    }

    /// The element `Cues`; nothing where there is no cluster.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let point = |&(time, position): &(u64, u64)| {
            let place = [number(id::CUE_TRACK, 1), number(id::CUE_CLUSTER_POSITION, position)];
            parent(id::CUE_POINT, &[number(id::CUE_TIME, time), parent(id::CUE_TRACK_POSITIONS, &place)])
        };
        let points: Vec<_> = self.points.iter().map(point).collect();
        if points.is_empty() { Vec::new() } else { parent(id::CUES, &points) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_long_the_file_is_the_places_are_even_and_few() {
        let mut cues = Cues::new();
        (0..100_000).for_each(|index| cues.add(index * 2_000, index));
        assert!((MOST / 2..MOST).contains(&cues.points.len()));
        assert_eq!(cues.every, 32);
        assert!(cues.points.windows(2).all(|pair| pair[1].1 - pair[0].1 == 32));
        assert_eq!(cues.points[0], (0, 0));
    }
}
