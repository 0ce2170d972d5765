//! The S3 store on one in this process, which fails on purpose.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use reeltime::store::s3::{Credentials, S3Options};
use reeltime::store::{ByteStream, CHUNK, PART, Prefix, S3Store, Signed, Store, StoreError};
use reeltime_core::keys::ObjectKey;
use reeltime_testkit::s3::{FakeS3, Fault};

type Outcome = Result<(), Box<dyn Error>>;

mod objects {
    use super::*;

    async fn make() -> Result<(FakeS3, Box<dyn Store>), Box<dyn Error>> {
        let s3 = FakeS3::start().await?;
        let store = Box::new(s3.store()?);
        Ok((s3, store))
    }

    // All of the contract but three behaviours that its keeping objects in folders makes impossible: a key below
    // another key, and a name as long as a file's may be. Those are shown on the gateway.
    reeltime_testkit::each_behaviour! { make, store:
        what_was_put_is_read_back,
        an_object_is_never_overwritten,
        a_finished_file_is_taken_as_it_is_or_not_at_all,
        of_two_writers_of_one_key_one_is_whole,
        a_body_that_fails_leaves_nothing,
        nothing_is_visible_before_the_end,
        a_range_is_cut_to_the_object,
        a_list_has_every_key_with_its_prefix,
        a_large_object_passes_through_in_constant_memory,
    }
}

mod in_parts {
    use super::*;

    async fn make() -> Result<(FakeS3, Box<[Box<dyn Store>; 2]>), Box<dyn Error>> {
        let s3 = FakeS3::start().await?;
        let clients: [Box<dyn Store>; 2] = [Box::new(s3.store()?), Box::new(s3.store()?)];
        Ok((s3, Box::new(clients)))
    }

    reeltime_testkit::parts_contract!(lenient make);
}

fn key() -> ObjectKey {
    ObjectKey::new("a/b.wav").unwrap_or_else(|error| panic!("{error}"))
}

fn body(bytes: &[u8]) -> ByteStream {
    Bytes::copy_from_slice(bytes).into()
}

/// Bytes of more than two parts, of which no two stretches are alike.
fn long() -> Vec<u8> {
    (0..2 * PART as u32 / 4 + 1000).flat_map(u32::to_le_bytes).collect()
}

async fn read(store: &S3Store) -> Result<Vec<u8>, Box<dyn Error>> {
    let chunks: Vec<Bytes> = store.get(&key(), None).await?.try_collect().await?;
    Ok(chunks.concat())
}

