//! What every [`Store`] does, as tests. Run them on a store with [`store_contract!`](crate::store_contract).

use std::error::Error;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::TryStreamExt;
use reeltime::store::{ByteStream, CHUNK, ObjectMeta, Store, StoreError};
use reeltime_core::keys::ObjectKey;

type Outcome = Result<(), Box<dyn Error>>;

/// One test for each behaviour of a store. Takes the path of an async function that makes an empty one:
/// `async fn make() -> Result<(Guard, Box<dyn Store>), Box<dyn Error>>`, where the guard keeps alive what the
/// store needs. `remote` before it is for stores over a network, some of which ignore conditions: of two who write
/// one key at the same moment both may be told that it is theirs.
#[macro_export]
macro_rules! store_contract {
    ($make:path) => {
        $crate::each_behaviour! { $make, store: of_two_writers_of_one_key_one_wins }
        $crate::store_contract! { remote $make }
    };
    (remote $make:path) => {
        $crate::each_behaviour! { $make, store:
            what_was_put_is_read_back,
            an_object_is_never_overwritten,
            a_finished_file_is_taken_as_it_is_or_not_at_all,
            of_two_writers_of_one_key_one_is_whole,
            a_body_that_fails_leaves_nothing,
            nothing_is_visible_before_the_end,
            a_range_is_cut_to_the_object,
            what_is_not_there_is_not_found,
            deleting_twice_is_fine,
            a_list_has_every_key_with_its_prefix,
            odd_names_stay_apart,
            a_large_object_passes_through_in_constant_memory,
        }
    };
}

fn key(text: &str) -> Result<ObjectKey, Box<dyn Error>> {
    Ok(ObjectKey::new(text)?)
}

fn body(bytes: &'static [u8]) -> ByteStream {
    Bytes::from_static(bytes).into()
}

async fn read(
    store: &dyn Store,
    key: &ObjectKey,
    range: Option<Range<u64>>,
) -> Result<Vec<u8>, Box<dyn Error>> {
    let chunks: Vec<Bytes> = store.get(key, range).await?.try_collect().await?;
    Ok(chunks.concat())
}

/// Bytes come back as they were, an empty body too.
pub async fn what_was_put_is_read_back(store: &dyn Store) -> Outcome {
    for (name, bytes) in [("a/b/c.wav", &b"some bytes"[..]), ("empty", b"")] {
        let key = key(name)?;
        let meta = store.put(&key, body(bytes)).await?;
        assert_eq!(meta, ObjectMeta { key: key.clone(), size: bytes.len() as u64 });
        assert_eq!(store.head(&key).await?, Some(meta));
        assert_eq!(read(store, &key, None).await?, bytes);
    }
    Ok(())
}

/// A second `put` is a typed error, and the first stays.
pub async fn an_object_is_never_overwritten(store: &dyn Store) -> Outcome {
    let key = key("a/b.wav")?;
    store.put(&key, body(b"first")).await?;
    let second = store.put(&key, body(b"second")).await;
    assert!(matches!(&second, Err(StoreError::AlreadyExists { key: taken }) if *taken == key), "{second:?}");
    assert_eq!(read(store, &key, None).await?, b"first");
    Ok(())
}

/// A store that can takes a file without reading it through us, and keeps it when the file's own name goes; one that
/// cannot leaves no trace.
pub async fn a_finished_file_is_taken_as_it_is_or_not_at_all(store: &dyn Store) -> Outcome {
    let key = key("taken/a.wav")?;
    // Beside the stores that these tests make.
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("finished.wav");
    std::fs::write(&path, b"finished")?;
    let taken = store.adopt(&key, &path).await?;
    std::fs::remove_file(&path)?;
    match taken {
        None => assert_eq!(store.head(&key).await?, None),
        Some(meta) => {
            assert_eq!(meta, ObjectMeta { key: key.clone(), size: 8 });
            assert_eq!(read(store, &key, None).await?, b"finished");
            std::fs::write(&path, b"another")?;
            let again = store.adopt(&key, &path).await;
            assert!(matches!(again, Err(StoreError::AlreadyExists { .. })), "{again:?}");
            assert_eq!(read(store, &key, None).await?, b"finished");
        }
    }
    Ok(())
}

/// Both begin while the key is free; one is told that it is taken.
pub async fn of_two_writers_of_one_key_one_wins(store: &dyn Store) -> Outcome {
    let key = key("a/b.wav")?;
    let won = match write_twice(store, &key).await? {
        (Ok(_), Err(StoreError::AlreadyExists { .. })) => b"111",
        (Err(StoreError::AlreadyExists { .. }), Ok(_)) => b"222",
        other => return Err(format!("one wins and one is told: {other:?}").into()),
    };
    assert_eq!(read(store, &key, None).await?, won);
    Ok(())
}

