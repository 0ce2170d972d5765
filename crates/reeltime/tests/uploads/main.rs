//! Files that go to the store in parts, also while they grow: what is published is what was recorded, whatever was sent
//! before and whatever went wrong, and no more is sent than has to be.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use futures_util::TryStreamExt;
use reeltime::catalogue::Catalogue;
use reeltime::recorder::{Recorder, RecorderConfig, Selection};
use reeltime::spool::FolderLock;
use reeltime::store::{PART, Store};
use reeltime_core::wire::v1::ClientMessage;
use reeltime_testkit::remote::Fault;

mod bench;
mod mixes;
mod tracks;

use bench::{Bench, HEAD, Outcome, TENANT, complete, is_wav_of, publish, send, session, sound, until};

#[tokio::test(flavor = "multi_thread")]
async fn hanging_up_sends_the_tail_and_the_first_part_alone() -> Outcome {
    let bench = Bench::new()?;
    let recorder = bench.open(bench.config()).await?;
    let (mut ingest, recording) = session(&recorder, "call", "ann").await?;
    let sound = sound(3 * PART + PART / 2, 1);
    send(&mut ingest, &sound).await?;
    until("two parts are sent", async || Ok(bench.verbs(0, "ann.wav") == ["begin", "part 2", "part 3"]))
        .await?;
    let before = bench.store.calls().len();
    publish(&recorder, ingest, recording).await?;
    let after: BTreeSet<_> = bench.verbs(before, "ann.wav").into_iter().collect();
    assert_eq!(after, ["complete", "part 1", "part 4"].map(str::to_owned).into());
    assert_eq!(bench.store.calls().len() - before, 4, "and the manifest: {:?}", bench.store.calls());
    assert!(is_wav_of(&bench.object("ann.wav").await?, &sound));
    assert_eq!(bench.store.open_uploads(), []);
    assert_eq!(bench.catalogue().await?.uploads(TENANT).await?, []);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_less_than_a_part_is_one_put_and_nothing_is_sent_before_its_end() -> Outcome {
    let bench = Bench::new()?;
    let recorder = bench.open(bench.config()).await?;
    let (mut ingest, recording) = session(&recorder, "call", "ann").await?;
    let sound = sound(PART - HEAD, 2);
    send(&mut ingest, &sound).await?;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(bench.store.calls(), [] as [String; 0]);
    publish(&recorder, ingest, recording).await?;
    assert_eq!(bench.verbs(0, "ann.wav"), ["put"]);
    assert!(is_wav_of(&bench.object("ann.wav").await?, &sound));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_while_it_grows_where_that_is_off() -> Outcome {
    let bench = Bench::new()?;
    let recorder = bench.open(RecorderConfig { live_uploads: false, ..bench.config() }).await?;
    let (mut ingest, recording) = session(&recorder, "call", "ann").await?;
    let sound = sound(2 * PART, 3);
    send(&mut ingest, &sound).await?;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(bench.store.calls(), [] as [String; 0]);
    publish(&recorder, ingest, recording).await?;
    assert_eq!(bench.verbs(0, "ann.wav")[0], "begin");
    assert!(is_wav_of(&bench.object("ann.wav").await?, &sound));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_turns_out_otherwise_is_sent_again() -> Outcome {
    let bench = Bench::new()?;
    let recorder = bench.open(bench.config()).await?;
    let (mut ingest, recording) = session(&recorder, "call", "ann").await?;
    let sound = sound(3 * PART, 4);
    send(&mut ingest, &sound).await?;
    until("part 2 is sent", async || Ok(bench.verbs(0, "ann.wav").contains(&"part 2".to_owned()))).await?;
    // A pause makes of the sound file something else than the track: its parts are looked at again.
    ingest.text(ClientMessage::Pause { reason: None });
    send(&mut ingest, &sound[..960 * 4]).await?;
    ingest.text(ClientMessage::Resume);
    send(&mut ingest, &sound[..PART]).await?;
    publish(&recorder, ingest, recording).await?;
    let silence = vec![0; 960 * 4];
    let expected = [&sound[..], &silence, &sound[..PART]].concat();
    assert!(is_wav_of(&bench.object("ann.wav").await?, &expected));
    let twice = bench.verbs(0, "ann.wav").iter().filter(|verb| *verb == "part 2").count();
    assert_eq!(twice, 1, "what came out the same is not: {:?}", bench.store.calls());
    Ok(())
}

/// Another process goes on with what the first has sent.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_process_sends_nothing_that_is_there() -> Outcome {
    let bench = Bench::new()?;
    let recorder = bench.open(bench.config()).await?;
    let (mut ingest, recording) = session(&recorder, "call", "ann").await?;
    let sound = sound(3 * PART + PART / 2, 5);
    send(&mut ingest, &sound).await?;
    until("two parts are sent and noted", async || Ok(bench.parts_noted().await? == 2)).await?;
    recorder.drain(Duration::ZERO).await;
    drop((ingest, recorder));
    let before = bench.store.calls().len();
    let recorder = reopen(&bench).await?;
    complete(&recorder, recording).await?;
    let after: BTreeSet<_> = bench.verbs(before, "ann.wav").into_iter().collect();
    assert_eq!(after, ["complete", "part 1", "part 4"].map(str::to_owned).into());
    assert!(is_wav_of(&bench.object("ann.wav").await?, &sound));
    Ok(())
}

/// The folder's lock goes with the last task that holds the recorder.
async fn reopen(bench: &Bench) -> Outcome<Recorder> {
    for _ in 0..100 {
        if FolderLock::take(bench.folder.path()).is_ok() {
            let mut config = bench.config();
            config.patience.resume_window = Duration::ZERO;
            return bench.open(config).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("the first recorder still has the folder".into())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_recording_is_gone_is_aborted_at_the_next_start() -> Outcome {
    let bench = Bench::new()?;
    let recorder = bench.open(bench.config()).await?;
    let (mut ingest, _) = session(&recorder, "call", "ann").await?;
    send(&mut ingest, &sound(2 * PART, 6)).await?;
    until("a part is sent", async || Ok(bench.verbs(0, "ann.wav").len() == 2)).await?;
    recorder.drain(Duration::ZERO).await;
    drop((ingest, recorder));
    assert_eq!(bench.store.open_uploads().len(), 1);
    remove_logs(bench.folder.path())?;
    let recorder = reopen(&bench).await?;
    until("it is aborted and forgotten", async || {
        Ok(bench.store.open_uploads().is_empty()
            && bench.catalogue().await?.uploads(TENANT).await?.is_empty())
    })
    .await?;
    drop(recorder);
    Ok(())
}

fn remove_logs(folder: &Path) -> Outcome {
    Ok(std::fs::remove_dir_all(folder.join("spool"))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_live_recording_leaves_no_upload() -> Outcome {
    let bench = Bench::new()?;
    let recorder = bench.open(bench.config()).await?;
    let (mut ingest, recording) = session(&recorder, "call", "ann").await?;
    send(&mut ingest, &sound(2 * PART, 7)).await?;
    until("a part is sent", async || Ok(bench.verbs(0, "ann.wav").len() == 2)).await?;
    recorder.delete(TENANT, recording).await?;
    assert_eq!(bench.store.open_uploads(), []);
    assert_eq!(bench.catalogue().await?.uploads(TENANT).await?, []);
    assert_eq!(bench.store.list("").await?, []);
    Ok(())
}

/// One call to the store fails, each in turn, in each way: the object is the same, and nothing is left behind. A track in
/// which something is missing is made of its log while it grows.
#[tokio::test(flavor = "multi_thread")]
async fn the_object_is_the_same_whichever_call_fails() -> Outcome {
    // begin, three parts, complete, the manifest.
    let kinds =
        [(Fault::Away, true), (Fault::ReplyLost, true), (Fault::Refused, true), (Fault::ReplyLost, false)];
    let runs = (0..6).flat_map(|call| kinds.map(|(fault, live)| (call, fault, live)));
    let runs = runs.enumerate().map(|(number, (call, fault, live))| async move {
        let missing = live && (number + call) % 2 == 1;
        let done = one_fault(call, fault, live, missing).await;
        done.map_err(|error| format!("call {call}, {fault:?}, live: {live}, missing: {missing}: {error}"))
    });
    let outcomes: Vec<_> = futures_util::future::join_all(runs).await;
    let failed: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    assert_eq!(failed, [] as [String; 0]);
    Ok(())
}

async fn one_fault(call: usize, fault: Fault, live: bool, missing: bool) -> Outcome {
    let bench = Bench::new()?;
    bench.store.meet_after(call, fault);
    // In one of the two ways, there is room for one part.
    let upload_budget = if live { 64 << 20 } else { 0 };
    let recorder = bench.open(RecorderConfig { live_uploads: live, upload_budget, ..bench.config() }).await?;
    let (mut ingest, recording) = session(&recorder, "call", "ann").await?;
    let mut sound = sound(2 * PART + PART / 2, call as u64);
    let (begin, end) = sound.split_at_mut(960 * 4);
    if missing {
        ingest.text(ClientMessage::Pause { reason: None });
        send(&mut ingest, begin).await?;
        ingest.text(ClientMessage::Resume);
        begin.fill(0);
    } else {
        send(&mut ingest, begin).await?;
    }
    send(&mut ingest, end).await?;
    if live {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
    }
    publish(&recorder, ingest, recording).await?;
    if !is_wav_of(&bench.object("ann.wav").await?, &sound) {
        return Err("the object is another".into());
    }
    let heard = recorder.media(TENANT, recording, &Selection::default()).await?;
    let heard: Vec<_> = heard.read(None).await?.try_collect().await?;
    if !is_wav_of(&heard.concat(), &sound) {
        return Err("what is heard is another".into());
    }
    let objects = bench.store.list("").await?;
    if objects.len() != 2 {
        return Err(format!("more than the recording and its manifest: {objects:?}").into());
    }
    // Of an upload whose beginning nobody was told of there is a name and no byte.
    let nameless = usize::from(fault == Fault::ReplyLost && call == 0);
    match (bench.store.open_uploads().len(), bench.catalogue().await?.uploads(TENANT).await?.len()) {
        (open, 0) if open == nameless => Ok(()),
        (open, known) => Err(format!("{open} uploads are open, {known} are known").into()),
    }
}

/// Some stores say then that there is no such upload, others that the key is taken.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_completed_without_an_answer_is_known_by_its_object() -> Outcome {
    for once in [false, true] {
        let bench = Bench::new()?;
        if once {
            bench.store.complete_once();
        }
        // begin, three parts, complete: nothing can be asked after that.
        bench.store.meet_after(4, Fault::Lost);
        let recorder = bench.open(RecorderConfig { live_uploads: false, ..bench.config() }).await?;
        let (mut ingest, recording) = session(&recorder, "call", "ann").await?;
        let sound = sound(2 * PART + PART / 2, 8);
        send(&mut ingest, &sound).await?;
        ingest.stop("over").await;
        until("it is completed", async || {
            Ok(bench.verbs(0, "ann.wav").last().is_some_and(|v| v == "complete"))
        })
        .await?;
        let before = bench.store.calls().len();
        bench.store.set_away(false);
        complete(&recorder, recording).await?;
        // Where the store came back between its asking twice, it found the object without.
        let after = bench.verbs(before, "ann.wav");
        assert!(after.iter().all(|verb| verb == "complete"), "once: {once}, {after:?}");
        assert!(is_wav_of(&bench.object("ann.wav").await?, &sound));
        assert_eq!(bench.store.list("").await?.len(), 2);
        assert_eq!(bench.catalogue().await?.uploads(TENANT).await?, []);
    }
    Ok(())
}
