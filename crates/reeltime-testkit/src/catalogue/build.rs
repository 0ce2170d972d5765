//! What the suite enters, and short ways to look at it.

use std::error::Error;

use reeltime::catalogue::{
    Catalogue, Filter, NewObject, NewRecording, ObjectKind, ObjectState, Page, Publication, Recording,
    RecordingState, StateChange, StoredObject, Upload, UploadedPart,
};
use reeltime::store::{PartTag, UploadId};
use reeltime_core::id::RecordingId;
use reeltime_core::keys::ObjectKey;
use reeltime_core::time::{Micros, UtcMicros};
use uuid::Uuid;

pub(super) const TENANT: &str = "default";
pub(super) const START: i64 = 1_735_787_045_000_000;

pub(super) fn id(n: u128) -> RecordingId {
    RecordingId(Uuid::from_u128(n))
}

pub(super) fn key(text: &str) -> ObjectKey {
    match ObjectKey::new(text) {
        Ok(key) => key,
        Err(error) => panic!("{text:?} is no key: {error}"),
    }
}

/// Recording `n` of `call`, created `n` seconds after the start.
pub(super) fn recording(n: u128, call: &str) -> NewRecording {
    let created_at = UtcMicros(START + n as i64 * 1_000_000);
    NewRecording { id: id(n), tenant: TENANT.to_owned(), call: call.to_owned(), created_at }
}

pub(super) fn object(n: u128, name: &str) -> NewObject {
    NewObject {
        tenant: TENANT.to_owned(),
        recording: id(n),
        track: None,
        kind: ObjectKind::Mix,
        key: key(name),
        mime_type: "audio/wav".to_owned(),
        created_at: UtcMicros(START),
    }
}

/// An upload to an object of recording `n`.
pub(super) fn upload(n: u128, name: &str, age: i64) -> Upload {
    let (tenant, begun_at) = (TENANT.to_owned(), UtcMicros(START + age));
    Upload { tenant, recording: id(n), key: key(name), id: UploadId(format!("to {name}")), begun_at }
}

pub(super) fn part(tag: &str, crc32c: u32) -> UploadedPart {
    UploadedPart { tag: PartTag(tag.to_owned()), crc32c, size: 5 << 20 }
}

pub(super) fn publication(n: u128, names: &[&str]) -> Publication {
    let stored = |name: &&str| StoredObject { key: key(name), size: 64_044, crc32c: Some(u32::MAX) };
    Publication {
        tenant: TENANT.to_owned(),
        recording: id(n),
        state: RecordingState::Complete,
        reason: None,
        started_at: Some(UtcMicros(START + 1)),
        ended_at: UtcMicros(START + 2_000_001),
        duration: Micros(2_000_000),
        participants: 3,
        manifest: r#"{"version":1}"#.to_owned(),
        objects: names.iter().map(stored).collect(),
        main: names.first().map(|name| key(name)),
        url: Some(format!("/recordings/{n}")),
    }
}

/// Enters, stages and publishes recording `n` of `call` with one object.
pub(super) async fn publish(
    catalogue: &dyn Catalogue,
    n: u128,
    call: &str,
    name: &str,
) -> Result<(), Box<dyn Error>> {
    catalogue.begin(&recording(n, call)).await?;
    catalogue.stage(&object(n, name)).await?;
    assert_eq!(catalogue.publish(&publication(n, &[name])).await?.recording(), id(n));
    Ok(())
}

pub(super) async fn get(catalogue: &dyn Catalogue, n: u128) -> Result<Recording, Box<dyn Error>> {
    Ok(catalogue.get(TENANT, id(n)).await?.ok_or("the recording is there")?)
}

pub(super) async fn states(catalogue: &dyn Catalogue, n: u128) -> Result<Vec<ObjectState>, Box<dyn Error>> {
    Ok(catalogue.objects(TENANT, id(n)).await?.into_iter().map(|object| object.state).collect())
}

pub(super) fn step(state: RecordingState, after: i64) -> StateChange {
    StateChange { state, at: UtcMicros(START + after), reason: None }
}

pub(super) async fn all(catalogue: &dyn Catalogue, tenant: &str) -> Result<Vec<RecordingId>, Box<dyn Error>> {
    let listing = catalogue.list(tenant, &Filter::default(), Page { number: 1, size: 100 }).await?;
    Ok(listing.items.into_iter().map(|item| item.id).collect())
}
