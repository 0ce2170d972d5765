//! Mixes that are made and sent while their recordings go on.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use futures_util::TryStreamExt;
use reeltime::catalogue::Catalogue;
use reeltime::recorder::{Recorder, RecorderConfig, Rendition, Seating, Selection};
use reeltime::store::PART;
use reeltime_core::id::RecordingId;
use reeltime_core::manifest::Manifest;
use reeltime_core::media::{Container, Format};
use reeltime_core::wire::v1::ClientMessage;

use crate::bench::{
    Bench, FORMAT, Outcome, TENANT, is_wav_of, publish, send, session_in, sound, tail, until,
};

const MONO: Format = Format { channels: 1, ..FORMAT };

/// What the mix is when it is made of the stored tracks: nothing of what was made before is asked.
async fn mix_of_tracks(recorder: &Recorder, recording: RecordingId) -> Outcome<Vec<u8>> {
    let selection = Selection { layout: Some(Seating::Mono), rate: Some(MONO.rate), ..Selection::default() };
    let media = recorder.media(TENANT, recording, &selection).await?;
    let chunks: Vec<_> = media.read(None).await?.try_collect().await?;
    Ok(chunks.concat())
}

/// Beside the tracks of two speakers their mix grows, and what is sent at the end is its tail and its first part.
#[tokio::test(flavor = "multi_thread")]
async fn the_mix_of_several_grows_as_well_and_is_the_one_that_is_made_at_the_end() -> Outcome {
    let bench = Bench::new()?;
    let recorder = bench.open(bench.config()).await?;
    let (mut ann, recording) = session_in(MONO, &recorder, "call", "ann").await?;
    let (mut ben, _) = session_in(MONO, &recorder, "call", "ben").await?;
    let (anns, bens) = (sound(3 * PART + PART / 2, 8), sound(3 * PART + PART / 4, 9));
    send(&mut ann, &anns).await?;
    send(&mut ben, &bens).await?;
    until("two parts of the mix are sent", async || Ok(bench.verbs(0, "mono.wav").len() == 3)).await?;
    let before = bench.store.calls().len();
    ann.stop("over").await;
    publish(&recorder, ben, recording).await?;
    let after: BTreeSet<_> = bench.verbs(before, "mono.wav").into_iter().collect();
    assert_eq!(after, tail(&["complete", "part 1", "part 4"]));
    assert!(
        bench.object("mono.wav").await? == mix_of_tracks(&recorder, recording).await?,
        "the mix is another"
    );
    assert!(is_wav_of(&bench.object("ann.wav").await?, &anns));
    assert!(is_wav_of(&bench.object("ben.wav").await?, &bens));
    assert_eq!(bench.store.open_uploads(), []);
    assert_eq!(left_over(bench.folder.path())?, 0, "the file that grew is gone");
    Ok(())
}

/// Files in the recorder's own folder that are on their way.
fn left_over(folder: &Path) -> Outcome<usize> {
    Ok(std::fs::read_dir(folder.join("cache"))?.flatten().filter(|entry| entry.path().is_file()).count())
}

/// Who joins where it was mixed already (others were sent faster than they spoke) is heard all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_mix_that_somebody_joined_too_late_is_made_anew() -> Outcome {
    let bench = Bench::new()?;
    let recorder = bench.open(bench.config()).await?;
    let (mut ann, recording) = session_in(MONO, &recorder, "call", "ann").await?;
    let (mut ben, _) = session_in(MONO, &recorder, "call", "ben").await?;
    let said = sound(2 * PART + PART / 2, 10);
    send(&mut ann, &said).await?;
    send(&mut ben, &said).await?;
    until("a part of the mix is sent", async || Ok(bench.verbs(0, "mono.wav").len() == 2)).await?;
    let (mut eve, _) = session_in(MONO, &recorder, "call", "eve").await?;
    send(&mut eve, &sound(PART, 11)).await?;
    ann.stop("over").await;
    ben.stop("over").await;
    publish(&recorder, eve, recording).await?;
    assert!(
        bench.object("mono.wav").await? == mix_of_tracks(&recorder, recording).await?,
        "the mix is another"
    );
    assert_eq!(version(&bench, recording).await?, 2);
    Ok(())
}

/// What there is to say stands behind the sound, what is silent is known to be: none of it makes it another file.
#[tokio::test(flavor = "multi_thread")]
async fn a_mix_with_marks_and_pauses_grows_as_well() -> Outcome {
    let bench = Bench::new()?;
    let recorder = bench.open(bench.config()).await?;
    let (mut ann, recording) = session_in(MONO, &recorder, "call", "ann").await?;
    let (mut ben, _) = session_in(MONO, &recorder, "call", "ben").await?;
    let said = sound(3 * PART + PART / 2, 12);
    let (begin, end) = said.split_at(PART);
    send(&mut ann, begin).await?;
    ann.text(ClientMessage::Pause { reason: Some("card number".to_owned()) });
    send(&mut ann, &end[..PART / 2]).await?;
    ann.text(ClientMessage::Resume);
    send(&mut ann, &end[PART / 2..]).await?;
    send(&mut ben, &said).await?;
    until("two parts of the mix are sent", async || Ok(bench.verbs(0, "mono.wav").len() == 3)).await?;
    let before = bench.store.calls().len();
    ann.text(ClientMessage::Mark { name: "agreed".to_owned() });
    ann.stop("over").await;
    publish(&recorder, ben, recording).await?;
    let after: BTreeSet<_> = bench.verbs(before, "mono.wav").into_iter().collect();
    assert_eq!(after, tail(&["complete", "part 1", "part 4"]));
    let mix = bench.object("mono.wav").await?;
    assert!(mix == mix_of_tracks(&recorder, recording).await?, "the mix is another");
    assert!(mix.windows(6).any(|window| window == b"agreed"));
    assert_eq!(version(&bench, recording).await?, 1);
    assert_eq!(bench.store.open_uploads(), []);
    Ok(())
}

