//! What every catalogue does with segments.

use reeltime::catalogue::{
    Catalogue, CatalogueError, KeptSegment, NewObject, NewSegment, ObjectKind, ObjectState, SegmentRecording,
    SegmentState, SegmentsStatus,
};
use reeltime_core::id::{NodeId, TrackId};
use reeltime_core::media::Container;
use reeltime_core::time::{Micros, UtcMicros};
use uuid::Uuid;

use super::Outcome;
use super::build::{START, TENANT, id, key, object, publication, recording};

fn of_session(n: u128, session: &str) -> SegmentRecording {
    SegmentRecording {
        recording: id(n),
        session_id: session.to_owned(),
        guild_id: "guild".to_owned(),
        channel_id: "channel".to_owned(),
        details: "{}".to_owned(),
        status: SegmentsStatus::Live,
        begun_at: UtcMicros(START),
        created_at: UtcMicros(START + n as i64),
        finalized_at: None,
    }
}

/// Segment `index` of `user`, whose address has the id `upload`.
fn segment(user: &str, index: u32, upload: u128) -> NewSegment {
    NewSegment {
        id: Uuid::from_u128(1_000 + upload),
        recording: id(1),
        user_id: user.to_owned(),
        username: "name".to_owned(),
        segment_index: index,
        file_name: "file.wav".to_owned(),
        format: Container::Wav,
        size: Some(44),
        starts_at: UtcMicros(START + i64::from(index)),
        ends_at: UtcMicros(START + i64::from(index) + 1),
        key: key("recordings/s/name/segment_000.wav"),
        upload: Uuid::from_u128(upload),
    }
}

fn object_of(segment: Uuid) -> NewObject {
    NewObject {
        track: Some(TrackId(segment)),
        kind: ObjectKind::Master,
        ..object(1, "recordings/s/name/segment_000.wav")
    }
}

/// The same session while it is open is the same recording; one that is over or deleted begins anew.
pub async fn a_session_is_recorded_once_at_a_time(catalogue: &dyn Catalogue) -> Outcome {
    for n in [1, 2] {
        assert_eq!(catalogue.begin_segments(&recording(n, "s"), &of_session(n, "s")).await?, id(1));
    }
    assert!(catalogue.get(TENANT, id(2)).await?.is_none(), "the second has begun nothing");
    assert_eq!(catalogue.begin_segments(&recording(3, "t"), &of_session(3, "t")).await?, id(3));
    let open = catalogue.open_segment_recordings(TENANT).await?;
    assert_eq!(open, [of_session(1, "s"), of_session(3, "t")]);
    assert!(catalogue.open_segment_recordings("other").await?.is_empty());
    assert_eq!(catalogue.segment_recording("other", id(1)).await?, None);

    let over = UtcMicros(START + 9);
    catalogue.advance_segments("other", id(1), SegmentsStatus::Finalized, over).await?;
    catalogue.advance_segments(TENANT, id(1), SegmentsStatus::Finalized, over).await?;
    catalogue.advance_segments(TENANT, id(1), SegmentsStatus::Finalizing, UtcMicros(START + 10)).await?;
    let row = catalogue.segment_recording(TENANT, id(1)).await?.ok_or("it is known")?;
    assert_eq!((row.status, row.finalized_at), (SegmentsStatus::Finalized, Some(over)), "never back");
    assert_eq!(catalogue.begin_segments(&recording(4, "s"), &of_session(4, "s")).await?, id(4));
    catalogue.delete(TENANT, id(4)).await?;
    assert_eq!(catalogue.begin_segments(&recording(5, "s"), &of_session(5, "s")).await?, id(5));
    Ok(())
}

/// The same segment again is the same row with another address; another one gets another key.
pub async fn a_segment_is_announced_once_under_a_key_of_its_own(catalogue: &dyn Catalogue) -> Outcome {
    let unknown = catalogue.announce_segment(TENANT, &segment("u", 0, 1)).await;
    assert_eq!(unknown, Err(CatalogueError::UnknownRecording { id: id(1) }));
    catalogue.begin_segments(&recording(1, "s"), &of_session(1, "s")).await?;
    let first = catalogue.announce_segment(TENANT, &segment("u", 0, 1)).await?;
    let again = catalogue.announce_segment(TENANT, &segment("u", 0, 2)).await?;
    assert_eq!((again.id, again.number, &again.key), (first.id, 0, &first.key));
    assert_eq!(catalogue.segment(TENANT, id(1), Uuid::from_u128(1)).await?, None, "that address is void");
    assert_eq!(catalogue.segment(TENANT, id(1), Uuid::from_u128(2)).await?.as_ref(), Some(&again));
    assert_eq!(catalogue.segment(TENANT, id(1), first.id).await?.as_ref(), Some(&again));
    assert_eq!(catalogue.segment("other", id(1), first.id).await?, None);
    assert_eq!(catalogue.segment(TENANT, id(2), first.id).await?, None);

    let namesake = catalogue.announce_segment(TENANT, &segment("v", 0, 3)).await?;
    assert_eq!((first.participant.as_str(), namesake.participant.as_str()), ("name", "name (v)"));
    assert_eq!((namesake.number, namesake.key.as_str()), (1, "recordings/s/name/segment_000-2.wav"));
    assert_eq!(catalogue.segment_key(TENANT, namesake.key.as_str()).await?, Some(id(1)));
    assert_eq!(catalogue.segment_key("other", namesake.key.as_str()).await?, None);
    let foreign = catalogue.announce_segment("other", &segment("w", 0, 4)).await;
    assert_eq!(foreign, Err(CatalogueError::UnknownRecording { id: id(1) }));
    assert_eq!(catalogue.segments(TENANT, id(1)).await?, [again, namesake]);
    Ok(())
}

