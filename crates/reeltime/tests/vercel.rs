//! The Vercel Blob store: the contract of every store, uploads in parts, and what the service may say or fail to say.

use std::error::Error;

use bytes::Bytes;
use futures_util::TryStreamExt;
use reeltime::store::vercel::{Access, VercelOptions};
use reeltime::store::{
    ByteStream, CHUNK, ObjectMeta, PART, PartStore, PartTag, Prefix, Store, StoreError, UploadId, VercelStore,
};
use reeltime_core::keys::ObjectKey;
use reeltime_testkit::vercel::{Fault, TOKEN, VercelBlob};

type Outcome = Result<(), Box<dyn Error>>;

async fn make() -> Result<(VercelBlob, Box<dyn Store>), Box<dyn Error>> {
    let (service, store) = below("").await?;
    Ok((service, Box::new(store)))
}

async fn below(prefix: &str) -> Result<(VercelBlob, VercelStore), Box<dyn Error>> {
    let service = VercelBlob::start(Access::Private).await?;
    let store = open(&service, Access::Private, prefix)?;
    Ok((service, store))
}

fn open(service: &VercelBlob, access: Access, prefix: &str) -> Result<VercelStore, Box<dyn Error>> {
    let options = VercelOptions { token: TOKEN.to_owned(), access, api_url: Some(service.api_url()) };
    Ok(VercelStore::open(prefix.parse()?, &options)?)
}

reeltime_testkit::store_contract!(make);

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).expect("a test names a key that can be one")
}

fn small() -> ByteStream {
    Bytes::from_static(b"bytes").into()
}

/// `size` bytes, each position different from its neighbours and from the same one in other parts.
fn pattern(size: usize) -> Bytes {
    (0..size).map(|at| (at % 251) as u8).collect::<Vec<_>>().into()
}

async fn read(store: &dyn Store, key: &ObjectKey) -> Result<Vec<u8>, Box<dyn Error>> {
    let chunks: Vec<Bytes> = store.get(key, None).await?.try_collect().await?;
    Ok(chunks.concat())
}

#[tokio::test]
async fn the_edges_of_parts_are_nobodys_loss() -> Outcome {
    let (service, store) = below("rec").await?;
    for (size, parts) in [(PART - 1, 0), (PART, 0), (PART + 1, 2), (2 * PART, 2), (2 * PART + 1, 3)] {
        let before = service.calls().len();
        let name = format!("{size}.wav");
        let bytes = pattern(size);
        let (sender, body) = ByteStream::channel(2);
        let feed = async {
            for chunk in bytes.chunks(CHUNK - 7) {
                sender.send(Bytes::copy_from_slice(chunk)).await?;
            }
            sender.finish().await
        };
        let key = key(&name);
        let (put, fed) = tokio::join!(store.put(&key, body), feed);
        fed?;
        assert_eq!(put?, ObjectMeta { key: key.clone(), size: size as u64 });
        let pathname = format!("rec/{name}");
        assert!(service.object(&pathname).as_ref() == Some(&bytes), "{size} bytes arrived otherwise");
        let sent = service.calls().split_off(before);
        let expected = match parts {
            0 => vec![format!("put {pathname}")],
            parts => [
                vec![format!("create {pathname}")],
                vec![format!("upload {pathname}"); parts],
                vec![format!("complete {pathname}")],
            ]
            .concat(),
        };
        assert_eq!(sent, expected);
    }
    Ok(())
}

#[tokio::test]
async fn parts_come_in_any_order_and_again_and_the_last_one_counts() -> Outcome {
    let (_service, store) = below("").await?;
    let key = key("a+b c/é.wav");
    let (parts, inner) = store.parts(&key).ok_or("it takes parts")?;
    assert_eq!(inner, key);
    let upload = parts.begin(&key).await?;
    let whole = pattern(2 * PART + 100);
    let tail = parts.put_part(&key, &upload, 3, whole.slice(2 * PART..)).await?;
    let stale = parts.put_part(&key, &upload, 1, Bytes::from(vec![9; PART])).await?;
    let second = parts.put_part(&key, &upload, 2, whole.slice(PART..2 * PART)).await?;
    let first = parts.put_part(&key, &upload, 1, whole.slice(..PART)).await?;
    assert_ne!(stale, first);
    assert_eq!(store.head(&key).await?, None, "nothing is visible before the end");
    // Another process goes on, with what the first wrote down.
    let upload = UploadId(upload.0.clone());
    let meta = parts.complete(&key, &upload, &[first, second, tail]).await?;
    assert_eq!(meta, ObjectMeta { key: key.clone(), size: whole.len() as u64 });
    assert!(read(&store, &key).await? == whole);
    Ok(())
}

