//! Replays the seeds of every target, and every seed with each byte changed and cut short at each length.

use std::fs;
use std::path::Path;

/// Seeds longer than this are changed only at their first bytes, to keep the suite quick.
const MUTATED: usize = 2_048;

fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
    let mut seeds = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        variations(&fs::read(&path).unwrap(), target);
        seeds += 1;
    }
    assert!(seeds > 0, "no seeds in {}", folder.display());
}

fn variations(seed: &[u8], target: fn(&[u8])) {
    target(seed);
    let mut changed = seed.to_vec();
    for at in 0..seed.len().min(MUTATED) {
        target(&seed[..at]);
        for change in [1, 0x80, 0xff] {
            changed[at] ^= change;
            target(&changed);
            changed[at] = seed[at];
        }
    }
}

macro_rules! targets {
    ($($name:ident),*) => { $(
        #[test]
        fn $name() {
            replay(stringify!($name), reeltime_fuzz::$name);
        }
    )* };
}

targets!(bundle, log, wire, range, link, key, opus, timeline);