/// Nobody said its size: kept and announced again, it is the same by its file's name.
pub async fn a_segment_of_unknown_size_is_the_same_once_it_is_kept(catalogue: &dyn Catalogue) -> Outcome {
    catalogue.begin_segments(&recording(1, "s"), &of_session(1, "s")).await?;
    let unknown = |upload| NewSegment { size: None, ..segment("u", 0, upload) };
    let first = catalogue.announce_segment(TENANT, &unknown(1)).await?;
    let (id, key) = (first.id, first.key.clone());
    catalogue.stage(&object_of(id)).await?;
    let kept = KeptSegment { id, key, size: 44, crc32c: Some(7), logged: true };
    catalogue.keep_segment(TENANT, &kept).await?;
    let again = catalogue.announce_segment(TENANT, &unknown(2)).await?;
    assert_eq!((again.id, again.state, again.size), (id, SegmentState::Logged, Some(44)));
    let other = NewSegment { file_name: "other.wav".to_owned(), ..unknown(3) };
    assert_ne!(catalogue.announce_segment(TENANT, &other).await?.id, id);
    Ok(())
}

/// Segments that are there and that are not, of all recordings that are asked for; of any other its tracks.
pub async fn figures_are_of_segments_or_else_of_tracks(catalogue: &dyn Catalogue) -> Outcome {
    catalogue.begin_segments(&recording(1, "s"), &of_session(1, "s")).await?;
    catalogue.begin_segments(&recording(2, "t"), &of_session(2, "t")).await?;
    catalogue.begin(&recording(3, "call")).await?;
    catalogue.begin(&recording(4, "call")).await?;
    for name in ["track.wav", "other.wav"] {
        catalogue.stage(&NewObject { kind: ObjectKind::Master, ..object(3, name) }).await?;
    }
    let _ = catalogue.publish(&publication(3, &["track.wav", "other.wav"])).await?;
    let kept = catalogue.announce_segment(TENANT, &segment("u", 0, 1)).await?;
    let missing = catalogue.announce_segment(TENANT, &segment("v", 1, 2)).await?;
    catalogue.announce_segment(TENANT, &segment("w", 2, 3)).await?;
    catalogue.stage(&object_of(kept.id)).await?;
    let (id_of, key) = (kept.id, kept.key);
    let kept = KeptSegment { id: id_of, key, size: 44, crc32c: None, logged: true };
    catalogue.keep_segment(TENANT, &kept).await?;
    catalogue.stage(&NewObject { kind: ObjectKind::Master, ..object(1, "made-of-it.wav") }).await?;
    let _ = catalogue.publish(&publication(1, &["made-of-it.wav"])).await?;
    catalogue.miss_segments(TENANT, id(1), &[(missing.id, "why".to_owned())]).await?;

    let asked = [id(1), id(2), id(3), id(4), id(9)];
    let found = catalogue.file_figures(TENANT, &asked).await?;
    let told = |n| found.get(&id(n)).map(|of| (of.status, of.files, of.users, of.missing.len()));
    assert_eq!(told(1), Some((Some(SegmentsStatus::Live), 1, 1, 1)));
    assert_eq!(told(2), Some((Some(SegmentsStatus::Live), 0, 0, 0)));
    assert_eq!(told(3), Some((None, 2, 0, 0)));
    assert_eq!((told(4), told(9)), (None, None));
    assert_eq!((found[&id(1)].bytes, found[&id(1)].missing_until), (44, Micros(2)));
    assert_eq!(found[&id(1)].missing[0].reason.as_deref(), Some("why"));
    let objects = catalogue.objects(TENANT, id(3)).await?;
    assert_eq!(Some(found[&id(3)].bytes), objects.iter().map(|object| object.size).sum());
    assert!(catalogue.file_figures("other", &asked).await?.is_empty());
    assert!(catalogue.file_figures(TENANT, &[]).await?.is_empty());
    Ok(())
}