#[tokio::test]
async fn an_upload_that_is_gone_is_not_found() -> Outcome {
    let (_service, store) = below("").await?;
    let key = key("a.wav");
    let upload = store.begin(&key).await?;
    let tag = store.put_part(&key, &upload, 1, pattern(10)).await?;
    store.complete(&key, &upload, std::slice::from_ref(&tag)).await?;
    for gone in
        [upload, UploadId("never was".to_owned()), UploadId("of another store's form".replace(' ', "-"))]
    {
        let part = store.put_part(&key, &gone, 1, pattern(10)).await;
        assert!(matches!(part, Err(StoreError::NotFound { .. })), "{part:?}");
        let again = store.complete(&key, &gone, &[PartTag("x".to_owned())]).await;
        assert!(matches!(again, Err(StoreError::NotFound { .. })), "{again:?}");
        store.abort(&key, &gone).await?;
    }
    assert_eq!(store.head(&key).await?.map(|meta| meta.size), Some(10), "which is how one knows");
    Ok(())
}

#[tokio::test]
async fn an_upload_does_not_overwrite_what_came_before_its_end() -> Outcome {
    let (_service, store) = below("").await?;
    let key = key("a.wav");
    let upload = store.begin(&key).await?;
    let tag = store.put_part(&key, &upload, 1, pattern(10)).await?;
    store.put(&key, small()).await?;
    let completed = store.complete(&key, &upload, &[tag]).await;
    assert!(matches!(completed, Err(StoreError::AlreadyExists { .. })), "{completed:?}");
    assert_eq!(read(&store, &key).await?, b"bytes");
    Ok(())
}

#[tokio::test]
async fn a_public_store_is_read_without_the_token() -> Outcome {
    let service = VercelBlob::start(Access::Public).await?;
    let store = open(&service, Access::Public, "")?;
    store.put(&key("a.wav"), small()).await?;
    assert_eq!(read(&store, &key("a.wav")).await?, b"bytes");
    Ok(())
}

