//! A recording's life as its owner sees it: while it is made, when it is done, and when it is gone.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

use crate::process::{Answer, PATIENCE, Server, reeltime, run};

/// The n-th sample of a test signal: never twice the same in a row, so that a shift shows.
fn signal(samples: std::ops::Range<u32>) -> Vec<u8> {
    samples.flat_map(|n| ((n % 30_011) as i16).to_le_bytes()).collect()
}

/// A client of `/v1/ingest/pcm`.
struct Client {
    socket: WebSocket<TcpStream>,
    recording: String,
}

impl Client {
    fn connect(server: &Server, query: &str) -> Self {
        let url = format!("ws://{}/v1/ingest/pcm?{query}", server.address);
        let (mut socket, _) = client(url, server.connect()).unwrap();
        let hello: Value = serde_json::from_str(socket.read().unwrap().to_text().unwrap()).unwrap();
        let recording = hello["recording_id"].as_str().unwrap_or_else(|| panic!("{hello}")).to_owned();
        Self { socket, recording }
    }

    fn audio(&mut self, audio: Vec<u8>) {
        for frame in audio.chunks(640) {
            self.socket.send(Message::binary(frame.to_vec())).unwrap();
        }
    }

    /// Reads until a message of this type comes, and returns it.
    fn wait_for(&mut self, kind: &str, enough: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "no {kind} came");
            let message = self.socket.read().unwrap();
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text).unwrap();
            if message["type"] == kind && enough(&message) {
                return;
            }
        }
    }

    fn synced(&mut self, samples: u64) {
        self.wait_for("ack", |ack| ack["samples"].as_u64() >= Some(samples));
    }

    fn stop(mut self) -> String {
        self.socket.send(Message::text(r#"{"type":"stop"}"#)).unwrap();
        self.wait_for("stopped", |_| true);
        self.recording
    }
}

fn path(recording: &str, rest: &str) -> String {
    format!("/api/v1/recordings/{recording}{rest}")
}

fn wait_until_complete(server: &Server, recording: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = server.get(&path(recording, "")).json();
        if found["state"] == "complete" {
            return found;
        }
        assert!(Instant::now() < deadline, "never complete: {found}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn complete(server: &Server, samples: u32) -> String {
    let mut client = Client::connect(server, "ack=disk");
    client.audio(signal(0..samples));
    let recording = client.stop();
    wait_until_complete(server, &recording);
    recording
}

fn ranged(server: &Server, recording: &str, headers: &[&str]) -> Answer {
    server.send(&format!("GET {}", path(recording, "/stream")), headers)
}

#[test]
fn peaks_are_served_while_live_and_kept_once_complete() {
    let server = Server::start(&[]);
    let mut client = Client::connect(&server, "ack=disk");
    let peaks = |id: &str, rest: &str| server.get(&path(id, &format!("/peaks?samples_per_pixel=256{rest}")));
    peaks(&client.recording.clone(), "").problem(409);
    client.audio(signal(0..16_000));
    client.synced(16_000);
    let live = peaks(&client.recording.clone(), "&bits=16&format=dat");
    assert_eq!(
        (live.status, live.header("etag"), live.header("cache-control")),
        (200, "", "private, no-store")
    );
    let id = client.stop();
    wait_until_complete(&server, &id);
    let whole = peaks(&id, "&bits=16&format=dat");
    let extremes = |pixel: u16| [pixel * 256, (pixel * 256 + 255).min(15_999)];
    let expected: Vec<u8> = (0..63).flat_map(extremes).flat_map(u16::to_le_bytes).collect();
    assert_eq!(&whole.body[24..], expected);
    let tag = format!("If-None-Match: {}", whole.header("etag"));
    let again = format!("GET {}", path(&id, "/peaks?samples_per_pixel=256&bits=16&format=dat"));
    let again = server.send(&again, &[&tag]);
    assert_eq!((again.status, again.body.len()), (304, 0));
    peaks(&id, "&width=5").problem(422);
}

#[test]
fn a_live_recording_is_served_as_far_as_it_is() {
    let server = Server::start(&[]);
    let mut client = Client::connect(&server, "ack=disk&call=c-1&participant=ann");
    client.audio(signal(0..16_000));
    client.synced(16_000);
    let id = client.recording.clone();

    let snapshot = ranged(&server, &id, &[]);
    assert_eq!((snapshot.status, &snapshot.body[44..]), (200, &signal(0..16_000)[..]));
    assert_eq!((snapshot.header("etag"), snapshot.header("cache-control")), ("", "private, no-store"));
    let part = ranged(&server, &id, &["Range: bytes=44-47", "If-None-Match: *"]);
    assert_eq!((part.status, part.header("content-range")), (206, "bytes 44-47/*"));
    assert_eq!(part.body, signal(0..2));
    let beyond = ranged(&server, &id, &["Range: bytes=32044-"]);
    beyond.problem(416);
    assert_eq!(beyond.header("content-range"), "bytes */32044");

    let found = server.get(&path(&id, "")).json();
    assert_eq!((&found["state"], &found["call_id"]), (&json!("active"), &json!("c-1")));
    assert_eq!((&found["participants"], &found["tracks"][0]["samples"]), (&json!(["ann"]), &json!(16_000)));
    assert_eq!(server.get("/readyz").json()["sessions"], 1);
    assert_eq!(server.get("/api/v1/recordings?state=active&call_id=c-1").json()["total"], 1);
    assert_eq!(server.get("/api/v1/recordings?state=complete").json()["total"], 0);
}

#[test]
fn who_follows_a_live_recording_hears_it_to_its_end() {
    let server = Server::start(&[]);
    let mut client = Client::connect(&server, "ack=disk");
    client.audio(signal(0..8_000));
    client.synced(8_000);
    let mut follower = server.connect();
    let target = path(&client.recording, "/stream?follow=1");
    let host = server.address;
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nRange: bytes=5-9\r\nConnection: close\r\n\r\n");
    follower.write_all(request.as_bytes()).unwrap();
    let mut heard = vec![0; 1];
    // The answer begins while the recording is live.
    follower.read_exact(&mut heard).unwrap();
    client.audio(signal(8_000..16_000));
    client.stop();
    follower.read_to_end(&mut heard).unwrap();
    let heard = Answer::parse(&heard);
    assert_eq!((heard.status, heard.header("content-length")), (200, ""), "a range cannot be cut out of it");
    assert_eq!(heard.header("transfer-encoding"), "chunked");
    assert_eq!(unchunked(&heard.body)[44..], signal(0..16_000));
}

/// The body behind `Transfer-Encoding: chunked` (RFC 9112 §7.1); it must have come to its end.
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|two| two == b"\r\n");
        let end = end.unwrap_or_else(|| panic!("cut off after {} bytes", whole.len()));
        let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 4 + size..];
    }
}