/// Both begin while the key is free; what is there then is one of the two, and its writer was not told otherwise.
pub async fn of_two_writers_of_one_key_one_is_whole(store: &dyn Store) -> Outcome {
    let key = key("a/b.wav")?;
    let (first, second) = write_twice(store, &key).await?;
    let written = read(store, &key, None).await?;
    let (told, other) = match written.as_slice() {
        b"111" => (first, second),
        b"222" => (second, first),
        mixed => return Err(format!("neither of the two: {mixed:?}").into()),
    };
    assert!(told.is_ok(), "{told:?}");
    assert!(matches!(other, Ok(_) | Err(StoreError::AlreadyExists { .. })), "{other:?}");
    Ok(())
}

type Put = Result<ObjectMeta, StoreError>;

async fn write_twice(store: &dyn Store, key: &ObjectKey) -> Result<(Put, Put), Box<dyn Error>> {
    let (one, one_body) = ByteStream::channel(2);
    let (two, two_body) = ByteStream::channel(2);
    let feed = async {
        // A store takes from the queue once it has begun, so both have begun when both third chunks fit.
        for _ in 0..3 {
            one.send(Bytes::from_static(b"1")).await?;
            two.send(Bytes::from_static(b"2")).await?;
        }
        one.finish().await?;
        two.finish().await
    };
    let (first, second, fed) = tokio::join!(store.put(key, one_body), store.put(key, two_body), feed);
    fed?;
    Ok((first, second))
}

/// Neither a body that ends with an error nor one whose writer vanished leaves anything, and the key is free.
pub async fn a_body_that_fails_leaves_nothing(store: &dyn Store) -> Outcome {
    let key = key("a/b.wav")?;
    let (sender, failing) = ByteStream::channel(4);
    sender.send(Bytes::from_static(b"half")).await?;
    sender.fail(io::Error::other("the encoder broke")).await?;
    let (sender, abandoned) = ByteStream::channel(4);
    sender.send(Bytes::from_static(b"half")).await?;
    drop(sender);
    for body in [failing, abandoned] {
        let outcome = store.put(&key, body).await;
        assert!(matches!(outcome, Err(StoreError::Body { .. })), "{outcome:?}");
        assert_eq!(store.head(&key).await?, None);
        assert_eq!(store.list("").await?, []);
    }
    store.put(&key, body(b"whole")).await?;
    assert_eq!(read(store, &key, None).await?, b"whole");
    Ok(())
}

/// While a body is on its way its key has no object.
pub async fn nothing_is_visible_before_the_end(store: &dyn Store) -> Outcome {
    let key = key("a/b.wav")?;
    let (sender, body) = ByteStream::channel(1);
    let watch = async {
        for _ in 0..4 {
            sender.send(Bytes::from_static(b"chunk")).await?;
            assert_eq!(store.head(&key).await?, None);
            assert_eq!(store.list("").await?, []);
        }
        sender.finish().await?;
        Ok::<(), Box<dyn Error>>(())
    };
    let (put, watched) = tokio::join!(store.put(&key, body), watch);
    watched?;
    assert_eq!(store.list("").await?, [put?]);
    Ok(())
}

/// Ranges over the ends and over the edges of chunks.
pub async fn a_range_is_cut_to_the_object(store: &dyn Store) -> Outcome {
    let size = 2 * CHUNK + 10;
    let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
    let key = key("a.bin")?;
    store.put(&key, Bytes::from(bytes.clone()).into()).await?;
    let (chunk, end) = (CHUNK as u64, size as u64);
    let cases = [
        0..1,
        0..end,
        chunk - 1..chunk + 1,
        chunk..2 * chunk,
        end - 1..end,
        end - 5..end + 5,
        7..7,
        end..end + 1,
    ];
    for range in cases {
        let cut = range.start as usize..range.end.min(end) as usize;
        let read = read(store, &key, Some(range.clone())).await?;
        assert!(read == bytes.get(cut).unwrap_or_default(), "{range:?} yielded {} bytes", read.len());
    }
    assert_eq!(read(store, &key, Some(u64::MAX - 1..u64::MAX)).await?, b"");
    Ok(())
}

/// A key without an object is told as such, also below an object's own key.
pub async fn what_is_not_there_is_not_found(store: &dyn Store) -> Outcome {
    store.put(&key("a/b")?, body(b"x")).await?;
    for name in ["c", "a", "a/c", "x/y/z"] {
        let key = key(name)?;
        let outcome = store.get(&key, None).await;
        assert!(matches!(outcome, Err(StoreError::NotFound { .. })), "{name}: {outcome:?}");
        assert_eq!(store.head(&key).await?, None, "{name}");
    }
    Ok(())
}

