//! What every [`Catalogue`] does, as tests. Run them on a catalogue with
//! [`catalogue_contract!`](crate::catalogue_contract).

use std::error::Error;

use build::{
    START, TENANT, all, get, id, key, object, part, publication, publish, recording, states, step, upload,
};
use reeltime::catalogue::{
    Catalogue, CatalogueError, Filter, NewObject, NewRecording, ObjectKind, ObjectState, Page, Publication,
    Recording, RecordingState, StateChange, Upload,
};
use reeltime::store::UploadId;
use reeltime_core::id::TrackId;
use reeltime_core::time::{Micros, UtcMicros};
use uuid::Uuid;

mod build;
mod lists;
mod nodes;
mod segments;

pub use lists::*;
pub use nodes::*;
pub use segments::*;

type Outcome = Result<(), Box<dyn Error>>;

/// One test for each behaviour of a catalogue. Takes the path of an async function that makes an empty one:
/// `async fn make() -> Result<(Guard, Box<dyn Catalogue>), Box<dyn Error>>`, where the guard keeps alive what
/// the catalogue needs.
#[macro_export]
macro_rules! catalogue_contract {
    ($make:path) => {
        $crate::each_behaviour! { $make, catalogue:
            beginning_twice_changes_nothing,
            a_recording_goes_through_its_states,
            publishing_makes_everything_visible_at_once,
            publishing_again_changes_nothing,
            a_refused_publication_changes_nothing,
            media_cannot_be_published_away,
            a_recording_of_nothing_can_be_closed,
            a_recovered_recording_can_still_be_published,
            another_tenant_sees_and_changes_nothing,
            lists_are_newest_first_in_pages_with_a_total,
            lists_can_be_filtered,
            lists_can_be_searched_by_call_and_participant,
            recordings_of_a_call_are_linked,
            deleting_hides_at_once_and_twice_is_fine,
            a_deleted_recording_does_not_come_back,
            no_key_is_given_twice,
            the_sweeper_finds_what_is_left,
            what_is_marked_cannot_be_published,
            an_upload_is_known_until_its_object_is_published,
            an_upload_takes_a_staged_object_of_its_own,
            odd_names_stay_apart,
            writes_at_the_same_time_each_get_their_own_answer,
            a_nodes_epoch_grows_at_each_start_and_when_it_is_lost,
            exactly_one_takes_over_from_a_lost_node,
            who_takes_over_from_a_taker_gets_what_it_had_taken,
            what_another_node_has_taken_is_not_finished_here,
            what_was_never_shipped_fails_with_its_node,
            a_closed_catalogue_says_so,
            a_session_is_recorded_once_at_a_time,
            a_segment_is_announced_once_under_a_key_of_its_own,
            a_segment_of_unknown_size_is_the_same_once_it_is_kept,
            figures_are_of_segments_or_else_of_tracks,
            what_is_kept_of_a_segment_is_published_with_its_object,
            segments_are_taken_by_the_node_of_their_recording_alone,
        }
    };
}

/// Recovery enters recordings without looking whether they are there.
pub async fn beginning_twice_changes_nothing(catalogue: &dyn Catalogue) -> Outcome {
    catalogue.begin(&recording(1, "call")).await?;
    catalogue.change_state(TENANT, id(1), &step(RecordingState::Active, 5)).await?;
    let before = get(catalogue, 1).await?;
    catalogue.begin(&NewRecording { created_at: UtcMicros(0), ..recording(1, "call") }).await?;
    assert_eq!(get(catalogue, 1).await?, before);
    assert_eq!(before.created_at, recording(1, "call").created_at);

    let elsewhere = catalogue.begin(&recording(1, "another call")).await;
    assert_eq!(elsewhere, Err(CatalogueError::Conflict { id: id(1) }));
    let of_another = NewRecording { tenant: "other".to_owned(), ..recording(1, "call") };
    assert_eq!(catalogue.begin(&of_another).await, Err(CatalogueError::Conflict { id: id(1) }));
    assert_eq!(catalogue.call(TENANT, "another call").await?, None, "a refused write leaves nothing");
    Ok(())
}