#[test]
fn a_complete_recording_is_served_bit_for_bit_with_its_validators() {
    let server = Server::start(&[]);
    let id = complete(&server, 8_000);
    let whole = ranged(&server, &id, &[]);
    assert_eq!((whole.status, &whole.body[44..]), (200, &signal(0..8_000)[..]));
    assert_eq!(whole.header("content-type"), "audio/wav");
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.header("content-disposition"), format!("inline; filename=recording_{id}.wav"));
    let etag = whole.header("etag");
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");

    let part = ranged(&server, &id, &["Range: bytes=-4", &format!("If-Range: {etag}")]);
    assert_eq!((part.status, part.header("content-range")), (206, "bytes 16040-16043/16044"));
    assert_eq!(part.body, signal(7_998..8_000));
    assert_eq!(ranged(&server, &id, &["Range: bytes=-4", "If-Range: \"other\""]).status, 200);
    assert_eq!(ranged(&server, &id, &[&format!("If-None-Match: {etag}")]).status, 304);
    ranged(&server, &id, &["Range: bytes=16044-"]).problem(416);

    let head = server.send(&format!("HEAD {}", path(&id, "/stream")), &["Range: bytes=0-9"]);
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (206, "10", 0));
    assert_eq!(server.get(&path(&id, "/manifest")).json()["id"], json!(id));
    let figures = String::from_utf8(server.get("/metrics").body).unwrap();
    for figure in
        ["recording_jobs_enqueued_total 1", "recording_jobs_success_total 1", "recording_queue_depth 0"]
    {
        assert!(figures.contains(figure), "{figure} is missing in\n{figures}");
    }
    assert!(server.get(&path(&id, "/stream?format=tape")).problem(406).contains("wav"));
    server.get(&path(&id, "/stream?participant=nobody")).problem(422);
}