fn refusal<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> String {
    match outcome {
        Err(StoreError::Refused { why, .. }) => why,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_busy_store_is_asked_again() -> Outcome {
    let s3 = FakeS3::start().await?;
    let store = s3.store()?;
    for (after, fault) in [(0, Fault::Status(500, "InternalError")), (2, Fault::Status(503, "SlowDown"))] {
        s3.meet(after, fault);
    }
    store.put(&key(), body(b"bytes")).await?;
    assert_eq!(read(&store).await?, b"bytes");
    Ok(())
}

#[tokio::test]
async fn a_store_that_stays_busy_is_unavailable() -> Outcome {
    let s3 = FakeS3::start().await?;
    let store = s3.store()?;
    for fault in [Fault::Status(500, "InternalError"), Fault::Status(503, "SlowDown"), Fault::Status(429, "")]
    {
        s3.always(Some(fault));
        let outcome = store.put(&key(), body(b"bytes")).await;
        assert!(matches!(outcome, Err(StoreError::Unavailable { .. })), "{outcome:?}");
        assert!(outcome.unwrap_err().is_passing());
    }
    s3.always(None);
    assert_eq!(store.head(&key()).await?, None);
    Ok(())
}

#[tokio::test]
async fn a_store_that_hangs_or_is_not_there_is_unavailable() -> Outcome {
    let s3 = FakeS3::start().await?;
    s3.always(Some(Fault::Slow(Duration::from_secs(3600))));
    let options = S3Options { answer_timeout: Duration::from_millis(100), ..s3.options() };
    let hung = S3Store::open("recordings", Prefix::default(), &options)?.head(&key()).await;
    assert!(matches!(&hung, Err(StoreError::Unavailable { why, .. }) if why.contains("in time")), "{hung:?}");
    drop(s3);
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let options = S3Options { endpoint: Some(format!("http://{nobody}")), ..options };
    let gone = S3Store::open("recordings", Prefix::default(), &options)?.head(&key()).await;
    let told = format!("http://{nobody} cannot be reached");
    assert!(
        matches!(&gone, Err(StoreError::Unavailable { why, .. }) if why.contains(&told) && why.contains("look at s3_endpoint")),
        "{gone:?}"
    );
    Ok(())
}

#[tokio::test]
async fn an_answer_that_was_lost_is_a_success_all_the_same() -> Outcome {
    let s3 = FakeS3::start().await?;
    let store = s3.store()?;
    // After the look whether the key is free.
    s3.meet(1, Fault::ReplyLost);
    assert_eq!(store.put(&key(), body(b"bytes")).await?.size, 5);
    assert_eq!(read(&store).await?, b"bytes");
    let second = store.put(&key(), body(b"bytes")).await;
    assert!(matches!(second, Err(StoreError::AlreadyExists { .. })), "{second:?}");
    Ok(())
}

#[tokio::test]
async fn a_completion_whose_answer_was_lost_is_a_success_all_the_same() -> Outcome {
    let s3 = FakeS3::start().await?;
    let store = s3.store()?;
    // A look, the beginning, three parts, another look.
    s3.meet(6, Fault::ReplyLost);
    let bytes = long();
    assert_eq!(store.put(&key(), body(&bytes)).await?.size, bytes.len() as u64);
    assert!(s3.seen()[6].starts_with("POST"), "{:?}", s3.seen());
    assert!(read(&store).await? == bytes, "the bytes differ");
    Ok(())
}

#[tokio::test]
async fn a_part_that_meets_an_error_is_sent_again() -> Outcome {
    let s3 = FakeS3::start().await?;
    let store = s3.store()?;
    s3.meet(2, Fault::ReplyLost);
    s3.meet(3, Fault::Status(500, "InternalError"));
    let bytes = long();
    store.put(&key(), body(&bytes)).await?;
    assert!(read(&store).await? == bytes, "the bytes differ");
    Ok(())
}

#[tokio::test]
async fn a_body_that_breaks_off_is_read_on_from_there() -> Outcome {
    let s3 = FakeS3::start().await?;
    let store = s3.store()?;
    let bytes: Vec<u8> = long().into_iter().take(3 * CHUNK).collect();
    store.put(&key(), body(&bytes)).await?;
    let before = s3.seen().len();
    // More often than one request is tried.
    for after in 0..6 {
        s3.meet(after, Fault::Half);
    }
    assert!(read(&store).await? == bytes, "the bytes differ");
    assert_eq!(s3.seen().len() - before, 7);
    Ok(())
}

#[tokio::test]
async fn a_long_body_that_fails_gives_up_its_upload() -> Outcome {
    let s3 = FakeS3::start().await?;
    let store = s3.store()?;
    let (sender, failing) = ByteStream::channel(64);
    for _ in 0..PART / CHUNK + 1 {
        sender.send(vec![1; CHUNK].into()).await?;
    }
    sender.fail(std::io::Error::other("the encoder broke")).await?;
    let outcome = store.put(&key(), failing).await;
    assert!(matches!(outcome, Err(StoreError::Body { .. })), "{outcome:?}");
    assert!(
        s3.seen().iter().any(|line| line.starts_with("DELETE") && line.contains("uploadId=")),
        "{:?}",
        s3.seen()
    );
    assert_eq!((store.head(&key()).await?, s3.leftovers()?), (None, 0));
    Ok(())
}

#[tokio::test]
async fn an_upload_that_cannot_be_given_up_is_once_the_store_answers_again() -> Outcome {
    let s3 = FakeS3::start().await?;
    let store = s3.store()?;
    let (sender, failing) = ByteStream::channel(64);
    let putting = tokio::spawn({
        let store = store.clone();
        async move { store.put(&key(), failing).await }
    });
    for _ in 0..PART / CHUNK + 1 {
        sender.send(vec![1; CHUNK].into()).await?;
    }
    while !s3.seen().iter().any(|line| line.contains("partNumber=1")) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    s3.always(Some(Fault::Status(503, "SlowDown")));
    sender.fail(std::io::Error::other("the encoder broke")).await?;
    let outcome = putting.await?;
    assert!(matches!(outcome, Err(StoreError::Body { .. })), "{outcome:?}");
    assert!(s3.leftovers()? > 0, "it was given up while the store did not answer");
    s3.always(None);
    store.put(&key(), body(b"bytes")).await?;
    assert_eq!((read(&store).await?, s3.leftovers()?), (b"bytes".to_vec(), 0));
    Ok(())
}

#[tokio::test]
async fn wrong_keys_are_named() -> Outcome {
    let s3 = FakeS3::start().await?;
    let with = |id: &str, secret: &str| {
        let keys = Credentials { id: id.into(), secret: secret.into(), session_token: None };
        let options = S3Options { credentials: Some(keys), ..s3.options() };
        S3Store::open("recordings", Prefix::default(), &options)
    };
    let id = s3.options().credentials.unwrap().id;
    let secret = refusal(with(&id, "canary-41")?.put(&key(), body(b"bytes")).await);
    assert!(secret.contains("AWS_SECRET_ACCESS_KEY") && !secret.contains("canary"), "{secret}");
    s3.always(Some(Fault::Status(403, "InvalidAccessKeyId")));
    let id = refusal(with("nobody", "x")?.put(&key(), body(b"bytes")).await);
    assert!(id.contains("correct AWS_ACCESS_KEY_ID"), "{id}");
    Ok(())
}

#[tokio::test]
async fn each_refusal_says_what_to_do() -> Outcome {
    let s3 = FakeS3::start().await?;
    let store = s3.store()?;
    let xml = "application/xml";
    for (fault, hint) in [
        (Fault::Status(403, "RequestTimeTooSkewed"), "clock"),
        (Fault::Status(403, "AccessDenied"), "allow s3:"),
        (Fault::Status(400, "ExpiredToken"), "renew AWS_SESSION_TOKEN"),
        (
            Fault::Says(301, xml, "<Error><Code>PermanentRedirect</Code></Error>"),
            "set AWS_REGION to the bucket's",
        ),
        (
            Fault::Says(400, xml, "<Code>AuthorizationHeaderMalformed</Code><Region>eu-west-3</Region>"),
            "set AWS_REGION=eu-west-3",
        ),
        (Fault::Says(200, "text/html; charset=utf-8", "<html>welcome</html>"), "a web page and no S3"),
        (Fault::Says(404, "text/html", "<html>nothing here</html>"), "a web page and no S3"),
        (
            Fault::Says(400, "application/json", r#"{"statusCode":"403","message":"row-level security"}"#),
            "row-level",
        ),
    ] {
        s3.always(Some(fault.clone()));
        let why = refusal(store.put(&key(), body(b"bytes")).await);
        assert!(why.contains(hint), "{fault:?}: {why}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_absent_by_the_status_in_the_body_is_absent() -> Outcome {
    let s3 = FakeS3::start().await?;
    s3.always(Some(Fault::Says(400, "application/json", r#"{"statusCode":"404","error":"not_found"}"#)));
    assert_eq!(s3.store()?.head(&key()).await?, None);
    Ok(())
}

#[tokio::test]
async fn a_signed_address_reads_or_writes_one_object() -> Outcome {
    let s3 = FakeS3::start().await?;
    let store = s3.store()?;
    let valid = Duration::from_secs(60);
    let client = reqwest::Client::new();
    let put = store.sign(Signed::Put, &key(), valid).await?.ok_or("no address")?;
    let written = client.put(put.as_str()).body("bytes").send().await?;
    assert!(written.status().is_success(), "{}", written.status());
    let get = store.sign(Signed::Get, &key(), valid).await?.ok_or("no address")?;
    assert_eq!(client.get(get.as_str()).send().await?.bytes().await?, "bytes");
    let other = client.get(get.replace("b.wav", "c.wav")).send().await?;
    assert_eq!(other.status(), 403);
    assert_eq!(client.put(get.as_str()).body("other").send().await?.status(), 403);
    assert_eq!(read(&store).await?, b"bytes");
    Ok(())
}

mod checked {
    use super::*;
    use reeltime::store::FolderStore;
    use reeltime::store::check::{Outcome as Went, Report, check};

    fn of(report: &Report, name: &str) -> (Went, String) {
        let step = report.steps.iter().find(|step| step.name == name);
        step.map(|step| (step.outcome, step.why.clone())).unwrap_or_else(|| panic!("{name}: {report:#?}"))
    }

    #[tokio::test]
    async fn a_good_store_passes_and_is_left_empty() -> Outcome {
        let s3 = FakeS3::start().await?;
        let store = s3.store()?;
        let report = check(&store).await;
        assert!(
            report.steps.len() == 10 && report.steps.iter().all(|step| step.outcome == Went::Passed),
            "{report:#?}"
        );
        assert_eq!((store.list("").await?, s3.leftovers()?), (vec![], 0));
        let folder = tempfile::tempdir()?;
        let folder = FolderStore::open(folder.path().join("objects")).await?;
        let report = check(&folder).await;
        assert!(report.is_ok() && of(&report, "signed address").0 == Went::Skipped, "{report:#?}");
        assert_eq!(folder.list("").await?, []);
        Ok(())
    }

    #[tokio::test]
    async fn a_store_that_does_not_take_objects_fails_at_once() -> Outcome {
        let s3 = FakeS3::start().await?;
        s3.always(Some(Fault::Status(403, "AccessDenied")));
        let report = check(&s3.store()?).await;
        assert!(!report.is_ok() && report.steps.len() == 1, "{report:#?}");
        assert!(of(&report, "write").1.contains("allow s3:"), "{report:#?}");
        Ok(())
    }
}