#[tokio::test]
async fn the_wrong_kind_of_access_is_named() -> Outcome {
    let service = VercelBlob::start(Access::Public).await?;
    let store = open(&service, Access::Private, "")?;
    let error = store.put(&key("a"), small()).await.unwrap_err();
    assert!(error.to_string().contains("vercel_access") && !error.is_passing(), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_list_goes_over_all_pages_and_knows_its_own_prefix() -> Outcome {
    let (service, store) = below("our/own").await?;
    let names: Vec<String> = (0..1003).map(|n| format!("n/{n:04}")).collect();
    for name in &names {
        store.put(&key(name), small()).await?;
    }
    let other = open(&service, Access::Private, "our")?;
    other.put(&key("owner"), small()).await?;
    let listed = store.list("").await?;
    assert_eq!(listed.iter().map(|meta| meta.key.as_str()).collect::<Vec<_>>(), names);
    assert_eq!(store.list("n/100").await?.len(), 3);
    assert_eq!(other.list("own").await?.len(), 1004);
    Ok(())
}

/// What the service says, how often before it is believed, whether that passes, and a word that the person needs.
const SAYINGS: &[(Fault, usize, bool, &str)] = &[
    (Fault::Says(500, "internal_server_error", None), 4, true, "not available"),
    (Fault::Says(503, "service_unavailable", None), 4, true, "not available"),
    (Fault::Html(502), 4, true, "502"),
    (Fault::ReplyLost, 4, true, "now"),
    (Fault::ReplyCut, 4, true, "now"),
    (Fault::Says(429, "rate_limited", Some(17)), 1, true, "17 s"),
    (Fault::Html(429), 1, true, "too many requests"),
    (Fault::Says(403, "forbidden", None), 1, false, "BLOB_READ_WRITE_TOKEN"),
    (Fault::Says(404, "store_not_found", None), 1, false, "does not exist any more"),
    (Fault::Says(403, "store_suspended", None), 1, false, "suspended"),
    (Fault::Says(400, "file_too_large", None), 1, false, "too large"),
    (Fault::Says(413, "", None), 1, false, "too large"),
    (Fault::Says(418, "a_new_word", None), 1, false, "a_new_word (HTTP 418): told to"),
    (Fault::Html(200), 1, false, "VERCEL_BLOB_API_URL"),
    (Fault::Html(404), 1, false, "VERCEL_BLOB_API_URL"),
];

#[tokio::test]
async fn what_the_service_says_is_told_in_words_with_what_follows() -> Outcome {
    let (service, store) = below("").await?;
    for &(fault, times, passing, word) in SAYINGS {
        // One time less than it takes, where it may pass at once.
        service.meet(vec![fault; times - 1]);
        store.list("").await?;
        service.meet(vec![fault; 2 * times]);
        let key = key("a");
        let (list, head) = tokio::join!(store.list(""), store.head(&key));
        assert!(head.is_err(), "{fault:?} is not a word on an object: {head:?}");
        let error = list.expect_err("it met a fault");
        assert_eq!(error.is_passing(), passing, "{fault:?}: {error}");
        assert!(error.to_string().contains(word), "{fault:?}: {error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_put_whose_answer_is_lost_is_there_and_is_told_as_taken() -> Outcome {
    let (service, store) = below("").await?;
    for (n, fault) in [Fault::ReplyLost, Fault::ReplyCut].into_iter().enumerate() {
        let key = key(&format!("{n}.wav"));
        service.meet([fault]);
        let lost = store.put(&key, small()).await.unwrap_err();
        assert!(lost.is_passing(), "{lost}");
        let again = store.put(&key, small()).await;
        assert!(matches!(again, Err(StoreError::AlreadyExists { .. })), "{again:?}");
        assert_eq!(store.head(&key).await?.map(|meta| meta.size), Some(5));
    }
    Ok(())
}

#[tokio::test]
async fn a_part_that_fails_is_sent_again_and_a_refusal_is_not() -> Outcome {
    let (service, store) = below("").await?;
    let bytes = pattern(PART + 1);
    // Where an upload begins, nothing is lost by giving up: the first fault is for its first part.
    let put = async |name: &str, fault: Fault| {
        let (sender, body) = ByteStream::channel(1);
        let key = key(name);
        let feed = async {
            for chunk in bytes.chunks(CHUNK) {
                sender.send(Bytes::copy_from_slice(chunk)).await?;
            }
            // The upload has begun once it is in the calls.
            while !service.calls().contains(&format!("create {name}")) {
                tokio::task::yield_now().await;
            }
            service.meet([fault]);
            sender.finish().await
        };
        tokio::join!(store.put(&key, body), feed).0
    };
    put("again.wav", Fault::Says(503, "service_unavailable", None)).await?;
    assert!(service.object("again.wav").as_ref() == Some(&bytes));
    let refused = put("refused.wav", Fault::Says(403, "store_suspended", None)).await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    assert_eq!(service.object("refused.wav"), None);
    Ok(())
}

#[tokio::test]
async fn a_read_that_breaks_off_goes_on_from_there_and_ends_with_an_error_where_nothing_comes() -> Outcome {
    let (service, store) = below("").await?;
    let (key, bytes) = (key("a.wav"), pattern(1 << 20));
    store.put(&key, bytes.clone().into()).await?;
    service.meet_reading([Fault::ReplyCut, Fault::ReplyCut]);
    assert!(read(&store, &key).await? == bytes);
    service.meet_reading([Fault::ReplyCut, Fault::ReplyLost]);
    let body = store.get(&key, Some(100..bytes.len() as u64)).await?;
    let read: Result<Vec<Bytes>, _> = body.try_collect().await;
    assert!(read.is_err(), "half of it is not all of it");
    Ok(())
}

#[tokio::test]
async fn an_address_that_may_not_be_read_is_told_apart_from_an_object_that_is_gone() -> Outcome {
    let (service, store) = below("").await?;
    store.put(&key("a"), small()).await?;
    service.meet_reading([Fault::Html(403)]);
    let refused = store.get(&key("a"), None).await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    service.meet_reading([Fault::Html(404)]);
    let gone = store.get(&key("a"), None).await;
    assert!(matches!(gone, Err(StoreError::NotFound { .. })), "{gone:?}");
    Ok(())
}

#[tokio::test]
async fn nobody_home_passes() -> Outcome {
    // A port that was free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let api_url = Some(format!("http://{address}"));
    let options = VercelOptions { token: TOKEN.to_owned(), api_url, ..VercelOptions::default() };
    let store = VercelStore::open(Prefix::default(), &options)?;
    let error = store.put(&key("a"), small()).await.unwrap_err();
    assert!(error.is_passing(), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_token_that_is_none_or_another_stores_is_named_and_never_shown() -> Outcome {
    for token in ["", "sk_live_S3cr3t", "vercel_blob_rw_", "vercel_blob_rw_\n_S3cr3t"] {
        let options = VercelOptions { token: token.to_owned(), ..VercelOptions::default() };
        assert!(!format!("{options:?}").contains("S3cr3t"));
        let error = VercelStore::open(Prefix::default(), &options).unwrap_err();
        assert!(error.to_string().contains("BLOB_READ_WRITE_TOKEN"), "{error}");
        assert!(!format!("{error:?}").contains("S3cr3t"), "{error:?}");
    }
    let service = VercelBlob::start(Access::Private).await?;
    let token = "vercel_blob_rw_teststore_OtherS3cr3t".to_owned();
    let options = VercelOptions { token, api_url: Some(service.api_url()), ..VercelOptions::default() };
    let store = VercelStore::open(Prefix::default(), &options)?;
    let error = store.put(&key("a"), small()).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    assert!(!format!("{store:?} {error:?} {error}").contains("S3cr3t"));
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_too_long_with_its_prefix_is_refused_before_anything_is_sent() -> Outcome {
    let (service, store) = below(&"p".repeat(200)).await?;
    let fits = key(&["n".repeat(249), "n".repeat(249), "n".repeat(249)].join("/"));
    store.put(&fits, small()).await?;
    let calls = service.calls();
    let long = key(&format!("{fits}n"));
    let error = store.put(&long, small()).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    assert_eq!(service.calls(), calls);
    Ok(())
}