#[test]
fn what_is_made_on_demand_has_a_length_and_ranges_once_it_was_made() {
    let server = Server::start(&[]);
    let id = complete(&server, 8_000);
    let asked = path(&id, "/stream?format=ogg");
    let request = format!("GET {asked}");
    let first = server.get(&asked);
    assert_eq!((first.status, first.header("content-type")), (200, "audio/ogg"));
    let made = unchunked(&first.body);
    assert!(made.starts_with(b"OggS"));
    let second = server.get(&asked);
    assert_eq!(second.header("content-length"), second.body.len().to_string());
    assert!(second.body == made, "made once, kept");
    let etag = second.header("etag");
    assert_eq!(first.header("etag"), format!("W/{etag}"), "the head of other formats may differ");
    let part = server.send(&request, &["Range: bytes=100-199"]);
    assert_eq!((part.status, &part.body[..]), (206, &second.body[100..200]));
    assert_eq!(server.send(&request, &[&format!("If-None-Match: {etag}")]).status, 304);
}

#[test]
fn a_link_opens_one_recording_without_a_key() {
    let server =
        Server::start_with(&["--public-url", "https://rec.example/"], &[("REELTIME_API_KEYS", "key")]);
    let key = "Authorization: Bearer key";
    let url = format!("ws://{}/v1/ingest/pcm", server.address);
    let mut request =
        tokio_tungstenite::tungstenite::client::IntoClientRequest::into_client_request(url).unwrap();
    request.headers_mut().insert("authorization", "Bearer key".parse().unwrap());
    let (mut socket, _) = client(request, server.connect()).unwrap();
    let hello: Value = serde_json::from_str(socket.read().unwrap().to_text().unwrap()).unwrap();
    let id = hello["recording_id"].as_str().unwrap();
    socket.send(Message::binary(signal(0..320))).unwrap();
    while server.send(&format!("GET {}", path(id, "/stream")), &[key]).status != 200 {
        std::thread::sleep(Duration::from_millis(10));
    }

    let link = server.send(&format!("GET {}", path(id, "/url?expires_in=60")), &[key]).json();
    assert_eq!((&link["expires_in"], &link["recording_id"]), (&json!(60), &json!(id)));
    assert_eq!(link["mime_type"], "audio/wav");
    let target = link["url"].as_str().unwrap().strip_prefix("https://rec.example").unwrap();
    assert_eq!(server.get(target).status, 200);
    assert_eq!(server.send(&format!("HEAD {target}"), &[]).status, 200);
    server.send(&format!("DELETE {}", target.replace("/stream", "")), &[]).problem(403);
    server.get(&target.replace("expires=", "expires=9")).problem(403);
    server.get(&format!("{target}&format=ogg")).problem(403);
    for wrong in ["expires_in=0", "expires_in=604801", "expires_in=x"] {
        server.send(&format!("GET {}", path(id, &format!("/url?{wrong}"))), &[key]).problem(422);
    }
}

#[test]
fn its_owner_pauses_resumes_and_stops_a_recording() {
    let server = Server::start(&[]);
    let mut client = Client::connect(&server, "ack=disk&clock=samples");
    let id = client.recording.clone();
    let post = |verb: &str| server.send(&format!("POST {}", path(&id, verb)), &["Content-Length: 0"]);
    client.audio(signal(0..3_200));
    client.synced(3_200);
    assert_eq!(post("/pause").status, 204);
    client.audio(signal(3_200..6_400));
    client.synced(6_400);
    assert_eq!(post("/resume").status, 204);
    client.audio(signal(6_400..9_600));
    client.synced(9_600);
    assert_eq!(post("/stop/").status, 204);
    client.wait_for("stopped", |stopped| stopped["samples"] == 9_600);
    let found = wait_until_complete(&server, &id);
    assert_eq!(found["tracks"][0]["pauses"][0]["samples"], 3_200, "{found}");
    let played = ranged(&server, &id, &[]).body;
    assert_eq!(played[44..6_444], signal(0..3_200));
    assert!(played[6_444..12_844].iter().all(|byte| *byte == 0), "a pause is silence");
    post("/pause").problem(409);
    server.send(&format!("POST {}", path("01890a5d-ac96-774b-bcce-b302099a8057", "/stop")), &[]).problem(404);
}