/// Starting, active, ending; then nothing but publishing completes it, and a final state is final.
pub async fn a_recording_goes_through_its_states(catalogue: &dyn Catalogue) -> Outcome {
    let unknown = catalogue.change_state(TENANT, id(1), &step(RecordingState::Active, 0)).await;
    assert_eq!(unknown, Err(CatalogueError::UnknownRecording { id: id(1) }));
    catalogue.begin(&recording(1, "call")).await?;
    assert_eq!(get(catalogue, 1).await?.state, RecordingState::Starting);
    for (after, state) in
        [RecordingState::Active, RecordingState::Ending, RecordingState::Active].into_iter().enumerate()
    {
        catalogue.change_state(TENANT, id(1), &step(state, after as i64)).await?;
        assert_eq!(get(catalogue, 1).await?.state, state);
    }
    for state in [RecordingState::Complete, RecordingState::LimitReached] {
        let unpublished = catalogue.change_state(TENANT, id(1), &step(state, 5)).await;
        assert!(matches!(unpublished, Err(CatalogueError::Incomplete { .. })), "{unpublished:?}");
    }
    let failed = StateChange { reason: Some("why".to_owned()), ..step(RecordingState::Failed, 9) };
    catalogue.change_state(TENANT, id(1), &failed).await?;
    catalogue.change_state(TENANT, id(1), &failed).await?;
    let back = catalogue.change_state(TENANT, id(1), &step(RecordingState::Active, 10)).await;
    assert_eq!(back, Err(CatalogueError::Final { id: id(1), state: RecordingState::Failed }));
    let ended = get(catalogue, 1).await?;
    assert_eq!((ended.state, ended.reason.as_deref()), (RecordingState::Failed, Some("why")));
    assert_eq!((ended.started_at, ended.ended_at), (Some(UtcMicros(START)), Some(UtcMicros(START + 9))));
    Ok(())
}

