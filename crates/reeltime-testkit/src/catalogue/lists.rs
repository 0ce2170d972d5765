//! Lists: their order, their filters, and what is found in them.

use reeltime::catalogue::{Catalogue, Filter, NewRecording, Page, Publication, RecordingState};

use super::Outcome;
use super::build::{TENANT, id, object, publication, publish, recording};

/// By creation, then id; a page beyond the end is empty and still knows the total.
pub async fn lists_are_newest_first_in_pages_with_a_total(catalogue: &dyn Catalogue) -> Outcome {
    for n in [3, 1, 5, 2, 4] {
        catalogue.begin(&recording(n, "call")).await?;
    }
    let same_time = NewRecording { id: id(6), ..recording(5, "call") };
    catalogue.begin(&same_time).await?;
    catalogue.delete(TENANT, id(2)).await?;
    let pages: [(u32, &[u128]); 5] = [(0, &[6, 5]), (1, &[6, 5]), (2, &[4, 3]), (3, &[1]), (4, &[])];
    for (number, expected) in pages {
        let listing = catalogue.list(TENANT, &Filter::default(), Page { number, size: 2 }).await?;
        let ids: Vec<_> = listing.items.iter().map(|item| item.id).collect();
        assert_eq!(ids, expected.iter().copied().map(id).collect::<Vec<_>>(), "page {number}");
        assert_eq!(listing.total, 5, "page {number}");
    }
    let far = catalogue.list(TENANT, &Filter::default(), Page { number: u32::MAX, size: u32::MAX }).await?;
    assert_eq!((far.items, far.total), (Vec::new(), 5));
    Ok(())
}

/// By call, by states, by both; lists leave the manifest out.
pub async fn lists_can_be_filtered(catalogue: &dyn Catalogue) -> Outcome {
    publish(catalogue, 1, "one", "1.wav").await?;
    publish(catalogue, 2, "two", "2.wav").await?;
    catalogue.begin(&recording(3, "one")).await?;
    let one = Some("one".to_owned());
    let (live, complete) = (RecordingState::Starting, RecordingState::Complete);
    let cases: [(Filter, &[u128]); 6] = [
        (Filter { call: one.clone(), ..Filter::default() }, &[3, 1]),
        (Filter { call: None, states: vec![complete], ..Filter::default() }, &[2, 1]),
        (Filter { call: one.clone(), states: vec![complete], ..Filter::default() }, &[1]),
        (Filter { call: None, states: vec![live, complete], ..Filter::default() }, &[3, 2, 1]),
        (Filter { call: one, states: vec![RecordingState::Failed], ..Filter::default() }, &[]),
        (Filter { call: Some("' OR 1=1 --".to_owned()), ..Filter::default() }, &[]),
    ];
    for (filter, expected) in cases {
        let listing = catalogue.list(TENANT, &filter, Page { number: 1, size: 10 }).await?;
        let ids: Vec<_> = listing.items.iter().map(|item| item.id).collect();
        assert_eq!(ids, expected.iter().copied().map(id).collect::<Vec<_>>(), "{filter:?}");
        assert_eq!(listing.total, expected.len() as u64);
        assert!(listing.items.iter().all(|item| item.manifest.is_none()));
    }
    Ok(())
}

/// By any part of the call's name or of a participant's, taken literally; and what the caller knows of besides.
pub async fn lists_can_be_searched_by_call_and_participant(catalogue: &dyn Catalogue) -> Outcome {
    for (n, call, names) in [(1, "Support 100%", ["anna", "ben"]), (2, "standup_1", ["ben", r#"ö "\d" é"#])]
    {
        let name = format!("{n}.wav");
        catalogue.begin(&recording(n, call)).await?;
        catalogue.stage(&object(n, &name)).await?;
        let tracks = names.map(|name| serde_json::json!({ "participant": name }));
        let manifest = serde_json::json!({ "tracks": tracks }).to_string();
        let publication = Publication { manifest, ..publication(n, &[&name]) };
        assert_eq!(catalogue.publish(&publication).await?.recording(), id(n));
    }
    catalogue.begin(&recording(3, "live")).await?;
    let cases: [(&str, &[u128]); 9] = [
        (r#"ö "\D""#, &[2]),
        ("sup", &[1]),
        ("ANNA", &[1]),
        ("ben", &[2, 1]),
        ("100%", &[1]),
        ("p%1", &[]),
        ("standup_", &[2]),
        ("support_", &[]),
        ("participant", &[]),
    ];
    for (text, expected) in cases {
        let filter = Filter { text: Some(text.to_owned()), ..Filter::default() };
        let listing = catalogue.list(TENANT, &filter, Page { number: 1, size: 10 }).await?;
        let ids: Vec<_> = listing.items.iter().map(|item| item.id).collect();
        assert_eq!(ids, expected.iter().copied().map(id).collect::<Vec<_>>(), "{text}");
        assert_eq!(listing.total, expected.len() as u64, "{text}");
    }
    let filter = Filter { text: Some("anna".to_owned()), also: vec![id(3)], ..Filter::default() };
    let found = catalogue.list(TENANT, &filter, Page { number: 1, size: 10 }).await?.items;
    let names: Vec<_> = found.iter().map(|item| item.names.join(" ")).collect();
    assert_eq!(names, ["", "anna ben"], "the live one and the one of that name");
    Ok(())
}