/// Deleting is idempotent, takes one object alone, and frees its key.
pub async fn deleting_twice_is_fine(store: &dyn Store) -> Outcome {
    let (gone, kept) = (key("a/b")?, key("a/c")?);
    store.put(&gone, body(b"1")).await?;
    store.put(&kept, body(b"2")).await?;
    for _ in 0..2 {
        store.delete(&gone).await?;
        store.delete(&key("never/was")?).await?;
        store.delete(&key("a")?).await?;
        assert_eq!(store.head(&gone).await?, None);
        assert_eq!(read(store, &kept, None).await?, b"2");
    }
    store.put(&gone, body(b"3")).await?;
    assert_eq!(read(store, &gone, None).await?, b"3");
    Ok(())
}

/// Prefixes are text: they may end anywhere in a name.
pub async fn a_list_has_every_key_with_its_prefix(store: &dyn Store) -> Outcome {
    let names = ["a/b/1", "a/b/2", "a/bc", "ab", "b"];
    for name in names.iter().rev() {
        store.put(&key(name)?, body(b"x")).await?;
    }
    let cases: [(&str, &[&str]); 8] = [
        ("", &names),
        ("a", &["a/b/1", "a/b/2", "a/bc", "ab"]),
        ("a/", &["a/b/1", "a/b/2", "a/bc"]),
        ("a/b", &["a/b/1", "a/b/2", "a/bc"]),
        ("a/b/", &["a/b/1", "a/b/2"]),
        ("a/b/2", &["a/b/2"]),
        ("c", &[]),
        ("../", &[]),
    ];
    for (prefix, expected) in cases {
        let listed = store.list(prefix).await?;
        let names: Vec<&str> = listed.iter().map(|meta| meta.key.as_str()).collect();
        assert_eq!(names, expected, "{prefix:?}");
        assert!(listed.iter().all(|meta| meta.size == 1));
    }
    Ok(())
}

/// Whatever a key may hold makes an object of its own.
pub async fn odd_names_stay_apart(store: &dyn Store) -> Outcome {
    let long = "n".repeat(255);
    let names =
        ["a b", "a+b", "a%20b", "a?b#c", "é", "e\u{301}", "\u{202e}gnp", "~2E~2E", "-rf", "*", "C:", &long];
    for name in names {
        store.put(&key(name)?, Bytes::copy_from_slice(name.as_bytes()).into()).await?;
    }
    for name in names {
        assert_eq!(read(store, &key(name)?, None).await?, name.as_bytes());
    }
    assert_eq!(store.list("").await?.len(), names.len());
    Ok(())
}

/// A chunk that counts how many of its kind are alive.
struct Counted {
    bytes: Vec<u8>,
    alive: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

/// 64 MiB go in with but a few chunks alive at a time, and come out in chunks no larger than 1 MiB.
pub async fn a_large_object_passes_through_in_constant_memory(store: &dyn Store) -> Outcome {
    const CHUNKS: usize = 256;
    let (sender, body) = ByteStream::channel(2);
    let alive = Arc::new(AtomicUsize::new(0));
    let feed = async {
        let mut most = 0;
        for n in 0..CHUNKS {
            most = most.max(alive.fetch_add(1, Ordering::SeqCst) + 1);
            let chunk = Counted { bytes: vec![n as u8; CHUNK], alive: alive.clone() };
            sender.send(Bytes::from_owner(chunk)).await?;
        }
        sender.finish().await.map(|()| most)
    };
    let key = key("large.bin")?;
    let (put, most) = tokio::join!(store.put(&key, body), feed);
    assert_eq!(put?.size, (CHUNKS * CHUNK) as u64);
    let most = most?;
    // Two parts of 5 MiB, and what is in the queue.
    assert!(most <= 48, "{most} chunks of 256 KiB were alive at once");
    check_large(store.get(&key, None).await?, CHUNKS).await
}

/// Chunk `n` of the original is all bytes `n`; what comes back may be cut otherwise.
async fn check_large(mut body: ByteStream, chunks: usize) -> Outcome {
    let mut at = 0;
    while let Some(mut bytes) = body.try_next().await? {
        assert!(bytes.len() <= 4 * CHUNK, "a chunk of {} bytes", bytes.len());
        while !bytes.is_empty() {
            let same = bytes.split_to(bytes.len().min(CHUNK - at % CHUNK));
            let expected = vec![(at / CHUNK) as u8; same.len()];
            assert!(same == expected, "the bytes from {at} on differ");
            at += same.len();
        }
    }
    assert_eq!(at, chunks * CHUNK);
    Ok(())
}
