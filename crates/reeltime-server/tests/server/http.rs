//! Who is let in, and what an error looks like.

use crate::process::Server;

const SOME_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const HANDSHAKE: &[&str] =
    &["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="];

#[test]
fn without_keys_a_foreign_host_or_origin_is_refused_everywhere() {
    let server = Server::start(&[]);
    let own = format!("Origin: http://{}", server.address);
    assert_eq!(server.send("GET /healthz", &[&own]).status, 200);
    assert_eq!(server.send("GET /healthz", &["Host: localhost"]).status, 200);
    for path in ["/healthz", "/", "/metrics", "/api/v1/recordings/", "/api/docs/", "/nothing"] {
        server.send(&format!("GET {path}"), &["Host: rebound.example"]).problem(403);
        server.send(&format!("GET {path}"), &["Origin: https://page.example"]).problem(403);
    }
    for path in ["/v1/ingest/pcm", "/ws/transcribe"] {
        for foreign in ["Host: rebound.example", "Origin: http://page.example", "Origin: null"] {
            let handshake = [HANDSHAKE, &[foreign]].concat();
            server.send(&format!("GET {path}"), &handshake).problem(403);
        }
    }
}

#[test]
fn with_keys_a_key_is_asked_for_and_probes_stay_open() {
    let server = Server::start_with(&[], &[("REELTIME_API_KEYS", "first,second")]);
    let refused = server.get("/api/v1/recordings");
    refused.problem(401);
    assert!(refused.header("www-authenticate").starts_with("Bearer"), "{refused:?}");
    for path in ["/api/v1/recordings", "/metrics", "/v1/ingest/pcm", "/nothing"] {
        server.send(&format!("GET {path}"), &["Authorization: Bearer third"]).problem(401);
    }
    for key in ["first", "second"] {
        let answer = server.send("GET /api/v1/recordings", &[&format!("Authorization: Bearer {key}")]);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/readyz").status, 200);
    assert_eq!(
        server.send("GET /healthz", &["Host: rec.example", "Origin: https://page.example"]).status,
        200
    );
}

#[test]
fn every_error_is_problem_details() {
    let server = Server::start(&[]);
    assert!(server.get("/nothing").problem(404).contains("/nothing"));
    assert_eq!(server.get(&format!("/api/v1/recordings/{SOME_ID}")).problem(404), "Recording not found");
    assert_eq!(server.get(&format!("/api/v1/recordings/{SOME_ID}/")).problem(404), "Recording not found");
    for id in ["..", "%2e%2e%2f", "%00", "%ff", "x", "%E2%80%AEx", "01890A5D", "%2Fetc%2Fpasswd"] {
        assert_eq!(
            server.get(&format!("/api/v1/recordings/{id}/stream")).problem(404),
            "Recording not found",
            "{id}"
        );
    }
    let wrong_method = server.send("PATCH /api/v1/recordings", &[]);
    wrong_method.problem(405);
    assert!(wrong_method.header("allow").contains("GET"), "{wrong_method:?}");
    for query in
        ["page=0", "page_size=0", "page_size=101", "page=x", "page=1&page=2", "state=nonsense", "page=-1"]
    {
        server.get(&format!("/api/v1/recordings?{query}")).problem(422);
    }
}

#[test]
fn a_list_begins_empty() {
    let server = Server::start(&[]);
    for path in ["/api/v1/recordings/?page=1&page_size=20", "/api/v1/recordings"] {
        let answer = server.get(path);
        let expected = serde_json::json!({"items": [], "page": 1, "page_size": 20, "total": 0});
        assert_eq!((answer.status, answer.json()), (200, expected));
    }
}

#[test]
fn what_is_no_websocket_handshake_is_told_so() {
    let server = Server::start(&[]);
    let plain = server.get("/v1/ingest/pcm");
    plain.problem(426);
    assert_eq!(plain.header("upgrade"), "websocket");
    let old = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 8"];
    let old = server.send("GET /ws/transcribe", &old);
    old.problem(426);
    assert_eq!(old.header("sec-websocket-version"), "13");
}

#[test]
fn probes_figures_and_docs_are_there() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/healthz").json()["status"], "alive");
    let ready = server.get("/readyz");
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &true.into()));
    let figures = String::from_utf8(server.get("/metrics").body).unwrap();
    for name in [
        "recording_jobs_enqueued_total 0",
        "recording_jobs_success_total 0",
        "recording_jobs_failed_total 0",
        "recording_queue_depth 0",
        "reeltime_sessions 0",
    ] {
        assert!(figures.contains(name), "{name} is missing in\n{figures}");
    }
}

#[test]
fn the_docs_page_fetches_nothing_from_elsewhere() {
    let server = Server::start(&[]);
    for file in ["", "swagger-initializer.js", "index.css"] {
        let answer = server.get(&format!("/api/docs/{file}"));
        assert_eq!(answer.status, 200, "{file}");
        let text = String::from_utf8(answer.body).unwrap();
        assert!(!text.contains("http://") && !text.contains("https://"), "{file}: {text}");
    }
    let script = server.get("/api/docs/swagger-ui-bundle.js");
    assert!(script.status == 200 && script.body.len() > 100_000);
}

#[test]
fn a_browser_gets_the_page_at_the_root_and_at_its_own_places() {
    let server = Server::start(&[]);
    for path in ["/", "/r/01890a5d-ac96-774b-bcce-b302099a8057?t=12.5", "/some/place"] {
        let page = server.send(&format!("GET {path}"), &["Accept: text/html,*/*;q=0.8"]);
        assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"), "{path}");
        assert_eq!(
            (page.header("cache-control"), page.header("x-content-type-options")),
            ("no-store", "nosniff")
        );
        assert!(page.header("content-security-policy").starts_with("default-src 'self'; "));
    }
    server.send("GET /some/place", &["Accept: */*"]).problem(404);
    server.send("GET /api/v1/nothing", &["Accept: text/html"]).problem(404);
}

#[test]
fn every_file_that_the_page_names_is_there_and_kept_for_good() {
    let server = Server::start_with(&[], &[("REELTIME_API_KEYS", "first")]);
    let page = String::from_utf8(server.get("/").body).unwrap();
    let names: Vec<_> = page.split("/assets/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(names.len() >= 3, "{page}");
    for name in names {
        let file = server.get(&format!("/assets/{name}"));
        assert_eq!(file.status, 200, "{name}");
        assert_eq!(file.header("cache-control"), "public, max-age=31536000, immutable", "{name}");
        let packed = server.send(&format!("GET /assets/{name}"), &["Accept-Encoding: gzip, br"]);
        assert_eq!(packed.header("content-encoding"), "gzip", "{name}");
        assert!(packed.body.starts_with(&[0x1f, 0x8b]), "{name}");
        let tag = format!("If-None-Match: {}", file.header("etag"));
        assert_eq!(server.send(&format!("GET /assets/{name}"), &[&tag]).status, 304, "{name}");
    }
    server.get("/assets/nothing.js").problem(404);
}
