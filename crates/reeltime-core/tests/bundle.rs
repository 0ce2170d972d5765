//! Bundles: what is put in comes out, in this version and every later one; what is altered is found, and costs its range.

use std::path::Path;

use proptest::prelude::*;
use reeltime_core::bundle::{BundleError, File, Index, Kind, Name, Owner, Range, TRAILER, Writer};
use reeltime_core::id::{NodeId, RecordingId, TrackId};
use uuid::Uuid;

fn owner(n: u8) -> Owner {
    Owner { tenant: format!("tenant-{n}"), recording: RecordingId(Uuid::from_u128(n.into())) }
}

fn file(n: u8) -> File {
    let kind = if n.is_multiple_of(2) { Kind::Log } else { Kind::Sound };
    File { track: TrackId(Uuid::from_u128(100 + u128::from(n))), number: u32::from(n % 3), kind }
}

type Piece = (u8, u64, Vec<u8>);

fn write(pieces: &[Piece]) -> Vec<u8> {
    let mut writer = Writer::default();
    for (n, offset, bytes) in pieces {
        writer.add(&owner(*n), file(*n), *offset, bytes);
    }
    writer.finish().0
}

/// A range as it was read.
type Read = (Option<Owner>, File, u64, Result<Vec<u8>, BundleError>);

fn read(bundle: &[u8]) -> Result<Vec<Read>, BundleError> {
    let index = Index::read(bundle, bundle.len() as u64)?;
    let piece = |range: &Range| {
        let bytes = index.bytes(range, bundle).map(<[u8]>::to_vec);
        (index.owner(range).cloned(), range.file, range.offset, bytes)
    };
    Ok(index.ranges.iter().map(piece).collect())
}

fn some() -> Vec<Piece> {
    vec![(1, 0, b"sound of one".to_vec()), (2, 70_000, vec![7; 300]), (1, 12, b"more".to_vec())]
}

proptest! {
    #[test]
    fn what_is_put_in_comes_out(pieces in prop::collection::vec((any::<u8>(), any::<u32>(), prop::collection::vec(any::<u8>(), 1..200)), 0..20)) {
        let pieces: Vec<Piece> = pieces.into_iter().map(|(n, offset, bytes)| (n, offset.into(), bytes)).collect();
        let out = read(&write(&pieces)).unwrap();
        let put: Vec<_> = pieces.into_iter().map(|(n, offset, bytes)| (Some(owner(n)), file(n), offset, Ok(bytes))).collect();
        prop_assert_eq!(out, put);
    }
}

#[test]
fn each_altered_byte_is_found_and_costs_no_more_than_its_range() {
    let bundle = write(&some());
    let whole = read(&bundle).unwrap();
    let index = Index::read(&bundle, bundle.len() as u64).unwrap();
    let body = 16..index.ranges.last().map(|range| range.at + range.length as usize).unwrap();
    for at in 0..bundle.len() {
        let mut altered = bundle.clone();
        altered[at] ^= 0x10;
        match read(&altered) {
            Ok(out) if body.contains(&at) => {
                for (n, (got, was)) in out.iter().zip(&whole).enumerate() {
                    let hit = (index.ranges[n].at..).take(index.ranges[n].length as usize).any(|b| b == at);
                    assert_eq!(got.3.is_err(), hit, "byte {at}, range {n}");
                    assert!(hit || got == was);
                }
            }
            // The head only says what the file is.
            Ok(out) => assert!(at < 16 && out == whole, "byte {at}"),
            Err(error) => {
                assert!(at >= body.end, "byte {at}: {error}");
            }
        }
    }
}

#[test]
fn a_bundle_cut_anywhere_says_so() {
    let bundle = write(&some());
    for cut in 0..bundle.len() {
        assert!(read(&bundle[..cut]).is_err(), "cut at {cut}");
    }
    // Bytes lost from its middle: the index knows how many there should be.
    let short = [&bundle[..20], &bundle[21..]].concat();
    let told = bundle.len() as u64;
    assert_eq!(read(&short), Err(BundleError::Size { told, size: told - 1 }));
}

#[test]
fn a_tail_is_enough_to_know_what_is_in_it() {
    let bundle = write(&some());
    let size = bundle.len() as u64;
    let Err(BundleError::Tail { need }) = Index::read(&bundle[bundle.len() - TRAILER..], size) else {
        panic!("the trailer alone is no index")
    };
    let index = Index::read(&bundle[bundle.len() - need..], size).unwrap();
    assert_eq!(index, Index::read(&bundle, size).unwrap());
    assert_eq!(index.owners, [owner(1), owner(2)], "each recording once");
    assert_eq!(index.ranges.iter().map(Range::end).collect::<Vec<_>>(), [12, 70_300, 16]);
}

#[test]
fn one_of_a_later_version_says_so() {
    let mut bundle = write(&[]);
    let end = bundle.len();
    let start = end - TRAILER - 10;
    bundle[start] = 2;
    let crc = crc32c::crc32c(&bundle[start..end - TRAILER]);
    bundle[end - 12..end - 8].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(read(&bundle), Err(BundleError::Version { version: 2 }));
}

#[test]
fn names_sort_as_they_were_made_and_are_read_back() {
    let node = NodeId(Uuid::from_u128(9));
    let names = [(1, 2), (1, 10), (2, 1), (10, 1), (10, 2_000_000)];
    let names = names.map(|(epoch, number)| Name { epoch, number });
    let keys = names.map(|name| name.key(node).unwrap());
    assert!(keys.is_sorted() && names.is_sorted());
    for (name, key) in names.iter().zip(&keys) {
        assert_eq!(Name::parse(key.as_str()), Some((node, *name)));
    }
    for other in
        ["_reeltime/bundles/x/1/1", "_reeltime/bundles/", "recordings/1/1", "_reeltime/manifests/1.json"]
    {
        assert_eq!(Name::parse(other), None);
    }
}

#[test]
fn the_golden_bundle_of_version_1_is_read_and_written_the_same() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bundle-v1.bin");
    let written = write(&some());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    let pieces = some().into_iter().map(|(n, offset, bytes)| (Some(owner(n)), file(n), offset, Ok(bytes)));
    assert_eq!(read(&golden).unwrap(), pieces.collect::<Vec<_>>());
    assert_eq!(golden, written);
}
