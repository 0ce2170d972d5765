//! The folder store: the contract of every store, and what a folder adds to it.

use std::error::Error;
use std::fs;
use std::os::unix::fs::symlink;

use bytes::Bytes;
use futures_util::TryStreamExt;
use reeltime::store::{ByteStream, FolderStore, Store, StoreError};
use reeltime_core::keys::ObjectKey;
use tempfile::TempDir;

type Outcome = Result<(), Box<dyn Error>>;

async fn make() -> Result<(TempDir, Box<dyn Store>), Box<dyn Error>> {
    let folder = TempDir::new()?;
    let store = FolderStore::open(folder.path().join("objects")).await?;
    Ok((folder, Box::new(store)))
}

reeltime_testkit::store_contract!(make);

mod watched_and_throttled {
    use std::error::Error;
    use std::sync::Arc;

    use reeltime::store::{FolderStore, Store, Throttled, Watched};
    use tempfile::TempDir;

    async fn make() -> Result<(TempDir, Box<dyn Store>), Box<dyn Error>> {
        let folder = TempDir::new()?;
        let store = FolderStore::open(folder.path().join("objects")).await?;
        let throttled = Throttled::new(Arc::new(store), 1 << 30);
        Ok((folder, Box::new(Watched::new(Arc::new(throttled)))))
    }

    reeltime_testkit::store_contract!(make);
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).expect("a test names a key that can be one")
}

fn body() -> ByteStream {
    Bytes::from_static(b"bytes").into()
}

#[tokio::test]
async fn an_object_is_a_plain_file_under_its_key() -> Outcome {
    let folder = TempDir::new()?;
    let store = FolderStore::open(folder.path()).await?;
    store.put(&key("2025/01/02/a.wav"), body()).await?;
    assert_eq!(fs::read(folder.path().join("2025/01/02/a.wav"))?, b"bytes");
    assert_eq!(fs::read_dir(folder.path().join(".tmp"))?.count(), 0);
    Ok(())
}

#[tokio::test]
async fn what_a_crash_left_is_swept_and_objects_stay() -> Outcome {
    let folder = TempDir::new()?;
    FolderStore::open(folder.path()).await?.put(&key("a"), body()).await?;
    fs::write(folder.path().join(".tmp/7"), b"half")?;
    let store = FolderStore::open(folder.path()).await?;
    assert_eq!(fs::read_dir(folder.path().join(".tmp"))?.count(), 0);
    assert_eq!(store.head(&key("a")).await?.map(|meta| meta.size), Some(5));
    Ok(())
}

#[tokio::test]
async fn no_link_leads_out_of_the_folder() -> Outcome {
    let outside = TempDir::new()?;
    fs::write(outside.path().join("secret"), b"secret")?;
    let folder = TempDir::new()?;
    let store = FolderStore::open(folder.path()).await?;
    symlink(outside.path(), folder.path().join("folder"))?;
    symlink(outside.path().join("secret"), folder.path().join("file"))?;

    for name in ["folder/secret", "file"] {
        let read = store.get(&key(name), None).await;
        assert!(matches!(read, Err(StoreError::NotAFolder { .. })), "{name}: {read:?}");
    }
    let written = store.put(&key("folder/new"), body()).await;
    assert!(matches!(written, Err(StoreError::NotAFolder { .. })), "{written:?}");
    let replaced = store.put(&key("file"), body()).await;
    assert!(matches!(replaced, Err(StoreError::AlreadyExists { .. })), "{replaced:?}");
    assert!(store.delete(&key("folder/secret")).await.is_err());
    assert_eq!(store.list("").await?, []);

    assert_eq!(fs::read_dir(outside.path())?.count(), 1);
    assert_eq!(fs::read(outside.path().join("secret"))?, b"secret");
    Ok(())
}

#[tokio::test]
async fn a_key_below_an_object_says_what_is_in_the_way() -> Outcome {
    let (_folder, store) = make().await?;
    store.put(&key("a"), body()).await?;
    let below = store.put(&key("a/b"), body()).await;
    assert!(matches!(below, Err(StoreError::NotAFolder { .. })), "{below:?}");
    assert_eq!(store.head(&key("a")).await?.map(|meta| meta.size), Some(5));
    Ok(())
}

#[tokio::test]
async fn a_root_that_cannot_be_a_folder_is_named() -> Outcome {
    let folder = TempDir::new()?;
    let file = folder.path().join("file");
    fs::write(&file, b"")?;
    let error = FolderStore::open(&file).await.unwrap_err();
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    Ok(())
}

/// A mix holds a few pieces of each of its tracks, of which there may be hundreds.
#[tokio::test]
async fn an_object_is_read_in_small_pieces() -> Outcome {
    let folder = TempDir::new()?;
    let store = FolderStore::open(folder.path()).await?;
    store.put(&key("a"), vec_body(1_000_001)).await?;
    let pieces: Vec<Bytes> = store.get(&key("a"), None).await?.try_collect().await?;
    assert_eq!(pieces.iter().map(Bytes::len).sum::<usize>(), 1_000_001);
    let longest = pieces.iter().map(Bytes::len).max();
    assert!(longest <= Some(64 * 1024), "the longest piece has {longest:?} bytes");
    Ok(())
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_read_is_an_error_not_a_short_body() -> Outcome {
    let folder = TempDir::new()?;
    let store = FolderStore::open(folder.path()).await?;
    store.put(&key("a"), vec_body(4 << 20)).await?;
    let stream = store.get(&key("a"), None).await?;
    fs::OpenOptions::new().write(true).open(folder.path().join("a"))?.set_len(10)?;
    let read: Result<Vec<Bytes>, _> = stream.try_collect().await;
    assert!(read.is_err());
    Ok(())
}

fn vec_body(size: usize) -> ByteStream {
    Bytes::from(vec![7; size]).into()
}
