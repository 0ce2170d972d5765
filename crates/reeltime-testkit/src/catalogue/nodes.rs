//! Nodes: leases, and taking over.

use std::collections::BTreeSet;

use reeltime::catalogue::{Catalogue, CatalogueError, Claim, ObjectState, RecordingState, Tenure};
use reeltime_core::id::NodeId;
use reeltime_core::time::UtcMicros;
use uuid::Uuid;

use super::Outcome;
use super::build::{START, TENANT, get, id, object, publication, publish, recording};

/// `n` seconds after the start.
fn at(n: i64) -> UtcMicros {
    UtcMicros(START + n * 1_000_000)
}

fn node(n: u128) -> NodeId {
    NodeId(Uuid::from_u128(n))
}

/// Two processes of one node, or a node and who took it for dead, never have the same epoch.
pub async fn a_nodes_epoch_grows_at_each_start_and_when_it_is_lost(catalogue: &dyn Catalogue) -> Outcome {
    assert_eq!(catalogue.node(), None);
    assert_eq!(catalogue.start_node(node(1), at(10)).await?, Tenure { epoch: 1, after: 0 });
    assert_eq!(catalogue.node(), Some(node(1)));
    assert_eq!(catalogue.start_node(node(1), at(10)).await?, Tenure { epoch: 2, after: 0 });
    assert!(!catalogue.renew_node(node(1), 1, at(20)).await?, "an earlier process of it");
    assert!(catalogue.renew_node(node(1), 2, at(20)).await?);
    assert_eq!(catalogue.claim(node(2), at(20)).await?, [], "its lease runs");
    let tenure = Tenure { epoch: 2, after: 0 };
    assert_eq!(catalogue.claim(node(2), at(21)).await?, [Claim { node: node(1), tenure }]);
    assert!(!catalogue.renew_node(node(1), 2, at(30)).await?, "it was taken over");
    assert_eq!(catalogue.start_node(node(1), at(30)).await?, Tenure { epoch: 4, after: 2 });
    assert_eq!(catalogue.claim(node(2), at(22)).await?.len(), 1, "until it is settled");
    assert!(catalogue.has_claims(node(2)).await? && !catalogue.has_claims(node(1)).await?);
    catalogue.settle(Claim { node: node(1), tenure }, None).await?;
    assert_eq!(catalogue.claim(node(2), at(22)).await?, []);
    assert!(!catalogue.has_claims(node(2)).await?);
    Ok(())
}

/// However many look at the same moment.
pub async fn exactly_one_takes_over_from_a_lost_node(catalogue: &dyn Catalogue) -> Outcome {
    for n in 1..=5 {
        catalogue.start_node(node(n), at(10)).await?;
    }
    let looking = (11..=20).map(|by| catalogue.claim(node(by), at(11)));
    let claims: Result<Vec<_>, _> = futures_util::future::join_all(looking).await.into_iter().collect();
    let claims = claims?.concat();
    let lost: BTreeSet<_> = claims.iter().map(|claim| claim.node).collect();
    assert_eq!((claims.len(), lost), (5, (1..=5).map(node).collect()));
    Ok(())
}

/// A taker may be lost as well.
pub async fn who_takes_over_from_a_taker_gets_what_it_had_taken(catalogue: &dyn Catalogue) -> Outcome {
    catalogue.start_node(node(1), at(10)).await?;
    catalogue.start_node(node(2), at(100)).await?;
    let first = catalogue.claim(node(2), at(11)).await?;
    assert_eq!(catalogue.claim(node(3), at(50)).await?, [], "the taker lives");
    let all = catalogue.claim(node(3), at(101)).await?;
    assert_eq!(all.iter().map(|claim| claim.node).collect::<Vec<_>>(), [node(1), node(2)]);
    assert!(all.contains(&first[0]));
    // Known from its bundles alone.
    assert!(!catalogue.knows_node(node(9)).await?);
    assert!(catalogue.enter_node(node(9), 7).await?);
    assert!(catalogue.knows_node(node(9)).await?);
    assert!(!catalogue.enter_node(node(9), 8).await?);
    let tenure = Tenure { epoch: 7, after: 0 };
    assert!(catalogue.claim(node(3), at(102)).await?.contains(&Claim { node: node(9), tenure }));
    Ok(())
}

/// Who was taken for dead and lives neither publishes nor sweeps what is another's by now.
pub async fn what_another_node_has_taken_is_not_finished_here(catalogue: &dyn Catalogue) -> Outcome {
    catalogue.start_node(node(1), at(10)).await?;
    catalogue.begin(&recording(1, "call")).await?;
    catalogue.stage(&object(1, "a.wav")).await?;
    assert_eq!(catalogue.owner(TENANT, id(1)).await?, Some(node(1)));
    assert_eq!(catalogue.owner("other", id(1)).await?, None);
    assert!(!catalogue.take_recording(TENANT, id(1), node(2), at(10)).await?, "its node has its lease");
    assert!(
        !catalogue.take_recording("other", id(1), node(2), at(9)).await? || get(catalogue, 1).await.is_ok()
    );
    assert!(catalogue.take_recording(TENANT, id(1), node(2), at(11)).await?);
    assert!(catalogue.take_recording(TENANT, id(1), node(2), at(11)).await?, "it is its own by now");
    assert!(catalogue.take_recording(TENANT, id(99), node(2), at(11)).await?, "nobody else knows of it");

    let anothers = CatalogueError::TakenOver { id: id(1), by: node(2) };
    assert_eq!(catalogue.stage(&object(1, "b.wav")).await, Err(anothers.clone()));
    assert_eq!(catalogue.publish(&publication(1, &["a.wav"])).await.map(|_| ()), Err(anothers.clone()));
    assert_eq!(catalogue.published(TENANT, id(1)).await.map(|_| ()), Err(anothers));
    for state in [ObjectState::Staged, ObjectState::MarkedForDeletion] {
        assert_eq!(catalogue.objects_in(TENANT, state, at(99), 9).await?, []);
    }
    let objects = catalogue.objects(TENANT, id(1)).await?;
    assert_eq!(objects[0].state, ObjectState::MarkedForDeletion, "the lost one's keys are not used again");

    // What is finished, or deleted, is nobody's to take.
    publish(catalogue, 2, "call", "c.wav").await?;
    catalogue.begin(&recording(3, "call")).await?;
    let _ = catalogue.delete(TENANT, id(3)).await?;
    for n in [2, 3] {
        assert!(!catalogue.take_recording(TENANT, id(n), node(2), at(11)).await?);
    }
    Ok(())
}

/// A recording of which no bundle has anything is not live for ever.
pub async fn what_was_never_shipped_fails_with_its_node(catalogue: &dyn Catalogue) -> Outcome {
    catalogue.start_node(node(1), at(10)).await?;
    catalogue.begin(&recording(1, "call")).await?;
    let claims = catalogue.claim(node(2), at(11)).await?;
    catalogue.settle(claims[0], Some(at(12))).await?;
    let failed = get(catalogue, 1).await?;
    assert_eq!((failed.state, failed.ended_at), (RecordingState::Failed, Some(at(12))));
    assert!(failed.reason.is_some_and(|reason| reason.contains("lost")));

    // Unless the node is back, with its disk.
    catalogue.start_node(node(1), at(20)).await?;
    catalogue.begin(&recording(2, "call")).await?;
    let claims = catalogue.claim(node(2), at(21)).await?;
    catalogue.start_node(node(1), at(40)).await?;
    catalogue.settle(claims[0], Some(at(22))).await?;
    assert_eq!(get(catalogue, 2).await?.state, RecordingState::Starting);
    Ok(())
}
