//! The OpenAPI document is a promise: it changes only on purpose.

use std::path::Path;

use crate::process::Server;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/server/openapi.json");

#[test]
fn the_openapi_document_is_the_one_that_was_agreed() {
    let served = Server::start(&[]).get("/api/openapi.json").json();
    let served = format!("{served:#}\n");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &served).unwrap();
    }
    let golden = std::fs::read_to_string(Path::new(GOLDEN)).unwrap_or_default();
    assert!(
        served == golden,
        "the API is no longer what {GOLDEN} says. If that is meant, update it and read the difference:\n\
         UPDATE_GOLDEN=1 cargo test -p reeltime-server openapi\n{}",
        first_difference(&served, &golden)
    );
}

fn first_difference(served: &str, golden: &str) -> String {
    let pairs = served.lines().zip(golden.lines()).enumerate();
    let differing = pairs.filter(|(_, (served, golden))| served != golden);
    let shown =
        differing.take(1).map(|(n, (served, golden))| format!("line {}: {served}, not {golden}", n + 1));
    shown.last().unwrap_or_else(|| "one is longer than the other".to_owned())
}