#[test]
fn a_deleted_recording_is_gone_and_may_be_deleted_again() {
    let server = Server::start(&[]);
    let id = complete(&server, 320);
    for _ in 0..2 {
        let deleted = server.send(&format!("DELETE {}", path(&id, "/")), &[]);
        assert_eq!((deleted.status, deleted.body.len()), (204, 0));
        for rest in ["", "/stream", "/url", "/manifest"] {
            assert_eq!(server.get(&path(&id, rest)).problem(404), "Recording not found");
        }
    }
    assert_eq!(server.get("/api/v1/recordings").json()["total"], 0);
}

#[test]
fn what_a_killed_server_left_is_shown_recovered_and_exported() {
    let mut server = Server::start(&[]);
    let mut client = Client::connect(&server, "ack=disk");
    client.audio(signal(0..16_000));
    client.synced(16_000);
    let id = client.recording.clone();
    server.kill();

    let found = recover(&server, &["--dry-run"]);
    assert_eq!(found["tracks"][0]["recording"], json!(id));
    assert_eq!(
        (&found["tracks"][0]["samples"], &found["tracks"][0]["closed"]),
        (&json!(16_000), &Value::Null)
    );
    assert_eq!(recover(&server, &["--dry-run"]), found, "a dry run changes nothing");
    assert_eq!(recover(&server, &[]), found);
    assert_eq!(recover(&server, &["--dry-run"])["tracks"], json!([]));

    let (code, _, stderr) = run(&mut reeltime(&server.folder, &["export", &id, "-o", "x.wav"]));
    assert_eq!(code, Some(0), "{stderr}");
    let exported = std::fs::read(server.folder.path().join("x.wav")).unwrap();
    assert_eq!(exported[44..], signal(0..16_000));
    let piped = reeltime(&server.folder, &["export", &id, "-o", "-"]).output().unwrap();
    assert_eq!(piped.stdout, exported);
}

fn recover(server: &Server, arguments: &[&str]) -> Value {
    let arguments = [&["recover", "--json"], arguments].concat();
    let (code, stdout, stderr) = run(&mut reeltime(&server.folder, &arguments));
    assert_eq!(code, Some(0), "{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

#[test]
fn sigterm_closes_live_sessions_and_refuses_new_ones() {
    let mut server = Server::start(&["--drain-timeout", "200ms"]);
    let mut client = Client::connect(&server, "ack=disk");
    client.audio(signal(0..8_000));
    let (status, took) = server.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
    let mut acked = 0;
    let code = loop {
        match client.socket.read() {
            Ok(Message::Text(text)) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                acked = message["samples"].as_u64().unwrap_or(acked);
            }
            Ok(Message::Close(Some(frame))) => break u16::from(frame.code),
            Ok(_) => {}
            Err(error) => panic!("closed without a word: {error}"),
        }
    };
    assert_eq!((code, acked), (1012, 8_000));
}

#[test]
fn a_transcribe_socket_that_does_not_record_lets_its_clients_talk() {
    let server = Server::start_with(&[], &[("ENABLE_AUDIO_RECORDING", "false")]);
    let url = format!("ws://{}/ws/transcribe", server.address);
    let (mut socket, _) = client(url, server.connect()).unwrap();
    let hello: Value = serde_json::from_str(socket.read().unwrap().to_text().unwrap()).unwrap();
    assert_eq!(hello["type"], "session");
    socket.send(Message::binary(signal(0..16_000))).unwrap();
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    assert_eq!(server.get("/api/v1/recordings").json()["total"], 0);
    assert!(!server.folder.path().join("recordings").exists());
}
