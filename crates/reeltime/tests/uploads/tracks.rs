//! Tracks that are made of their logs while those grow.

use reeltime::recorder::{Ingest, RecorderConfig};
use reeltime::store::PART;
use reeltime_core::media::{Codec, Format};
use reeltime_core::wire::v1::ClientMessage;

use crate::bench::{Bench, FORMAT, Outcome, publish, send, session_in, sound, tail, until};

/// What is said, in two halves. Parts are sent between them.
trait Said: AsyncFn(&mut Ingest, usize) -> Outcome {}
impl<F: AsyncFn(&mut Ingest, usize) -> Outcome> Said for F {}

/// The object, and what was done to it after its recording was over.
async fn recorded(
    live: bool,
    format: Format,
    name: &str,
    said: impl Said,
) -> Outcome<(Vec<u8>, Vec<String>)> {
    let bench = Bench::new()?;
    let recorder = bench.open(RecorderConfig { live_uploads: live, ..bench.config() }).await?;
    let (mut ann, recording) = session_in(format, &recorder, "call", "ann").await?;
    said(&mut ann, 0).await?;
    if live {
        until("a part is sent", async || Ok(bench.verbs(0, name).len() >= 2)).await?;
    }
    said(&mut ann, 1).await?;
    if live {
        until("three are sent", async || Ok(bench.verbs(0, name).len() >= 4)).await?;
    }
    let before = bench.store.calls().len();
    publish(&recorder, ann, recording).await?;
    assert_eq!(bench.store.open_uploads(), []);
    Ok((bench.object(name).await?, bench.verbs(before, name)))
}

/// What is sent while it grows is what is sent at its end, and then it is not sent again.
async fn grows(format: Format, name: &str, said: impl Said) -> Outcome {
    let (at_the_end, _) = recorded(false, format, name, &said).await?;
    let (grown, after) = recorded(true, format, name, &said).await?;
    assert!(grown == at_the_end, "the file is another");
    assert_eq!(
        after.into_iter().collect::<std::collections::BTreeSet<_>>(),
        tail(&["complete", "part 1", "part 5"])
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opus_track_grows_in_its_ogg_file() -> Outcome {
    let opus = Format { codec: Codec::Opus, rate: 48_000, channels: 2 };
    let noise = sound(5 << 20, 21);
    grows(opus, "ann.ogg", async |ann: &mut Ingest, half: usize| {
        // 20 ms each, of which the first byte tells the kind.
        for number in 0..(2 + half / 4) * PART / 1_000 + PART / 4_000 {
            let from = (number * 1_000 + half * 77) % (4 << 20);
            ann.audio(&[&[0xFC], &noise[from..from + 1_000]].concat()).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_track_of_which_something_is_missing_goes_on_growing() -> Outcome {
    let said = sound(5 * PART, 22);
    grows(FORMAT, "ann.wav", async |ann: &mut Ingest, half: usize| {
        let (first, second) = said.split_at(2 * PART + PART / 4);
        if half == 0 {
            return send(ann, first).await;
        }
        ann.text(ClientMessage::Pause { reason: None });
        send(ann, &second[..PART / 4]).await?;
        ann.text(ClientMessage::Resume);
        send(ann, &second[PART / 4..2 * PART + PART / 4]).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_track_that_was_never_whole_grows_from_its_log() -> Outcome {
    let g711 = Format { codec: Codec::Mulaw, rate: 8_000, channels: 1 };
    let said = sound(5 * PART, 23);
    grows(g711, "ann.wav", async |ann: &mut Ingest, half: usize| {
        if half == 0 {
            send(ann, &said[..1_001]).await?;
            ann.text(ClientMessage::Pause { reason: None });
            send(ann, &said[..1_000]).await?;
            ann.text(ClientMessage::Resume);
            return send(ann, &said[..2 * PART + PART / 4]).await;
        }
        send(ann, &said[..2 * PART]).await
    })
    .await
}