/// Which version the manifest says the file is that is kept.
async fn version(bench: &Bench, recording: RecordingId) -> Outcome<u32> {
    let catalogue = bench.catalogue().await?;
    let row = catalogue.get(TENANT, recording).await?.ok_or("it is gone")?;
    let manifest: Manifest = serde_json::from_str(&row.manifest.ok_or("there is no manifest")?)?;
    Ok(manifest.renditions.first().ok_or("nothing is kept")?.version)
}

/// Heads that hold what only the end tells are sent last, and what an encoder keeps in mind goes on to the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_mix_of_another_format_grows_as_well() -> Outcome {
    let bench = Bench::new()?;
    let rendition = Rendition { format: Container::Flac, layout: Seating::Mono };
    let recorder = bench.open(RecorderConfig { renditions: vec![rendition], ..bench.config() }).await?;
    let (mut ann, recording) = session_in(MONO, &recorder, "call", "ann").await?;
    let (mut ben, _) = session_in(MONO, &recorder, "call", "ben").await?;
    let said = sound(3 * PART, 13);
    send(&mut ann, &said).await?;
    send(&mut ben, &said[..2 * PART]).await?;
    until("a part is sent", async || Ok(bench.verbs(0, "mono.flac").len() >= 2)).await?;
    let before = bench.store.calls().len();
    ben.stop("over").await;
    publish(&recorder, ann, recording).await?;
    let after = bench.verbs(before, "mono.flac");
    assert!(after.contains(&"part 1".to_owned()) && !after.contains(&"part 2".to_owned()), "{after:?}");
    let made = made_again(&recorder, recording, Container::Flac).await?;
    assert!(bench.object("mono.flac").await? == made, "the mix is another");
    Ok(())
}

async fn made_again(recorder: &Recorder, recording: RecordingId, format: Container) -> Outcome<Vec<u8>> {
    let format = Some(format);
    let selection =
        Selection { format, layout: Some(Seating::Mono), rate: Some(MONO.rate), ..Selection::default() };
    let media = recorder.media(TENANT, recording, &selection).await?.made_whole().await?;
    let chunks: Vec<_> = media.read(None).await?.try_collect().await?;
    Ok(chunks.concat())
}

/// So many samples that parts fill in seconds.
const WIDE: Format = Format { channels: 8, rate: 192_000, ..FORMAT };

/// `ben` says something for an instant, and is silent while `ann` talks for four seconds; then he may come back with what
/// he had kept.
async fn silent_speaker(comes_back: bool) -> Outcome<(Vec<String>, u32)> {
    let bench = Bench::new()?;
    let rendition = Rendition { format: Container::Wav, layout: Seating::Tracks };
    let config = RecorderConfig { renditions: vec![rendition], ..bench.config() };
    let recorder = bench.open(RecorderConfig { live_horizon: Duration::from_secs(1), ..config }).await?;
    let (mut ann, recording) = session_in(WIDE, &recorder, "call", "ann").await?;
    let (mut ben, _) = session_in(WIDE, &recorder, "call", "ben").await?;
    let second = usize::try_from(WIDE.rate)? * 16;
    let said = sound(4 * second, 14);
    send(&mut ben, &said[..second / 5]).await?;
    for piece in said.chunks(second / 10) {
        send(&mut ann, piece).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    until("a part is sent", async || Ok(bench.verbs(0, "tracks.wav").len() >= 2)).await?;
    if comes_back {
        send(&mut ben, &said[second / 5..second]).await?;
    }
    let before = bench.store.calls().len();
    ann.stop("over").await;
    publish(&recorder, ben, recording).await?;
    let after = bench.verbs(before, "tracks.wav");
    let version = version(&bench, recording).await?;
    let selection =
        Selection { layout: Some(Seating::Tracks), rate: Some(WIDE.rate), ..Selection::default() };
    let media = recorder.media(TENANT, recording, &selection).await?;
    let chunks: Vec<_> = media.read(None).await?.try_collect().await?;
    assert!(bench.object("tracks.wav").await? == chunks.concat(), "the file is another");
    Ok((after, version))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_is_waited_for_as_long_as_the_horizon_says() -> Outcome {
    let (after, version) = silent_speaker(false).await?;
    assert!(!after.contains(&"part 2".to_owned()), "{after:?}");
    assert_eq!(version, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_behind_the_horizon_is_in_a_new_version() -> Outcome {
    let (after, version) = silent_speaker(true).await?;
    assert!(after.contains(&"part 1".to_owned()), "{after:?}");
    assert_eq!(version, 2);
    Ok(())
}