/// Its row and its object change together; what came is never missing.
pub async fn what_is_kept_of_a_segment_is_published_with_its_object(catalogue: &dyn Catalogue) -> Outcome {
    catalogue.begin_segments(&recording(1, "s"), &of_session(1, "s")).await?;
    let announced = catalogue.announce_segment(TENANT, &segment("u", 0, 1)).await?;
    let absent = catalogue.announce_segment(TENANT, &segment("u", 1, 2)).await?;
    let mut kept = KeptSegment {
        id: announced.id,
        key: announced.key.clone(),
        size: 44,
        crc32c: Some(7),
        logged: false,
    };
    let unstaged = catalogue.keep_segment(TENANT, &kept).await;
    assert_eq!(unstaged, Err(CatalogueError::NotStaged { key: announced.key.clone() }));
    catalogue.stage(&object_of(absent.id)).await?;
    let of_another = catalogue.keep_segment(TENANT, &kept).await;
    assert_eq!(
        of_another,
        Err(CatalogueError::NotStaged { key: announced.key.clone() }),
        "another segment has that key"
    );
    catalogue.mark(TENANT, &announced.key).await?;
    catalogue.forget(TENANT, &announced.key).await?;
    catalogue.stage(&object_of(announced.id)).await?;
    for logged in [false, true, false] {
        kept.logged = logged;
        catalogue.keep_segment(TENANT, &kept).await?;
    }
    let why = |id| (id, "it never came".to_owned());
    catalogue.miss_segments(TENANT, id(1), &[why(announced.id), why(absent.id)]).await?;
    let rows = catalogue.segments(TENANT, id(1)).await?;
    let states: Vec<_> = rows.iter().map(|row| (row.state, row.used, row.crc32c)).collect();
    assert_eq!(states, [(SegmentState::Logged, true, Some(7)), (SegmentState::Missing, false, None)]);
    let reasons: Vec<_> = rows.iter().map(|row| row.reason.as_deref()).collect();
    assert_eq!(reasons, [None, Some("it never came")]);
    let objects = catalogue.objects(TENANT, id(1)).await?;
    let told: Vec<_> = objects.iter().map(|object| (object.state, object.size, object.crc32c)).collect();
    assert_eq!(told, [(ObjectState::Published, Some(44), Some(7))]);
    Ok(())
}

/// Who was taken for dead and lives neither finalizes what is another's by now, nor says that a segment is logged.
pub async fn segments_are_taken_by_the_node_of_their_recording_alone(catalogue: &dyn Catalogue) -> Outcome {
    let (node, other, at) = (NodeId(Uuid::from_u128(1)), NodeId(Uuid::from_u128(2)), UtcMicros(START));
    catalogue.begin_segments(&recording(2, "t"), &of_session(2, "t")).await?;
    catalogue.start_node(node, at).await?;
    catalogue.begin_segments(&recording(1, "s"), &of_session(1, "s")).await?;
    let announced = catalogue.announce_segment(TENANT, &segment("u", 0, 1)).await?;
    catalogue.stage(&object_of(announced.id)).await?;
    let (id_of, key) = (announced.id, announced.key.clone());
    let kept = KeptSegment { id: id_of, key, size: 44, crc32c: Some(7), logged: true };
    catalogue.keep_segment(TENANT, &kept).await?;
    let open = catalogue.open_segment_recordings(TENANT).await?;
    assert_eq!(open, [of_session(1, "s"), of_session(2, "t")], "its own, and what is of no node");

    let later = UtcMicros(START + 1);
    assert!(catalogue.take_recording(TENANT, id(1), other, later).await?);
    assert_eq!(catalogue.open_segment_recordings(TENANT).await?, [of_session(2, "t")]);
    let anothers = Err(CatalogueError::TakenOver { id: id(1), by: other });
    assert_eq!(catalogue.keep_segment(TENANT, &kept).await, anothers);
    let status = SegmentsStatus::Finalized;
    assert_eq!(catalogue.advance_segments(TENANT, id(1), status, later).await, anothers);
    let row = catalogue.segment_recording(TENANT, id(1)).await?.ok_or("it is known")?;
    assert_eq!(row.status, SegmentsStatus::Live);
    let rows = catalogue.segments(TENANT, id(1)).await?;
    assert_eq!(rows[0].state, SegmentState::Stored, "the lost one's logs may not hold it");

    // Of which nothing was shipped: nobody takes it over.
    catalogue.begin_segments(&recording(3, "u"), &of_session(3, "u")).await?;
    let claims = catalogue.claim(other, later).await?;
    catalogue.settle(claims[0], Some(later)).await?;
    assert_eq!(catalogue.begin_segments(&recording(4, "u"), &of_session(4, "u")).await?, id(4));
    Ok(())
}
