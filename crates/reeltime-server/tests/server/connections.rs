//! Connections that mean no good, and the end.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::process::{Answer, Server};

const HALF: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";

fn half_open(server: &Server, count: usize) -> Vec<TcpStream> {
    let open = || {
        let mut stream = server.connect();
        stream.write_all(HALF).unwrap();
        stream
    };
    (0..count).map(|_| open()).collect()
}

/// Whether the server closed it without an answer.
fn is_closed(stream: &mut TcpStream) -> bool {
    !matches!(stream.read(&mut [0; 1]), Ok(1..))
}

#[test]
fn a_flood_of_half_open_connections_keeps_nobody_out() {
    let server = Server::start(&["--max-handshakes", "100", "--header-timeout", "1h"]);
    let mut flood = half_open(&server, 300);
    assert_eq!(server.get("/healthz").status, 200);
    for oldest in flood.iter_mut().take(200) {
        assert!(is_closed(oldest), "the oldest make room");
    }
    let mut newest = flood.pop().unwrap();
    newest.write_all(b"x\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(Answer::read(&mut newest).status, 200, "one that was only slow is still served");
}

#[test]
fn a_thousand_half_open_connections_cost_little_memory() {
    let server = Server::start(&["--header-timeout", "1h"]);
    let before = server.memory();
    let flood = half_open(&server, 1_000);
    assert_eq!(server.get("/healthz").status, 200);
    let each = server.memory().saturating_sub(before) / flood.len() as u64;
    // The bar is 200 MB for 10,000, so 20 KB each; debug builds may take twice that.
    assert!(each <= 40_000, "{each} bytes a connection");
}

#[test]
fn a_head_that_does_not_end_is_cut_off_at_the_deadline() {
    let server = Server::start(&["--header-timeout", "100ms"]);
    let mut silent = server.connect();
    let mut half = half_open(&server, 1).remove(0);
    assert!(is_closed(&mut silent) && is_closed(&mut half));
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let server = Server::start(&[]);
    let mut stream = server.connect();
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "a".repeat(1 << 20));
    // The server may close before all of it is sent.
    let _ = stream.write_all(long.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn above_the_cap_a_connection_is_told_so() {
    let server = Server::start(&["--max-connections", "2", "--header-timeout", "1h"]);
    let held = half_open(&server, 2);
    let refused = Answer::read(&mut server.connect());
    refused.problem(503);
    assert_eq!(refused.header("retry-after"), "1");
    drop(held);
    let mut served = false;
    for _ in 0..1_000 {
        // The places are free once the server has noticed that the two are gone.
        let mut stream = server.connect();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        served = answer.starts_with("HTTP/1.1 200");
        if served {
            break;
        }
    }
    assert!(served, "a free place is given out again");
}

#[test]
fn a_connection_serves_many_requests() {
    let server = Server::start(&[]);
    let mut stream = server.connect();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    let statuses: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "404", "200"]);
}

#[test]
fn sigterm_ends_it_with_0_within_5_seconds() {
    let mut server = Server::start(&[]);
    let _half = half_open(&server, 1);
    let (status, took) = server.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(took.as_secs_f64() < 5.0, "{took:?}");
}