/// Recording, objects and call change together.
pub async fn publishing_makes_everything_visible_at_once(catalogue: &dyn Catalogue) -> Outcome {
    catalogue.begin(&recording(1, "call")).await?;
    let track = TrackId(Uuid::from_u128(77));
    let master = NewObject { track: Some(track), kind: ObjectKind::Master, ..object(1, "master.wav") };
    catalogue.stage(&object(1, "mix.wav")).await?;
    catalogue.stage(&master).await?;
    let before = get(catalogue, 1).await?;
    assert_eq!((before.state, before.key, before.size), (RecordingState::Starting, None, None));
    let proof = catalogue.publish(&publication(1, &["mix.wav", "master.wav"])).await?;
    assert_eq!(proof.recording(), id(1));

    let expected = Recording {
        id: id(1),
        tenant: TENANT.to_owned(),
        call: "call".to_owned(),
        previous: None,
        state: RecordingState::Complete,
        reason: None,
        created_at: recording(1, "call").created_at,
        started_at: Some(UtcMicros(START + 1)),
        ended_at: Some(UtcMicros(START + 2_000_001)),
        duration: Some(Micros(2_000_000)),
        size: Some(64_044),
        participants: 3,
        names: Vec::new(),
        key: Some(key("mix.wav")),
        mime_type: Some("audio/wav".to_owned()),
        manifest: Some(r#"{"version":1}"#.to_owned()),
    };
    assert_eq!(get(catalogue, 1).await?, expected);
    let objects = catalogue.objects(TENANT, id(1)).await?;
    let [first, second] = objects.as_slice() else { return Err("two objects".into()) };
    assert_eq!((first.kind, first.track, second.track), (ObjectKind::Master, Some(track), None));
    assert_eq!(
        (first.state, first.size, first.crc32c),
        (ObjectState::Published, Some(64_044), Some(u32::MAX))
    );
    let call = catalogue.call(TENANT, "call").await?.ok_or("the call is there")?;
    assert_eq!((call.recording, call.recording_url.as_deref()), (Some(id(1)), Some("/recordings/1")));
    Ok(())
}

/// A crash after publishing makes the next start publish again.
pub async fn publishing_again_changes_nothing(catalogue: &dyn Catalogue) -> Outcome {
    publish(catalogue, 1, "call", "a.wav").await?;
    let before = get(catalogue, 1).await?;
    publish(catalogue, 1, "call", "a.wav").await.err().ok_or("a published key is not staged anew")?;
    assert_eq!(catalogue.publish(&publication(1, &["a.wav"])).await?.recording(), id(1));
    assert_eq!(get(catalogue, 1).await?, before);
    assert_eq!(states(catalogue, 1).await?, [ObjectState::Published]);
    Ok(())
}

/// One object that is not staged, and no other becomes visible.
pub async fn a_refused_publication_changes_nothing(catalogue: &dyn Catalogue) -> Outcome {
    catalogue.begin(&recording(1, "call")).await?;
    catalogue.begin(&recording(2, "call")).await?;
    catalogue.stage(&object(1, "a.wav")).await?;
    catalogue.stage(&object(2, "of-another.wav")).await?;
    let before = get(catalogue, 1).await?;
    for missing in ["never-staged.wav", "of-another.wav"] {
        let refused = catalogue.publish(&publication(1, &["a.wav", missing])).await;
        assert_eq!(refused, Err(CatalogueError::NotStaged { key: key(missing) }));
        assert_eq!(get(catalogue, 1).await?, before);
        assert_eq!(states(catalogue, 1).await?, [ObjectState::Staged]);
    }
    assert_eq!(catalogue.call(TENANT, "call").await?.and_then(|call| call.recording_url), None);
    let unknown = catalogue.publish(&publication(9, &["a.wav"])).await;
    assert_eq!(unknown, Err(CatalogueError::UnknownRecording { id: id(9) }));
    Ok(())
}

/// What would yield the proof for something recorded, without an object that holds it, is refused.
pub async fn media_cannot_be_published_away(catalogue: &dyn Catalogue) -> Outcome {
    catalogue.begin(&recording(1, "call")).await?;
    catalogue.stage(&object(1, "a.wav")).await?;
    let whole = publication(1, &["a.wav"]);
    let broken = [
        Publication { main: None, ..whole.clone() },
        Publication { main: Some(key("b.wav")), ..whole.clone() },
        Publication { main: None, objects: Vec::new(), ..whole.clone() },
        Publication { main: None, objects: Vec::new(), state: RecordingState::Failed, ..whole.clone() },
        Publication { main: None, objects: Vec::new(), duration: Micros(0), ..whole.clone() },
        Publication { state: RecordingState::Ending, ..whole },
    ];
    for (n, publication) in broken.iter().enumerate() {
        let refused = catalogue.publish(publication).await;
        assert!(matches!(refused, Err(CatalogueError::Incomplete { .. })), "{n}: {refused:?}");
    }
    assert_eq!(get(catalogue, 1).await?.state, RecordingState::Starting);
    Ok(())
}

/// Nothing recorded: failed or aborted, with the proof that releases its empty log; complete, where nobody took part.
pub async fn a_recording_of_nothing_can_be_closed(catalogue: &dyn Catalogue) -> Outcome {
    let closings =
        [(1, RecordingState::Failed, 3), (2, RecordingState::Aborted, 3), (3, RecordingState::Complete, 0)];
    for (n, state, participants) in closings {
        catalogue.begin(&recording(n, "call")).await?;
        let reason = Some("nothing arrived".to_owned());
        let nothing = Publication {
            state,
            reason,
            participants,
            duration: Micros(0),
            started_at: None,
            url: None,
            ..publication(n, &[])
        };
        assert_eq!(catalogue.publish(&nothing).await?.recording(), id(n));
        let closed = get(catalogue, n).await?;
        assert_eq!((closed.state, closed.key, closed.started_at), (state, None, None));
        assert_eq!(closed.reason.as_deref(), Some("nothing arrived"));
    }
    assert_eq!(catalogue.call(TENANT, "call").await?.and_then(|call| call.recording_url), None);
    Ok(())
}

/// A recording given up as failed whose log turns up is published after all.
pub async fn a_recovered_recording_can_still_be_published(catalogue: &dyn Catalogue) -> Outcome {
    catalogue.begin(&recording(1, "call")).await?;
    catalogue.change_state(TENANT, id(1), &step(RecordingState::Failed, 9)).await?;
    publish(catalogue, 1, "call", "a.wav").await?;
    assert_eq!(get(catalogue, 1).await?.state, RecordingState::Complete);
    Ok(())
}

/// To another tenant an id that exists is an id that does not.
pub async fn another_tenant_sees_and_changes_nothing(catalogue: &dyn Catalogue) -> Outcome {
    publish(catalogue, 1, "call", "a.wav").await?;
    catalogue.stage(&object(1, "b.wav")).await?;
    let (before, objects) = (get(catalogue, 1).await?, catalogue.objects(TENANT, id(1)).await?);

    assert_eq!(catalogue.get("other", id(1)).await?, None);
    assert_eq!(catalogue.call("other", "call").await?, None);
    assert_eq!(all(catalogue, "other").await?, []);
    assert_eq!(catalogue.objects("other", id(1)).await?, []);
    assert_eq!(catalogue.objects_in("other", ObjectState::Staged, UtcMicros(i64::MAX), 9).await?, []);
    let unknown = CatalogueError::UnknownRecording { id: id(1) };
    let change = step(RecordingState::Aborted, 0);
    assert_eq!(catalogue.change_state("other", id(1), &change).await, Err(unknown.clone()));
    let foreign = NewObject { tenant: "other".to_owned(), ..object(1, "c.wav") };
    assert_eq!(catalogue.stage(&foreign).await, Err(unknown.clone()));
    let published = Publication { tenant: "other".to_owned(), ..publication(1, &["b.wav"]) };
    assert_eq!(catalogue.publish(&published).await, Err(unknown));
    assert_eq!(catalogue.delete("other", id(1)).await?, None, "no proof for another's recording");
    assert!(!catalogue.mark("other", &key("b.wav")).await?);
    catalogue.mark(TENANT, &key("b.wav")).await?;
    catalogue.forget("other", &key("b.wav")).await?;

    assert_eq!(get(catalogue, 1).await?, before);
    let after = catalogue.objects(TENANT, id(1)).await?;
    assert_eq!((after.len(), after.first()), (objects.len(), objects.first()));
    Ok(())
}

/// Each recording knows the one before it, and the call leads to the newest, whatever the order of publishing.
pub async fn recordings_of_a_call_are_linked(catalogue: &dyn Catalogue) -> Outcome {
    for n in 1..=3 {
        catalogue.begin(&recording(n, "call")).await?;
        catalogue.stage(&object(n, &format!("{n}.wav"))).await?;
    }
    catalogue.begin(&recording(4, "another")).await?;
    let previous = [(1, None), (2, Some(id(1))), (3, Some(id(2))), (4, None)];
    for (n, expected) in previous {
        assert_eq!(get(catalogue, n).await?.previous, expected, "recording {n}");
    }
    for (n, newest) in [(2, 2), (1, 2), (3, 3)] {
        let name = format!("{n}.wav");
        assert_eq!(catalogue.publish(&publication(n, &[&name])).await?.recording(), id(n));
        let call = catalogue.call(TENANT, "call").await?.ok_or("the call is there")?;
        assert_eq!(
            (call.recording, call.recording_url),
            (Some(id(newest)), Some(format!("/recordings/{newest}")))
        );
    }
    catalogue.delete(TENANT, id(2)).await?;
    assert_eq!(get(catalogue, 3).await?.previous, Some(id(1)), "the chain closes over a deleted one");
    Ok(())
}

/// The first deletion hides all of it; each one tells the keys whose bytes are still to go.
pub async fn deleting_hides_at_once_and_twice_is_fine(catalogue: &dyn Catalogue) -> Outcome {
    publish(catalogue, 1, "call", "a.wav").await?;
    catalogue.stage(&object(1, "b.wav")).await?;
    for _ in 0..2 {
        let removed = catalogue.delete(TENANT, id(1)).await?.ok_or("the recording was there")?;
        assert_eq!((removed.recording(), removed.keys()), (id(1), &[key("a.wav"), key("b.wav")][..]));
        assert_eq!(catalogue.get(TENANT, id(1)).await?, None);
        assert_eq!(all(catalogue, TENANT).await?, []);
        assert_eq!(states(catalogue, 1).await?, [ObjectState::MarkedForDeletion; 2]);
        let call = catalogue.call(TENANT, "call").await?.ok_or("the call stays")?;
        assert_eq!((call.recording, call.recording_url), (None, None));
    }
    catalogue.forget(TENANT, &key("a.wav")).await?;
    catalogue.forget(TENANT, &key("a.wav")).await?;
    let removed = catalogue.delete(TENANT, id(1)).await?.ok_or("the tombstone stays")?;
    assert_eq!(removed.keys(), [key("b.wav")]);
    assert_eq!(catalogue.delete(TENANT, id(99)).await?, None, "an id that was never given out");
    Ok(())
}

/// Its log may be found by a later start; that changes nothing.
pub async fn a_deleted_recording_does_not_come_back(catalogue: &dyn Catalogue) -> Outcome {
    publish(catalogue, 1, "call", "a.wav").await?;
    catalogue.delete(TENANT, id(1)).await?;
    let deleted = CatalogueError::Deleted { id: id(1) };
    assert_eq!(catalogue.begin(&recording(1, "call")).await, Err(deleted.clone()));
    assert_eq!(catalogue.stage(&object(1, "b.wav")).await, Err(deleted.clone()));
    assert_eq!(catalogue.publish(&publication(1, &["a.wav"])).await, Err(deleted.clone()));
    let change = step(RecordingState::Active, 0);
    assert_eq!(catalogue.change_state(TENANT, id(1), &change).await, Err(deleted));
    assert_eq!(catalogue.get(TENANT, id(1)).await?, None);
    Ok(())
}

/// A key belongs to one object, whichever state and tenant it is of.
pub async fn no_key_is_given_twice(catalogue: &dyn Catalogue) -> Outcome {
    catalogue.begin(&recording(1, "call")).await?;
    catalogue.begin(&recording(2, "call")).await?;
    catalogue.begin(&NewRecording { tenant: "other".to_owned(), ..recording(3, "call") }).await?;
    assert!(!catalogue.key_taken(&key("c/a.wav")).await?);
    catalogue.stage(&object(1, "c/a.wav")).await?;
    assert!(catalogue.key_taken(&key("c/a.wav")).await?);
    // The same object again.
    catalogue.stage(&object(1, "c/a.wav")).await?;
    let taken = Err(CatalogueError::KeyTaken { key: key("c/a.wav") });
    assert_eq!(catalogue.stage(&object(2, "c/a.wav")).await, taken);
    let foreign = NewObject { tenant: "other".to_owned(), ..object(3, "c/a.wav") };
    assert_eq!(catalogue.stage(&foreign).await, taken);
    catalogue.stage(&object(2, "c/a-2.wav")).await?;
    catalogue.delete(TENANT, id(1)).await?;
    assert_eq!(catalogue.objects(TENANT, id(2)).await?.len(), 1);
    let still_taken = catalogue.stage(&object(2, "c/a.wav")).await;
    assert_eq!(still_taken, taken, "its bytes may still be there");
    Ok(())
}

/// By state and age, oldest first, no more than asked for.
pub async fn the_sweeper_finds_what_is_left(catalogue: &dyn Catalogue) -> Outcome {
    catalogue.begin(&recording(1, "call")).await?;
    for age in [3, 1, 2] {
        let created_at = UtcMicros(START + age);
        catalogue.stage(&NewObject { created_at, ..object(1, &format!("{age}.wav")) }).await?;
    }
    let found = async |state, before: i64, limit| -> Result<Vec<String>, Box<dyn Error>> {
        let objects = catalogue.objects_in(TENANT, state, UtcMicros(START + before), limit).await?;
        Ok(objects.into_iter().map(|object| object.key.into()).collect())
    };
    assert_eq!(found(ObjectState::Staged, 3, 9).await?, ["1.wav", "2.wav"]);
    assert_eq!(found(ObjectState::Staged, 9, 1).await?, ["1.wav"]);
    assert_eq!(found(ObjectState::MarkedForDeletion, 9, 9).await?, Vec::<String>::new());
    assert!(catalogue.mark(TENANT, &key("2.wav")).await?);
    assert_eq!(found(ObjectState::Staged, 9, 9).await?, ["1.wav", "3.wav"]);
    assert_eq!(found(ObjectState::MarkedForDeletion, 9, 9).await?, ["2.wav"]);
    catalogue.forget(TENANT, &key("2.wav")).await?;
    catalogue.forget(TENANT, &key("1.wav")).await?;
    assert_eq!(found(ObjectState::MarkedForDeletion, 9, 9).await?, Vec::<String>::new());
    assert!(!catalogue.key_taken(&key("2.wav")).await?);
    assert!(catalogue.key_taken(&key("1.wav")).await?, "a staged row is not forgotten");
    Ok(())
}

/// The sweeper and a publisher meet: whoever came first has the object.
pub async fn what_is_marked_cannot_be_published(catalogue: &dyn Catalogue) -> Outcome {
    catalogue.begin(&recording(1, "call")).await?;
    catalogue.stage(&object(1, "a.wav")).await?;
    assert!(catalogue.mark(TENANT, &key("a.wav")).await?);
    assert!(!catalogue.mark(TENANT, &key("a.wav")).await?);
    let late = catalogue.publish(&publication(1, &["a.wav"])).await;
    assert_eq!(late, Err(CatalogueError::NotStaged { key: key("a.wav") }));
    assert!(matches!(catalogue.stage(&object(1, "a.wav")).await, Err(CatalogueError::KeyTaken { .. })));

    publish(catalogue, 2, "call", "b.wav").await?;
    assert!(!catalogue.mark(TENANT, &key("b.wav")).await?, "what is published stays");
    catalogue.forget(TENANT, &key("b.wav")).await?;
    assert_eq!(states(catalogue, 2).await?, [ObjectState::Published]);
    Ok(())
}

/// Whoever goes on with an upload finds its parts, the last one noted under each number.
pub async fn an_upload_is_known_until_its_object_is_published(catalogue: &dyn Catalogue) -> Outcome {
    catalogue.begin(&recording(1, "call")).await?;
    for (name, age) in [("b.wav", 2), ("a.wav", 1)] {
        catalogue.stage(&object(1, name)).await?;
        catalogue.begin_upload(&upload(1, name, age)).await?;
    }
    let (a, b) = (upload(1, "a.wav", 1), upload(1, "b.wav", 2));
    catalogue.note_part(&a, 3, &part("three", u32::MAX)).await?;
    catalogue.note_part(&a, 2, &part("two", 7)).await?;
    catalogue.note_part(&a, 2, &part("two again", 8)).await?;
    catalogue.note_part(&b, 2, &part("another's", 9)).await?;
    let other = Upload { id: UploadId("begun anew".to_owned()), ..a.clone() };
    catalogue.note_part(&other, 4, &part("of an upload that is not known", 1)).await?;
    let expected = vec![(2, part("two again", 8)), (3, part("three", u32::MAX))];
    assert_eq!(catalogue.upload(TENANT, &a.key).await?, Some((a.clone(), expected)));
    assert_eq!(catalogue.uploads(TENANT).await?, [a.clone(), b.clone()]);
    assert_eq!(catalogue.uploads("other").await?, []);
    assert_eq!(catalogue.upload("other", &a.key).await?, None);

    let _ = catalogue.publish(&publication(1, &["a.wav"])).await?;
    assert_eq!(catalogue.upload(TENANT, &a.key).await?, None);
    catalogue.end_upload("other", &b.key).await?;
    assert_eq!(catalogue.uploads(TENANT).await?, std::slice::from_ref(&b));
    catalogue.end_upload(TENANT, &b.key).await?;
    catalogue.end_upload(TENANT, &b.key).await?;
    assert_eq!(catalogue.uploads(TENANT).await?, []);
    catalogue.begin_upload(&b).await?;
    assert_eq!(catalogue.upload(TENANT, &b.key).await?, Some((b, Vec::new())), "its parts went with it");
    Ok(())
}

/// An upload whose object is not staged would be found by nobody.
pub async fn an_upload_takes_a_staged_object_of_its_own(catalogue: &dyn Catalogue) -> Outcome {
    catalogue.begin(&recording(1, "call")).await?;
    catalogue.begin(&recording(2, "call")).await?;
    let not_staged = Err(CatalogueError::NotStaged { key: key("a.wav") });
    assert_eq!(catalogue.begin_upload(&upload(1, "a.wav", 0)).await, not_staged);
    catalogue.stage(&object(1, "a.wav")).await?;
    assert_eq!(catalogue.begin_upload(&upload(2, "a.wav", 0)).await, not_staged);
    let foreign = Upload { tenant: "other".to_owned(), ..upload(1, "a.wav", 0) };
    assert_eq!(catalogue.begin_upload(&foreign).await, not_staged);
    catalogue.begin_upload(&upload(1, "a.wav", 0)).await?;
    let twice = catalogue.begin_upload(&upload(1, "a.wav", 1)).await;
    assert_eq!(twice, Err(CatalogueError::KeyTaken { key: key("a.wav") }));
    assert_eq!(catalogue.uploads(TENANT).await?, [upload(1, "a.wav", 0)]);

    let removed = catalogue.delete(TENANT, id(1)).await?.ok_or("it was there")?;
    assert_eq!(catalogue.uploads(TENANT).await?.len(), 1, "what the store still has of it is to be aborted");
    for key in removed.keys() {
        catalogue.forget(TENANT, key).await?;
    }
    assert_eq!(catalogue.uploads(TENANT).await?.len(), 1);
    Ok(())
}

/// Ids of calls and tenants may be any text.
pub async fn odd_names_stay_apart(catalogue: &dyn Catalogue) -> Outcome {
    let long = "n".repeat(100_000);
    let names = [
        "",
        "a",
        "A",
        "a\0",
        "a\0b",
        "'; DROP TABLE calls; --",
        "%",
        "_",
        "\u{202e}a",
        "é",
        "e\u{301}",
        "1",
        &long,
    ];
    for (n, name) in (1..).zip(names) {
        catalogue.begin(&recording(n, name)).await?;
        catalogue
            .begin(&NewRecording { id: id(100 + n), tenant: name.to_owned(), ..recording(n, "x") })
            .await?;
    }
    for (n, name) in (1..).zip(names) {
        let filter = Filter { call: Some(name.to_owned()), ..Filter::default() };
        let listing = catalogue.list(TENANT, &filter, Page { number: 1, size: 10 }).await?;
        let found: Vec<_> = listing.items.iter().map(|item| (item.id, item.call.as_str())).collect();
        assert_eq!(found, [(id(n), name)]);
        assert_eq!(all(catalogue, name).await?, [id(100 + n)]);
    }
    Ok(())
}

/// Writes that share a transaction: the refused ones do not touch the others.
pub async fn writes_at_the_same_time_each_get_their_own_answer(catalogue: &dyn Catalogue) -> Outcome {
    const COUNT: u128 = 200;
    let one = async |n: u128| -> Result<bool, CatalogueError> {
        catalogue.begin(&recording(n, &format!("call {}", n % 7))).await?;
        let name = format!("{}.wav", n / 2);
        match catalogue.stage(&object(n, &name)).await {
            Err(CatalogueError::KeyTaken { .. }) => return Ok(false),
            staged => staged?,
        }
        catalogue.publish(&publication(n, &[&name])).await.map(|proof| proof.recording() == id(n))
    };
    let outcomes = futures_util::future::join_all((0..COUNT).map(one)).await;
    for pair in 0..COUNT as usize / 2 {
        let pair = outcomes.get(2 * pair..2 * pair + 2);
        let won = pair.map(|pair| pair.iter().filter(|outcome| **outcome == Ok(true)).count());
        assert_eq!(won, Some(1), "of two that want one key, one gets it: {pair:?}");
        assert!(pair.is_some_and(|pair| pair.iter().all(Result::is_ok)), "{pair:?}");
    }
    let complete = Filter { call: None, states: vec![RecordingState::Complete], ..Filter::default() };
    let page = Page { number: 1, size: 1 };
    assert_eq!(catalogue.list(TENANT, &complete, page).await?.total, 100);
    assert_eq!(catalogue.list(TENANT, &Filter::default(), page).await?.total, 200);
    Ok(())
}

/// After closing, reads and writes fail alike, and closing again is fine.
pub async fn a_closed_catalogue_says_so(catalogue: &dyn Catalogue) -> Outcome {
    catalogue.begin(&recording(1, "call")).await?;
    catalogue.close().await;
    catalogue.close().await;
    assert_eq!(catalogue.begin(&recording(2, "call")).await, Err(CatalogueError::Closed));
    assert_eq!(catalogue.get(TENANT, id(1)).await, Err(CatalogueError::Closed));
    Ok(())
}
