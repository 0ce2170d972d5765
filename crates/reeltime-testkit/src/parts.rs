//! What every store that takes uploads in parts does, as tests. Run them with [`parts_contract!`](crate::parts_contract).

use std::error::Error;

use bytes::Bytes;
use futures_util::TryStreamExt;
use reeltime::store::{ObjectMeta, PART, PartStore, Store, StoreError};
use reeltime_core::keys::ObjectKey;

type Outcome = Result<(), Box<dyn Error>>;

/// One test for each behaviour. Takes the path of an async function that makes two clients of one empty store:
/// `async fn make() -> Result<(Guard, Box<[Box<dyn Store>; 2]>), Box<dyn Error>>`. `lenient` before it is for stores that
/// refuse what concerns an upload that is gone, instead of saying that it is.
#[macro_export]
macro_rules! parts_contract {
    ($make:path) => {
        $crate::each_behaviour! { $make, parts: an_upload_that_is_gone_is_told_as_such }
        $crate::parts_contract! { lenient $make }
    };
    (lenient $make:path) => {
        $crate::each_behaviour! { $make, parts:
            parts_may_come_in_any_order,
            a_part_that_is_sent_again_counts_as_it_was_sent_last,
            nothing_is_visible_before_an_upload_is_completed,
            another_client_goes_on_with_an_upload,
            an_upload_given_up_leaves_nothing,
        }
    };
}

/// Two clients of one store.
pub type Clients = [Box<dyn Store>; 2];

fn parts_of<'a>(
    store: &'a dyn Store,
    key: &ObjectKey,
) -> Result<(&'a dyn PartStore, ObjectKey), Box<dyn Error>> {
    store.parts(key).ok_or_else(|| "this store takes no uploads in parts".into())
}

fn part(byte: u8) -> Bytes {
    vec![byte; PART].into()
}

async fn read(store: &dyn Store, key: &ObjectKey) -> Result<Vec<u8>, Box<dyn Error>> {
    let chunks: Vec<Bytes> = store.get(key, None).await?.try_collect().await?;
    Ok(chunks.concat())
}

/// Parts 2, 3 and 1, in this order and side by side, make one object.
pub async fn parts_may_come_in_any_order(clients: &Clients) -> Outcome {
    let [store, _] = clients;
    let key = ObjectKey::new("a/order.wav")?;
    let (parts, at) = parts_of(&**store, &key)?;
    let upload = parts.begin(&at).await?;
    let (second, third) = tokio::join!(
        parts.put_part(&at, &upload, 2, part(2)),
        parts.put_part(&at, &upload, 3, Bytes::from_static(b"tail")),
    );
    let first = parts.put_part(&at, &upload, 1, part(1)).await?;
    let made = parts.complete(&at, &upload, &[first, second?, third?]).await?;
    assert_eq!(made, ObjectMeta { key: at, size: 2 * PART as u64 + 4 });
    let whole = [part(1), part(2), Bytes::from_static(b"tail")].concat();
    assert!(read(&**store, &key).await? == whole, "the bytes differ");
    Ok(())
}

/// The last one sent under a number is what the object has.
pub async fn a_part_that_is_sent_again_counts_as_it_was_sent_last(clients: &Clients) -> Outcome {
    let [store, _] = clients;
    let key = ObjectKey::new("a/again.wav")?;
    let (parts, at) = parts_of(&**store, &key)?;
    let upload = parts.begin(&at).await?;
    parts.put_part(&at, &upload, 1, part(9)).await?;
    let second = parts.put_part(&at, &upload, 2, Bytes::from_static(b"tail")).await?;
    let first = parts.put_part(&at, &upload, 1, part(1)).await?;
    parts.complete(&at, &upload, &[first, second]).await?;
    let whole = [part(1), Bytes::from_static(b"tail")].concat();
    assert!(read(&**store, &key).await? == whole, "the bytes differ");
    Ok(())
}

/// Parts alone make no object.
pub async fn nothing_is_visible_before_an_upload_is_completed(clients: &Clients) -> Outcome {
    let [store, _] = clients;
    let key = ObjectKey::new("a/hidden.wav")?;
    let (parts, at) = parts_of(&**store, &key)?;
    let upload = parts.begin(&at).await?;
    let only = parts.put_part(&at, &upload, 1, Bytes::from_static(b"all")).await?;
    assert_eq!(store.head(&key).await?, None);
    assert_eq!(store.list("").await?, []);
    parts.complete(&at, &upload, &[only]).await?;
    assert_eq!(store.list("").await?, [ObjectMeta { key, size: 3 }]);
    Ok(())
}

/// What one client began, another completes: all it takes is the id and the tags.
pub async fn another_client_goes_on_with_an_upload(clients: &Clients) -> Outcome {
    let [one, other] = clients;
    let key = ObjectKey::new("a/resumed.wav")?;
    let (parts, at) = parts_of(&**one, &key)?;
    let upload = parts.begin(&at).await?;
    let first = parts.put_part(&at, &upload, 1, part(1)).await?;
    let (parts, at) = parts_of(&**other, &key)?;
    let second = parts.put_part(&at, &upload, 2, Bytes::from_static(b"tail")).await?;
    parts.complete(&at, &upload, &[first, second]).await?;
    assert!(read(&**one, &key).await? == [part(1), Bytes::from_static(b"tail")].concat(), "the bytes differ");
    Ok(())
}

/// It is no object, and its key is free.
pub async fn an_upload_given_up_leaves_nothing(clients: &Clients) -> Outcome {
    let [store, _] = clients;
    let key = ObjectKey::new("a/aborted.wav")?;
    let (parts, at) = parts_of(&**store, &key)?;
    let upload = parts.begin(&at).await?;
    let only = parts.put_part(&at, &upload, 1, Bytes::from_static(b"all")).await?;
    parts.abort(&at, &upload).await?;
    assert!(parts.complete(&at, &upload, &[only]).await.is_err());
    assert_eq!(store.head(&key).await?, None);
    store.put(&key, Bytes::from_static(b"new").into()).await?;
    assert_eq!(read(&**store, &key).await?, b"new");
    Ok(())
}

/// Given up twice is fine; sending to it or completing it says that it is not there.
pub async fn an_upload_that_is_gone_is_told_as_such(clients: &Clients) -> Outcome {
    let [store, _] = clients;
    let key = ObjectKey::new("a/gone.wav")?;
    let (parts, at) = parts_of(&**store, &key)?;
    let upload = parts.begin(&at).await?;
    let tag = parts.put_part(&at, &upload, 1, Bytes::from_static(b"all")).await?;
    for _ in 0..2 {
        parts.abort(&at, &upload).await?;
    }
    let sent = parts.put_part(&at, &upload, 1, Bytes::from_static(b"all")).await;
    assert!(matches!(sent, Err(StoreError::NotFound { .. })), "{sent:?}");
    let made = parts.complete(&at, &upload, &[tag]).await;
    assert!(matches!(made, Err(StoreError::NotFound { .. })), "{made:?}");
    Ok(())
}
