//! Figures: over TCP, over a socket, as a file; and askers who mean harm.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at a surprise, and says what it skips"
)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use common::{MIB, RawClient, Serving, until};
use vidmm_host::MetricsAddress;
use vidmm_wire::{Join, ToClient};

/// Everything that comes back for a request; none: the connection was closed without a word.
fn asked(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    let _ = stream.read_to_string(&mut reply);
    reply
}

/// The value of a figure without labels.
fn value(text: &str, name: &str) -> Option<f64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line?.parse().ok()
}

#[test]
fn figures_are_served_and_add_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.sock");
    let file = dir.path().join("vidmm.prom");
    let mut serving = Serving::start_with(dir.path(), 64 * MIB, |options| {
        options.metrics = Some(MetricsAddress::Unix(path.clone()));
        options.metrics_textfile = Some(file.clone());
    });
    let client = RawClient::connect(&serving.socket).unwrap();
    client.join(Join::default()).unwrap();
    client.ask(1, 8 * MIB).unwrap();
    let ToClient::Credit(credit) = client.next() else {
        panic!("no credit");
    };
    client.ask(2, u64::MAX).unwrap();
    assert!(matches!(client.next(), ToClient::NoCredit(_)));
    let stream = UnixStream::connect(&path).unwrap();
    let text = asked(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(text.starts_with("HTTP/1.0 200 OK\r\n"), "{text}");
    #[expect(clippy::cast_precision_loss, reason = "far below the limit")]
    let granted = credit.granted_bytes as f64;
    assert_eq!(value(&text, "vidmm_charged_bytes"), Some(granted));
    assert_eq!(value(&text, "vidmm_granted_bytes_total"), Some(granted));
    assert_eq!(value(&text, "vidmm_clients"), Some(1.0));
    assert_eq!(
        value(&text, "vidmm_budget_bytes"),
        Some(64.0 * 1024.0 * 1024.0)
    );
    assert!(
        text.contains("vidmm_refusals_total{why=\"too_much\"} 1"),
        "{text}"
    );
    assert!(text.trim_end().ends_with("# EOF"));
    assert!(
        !text.contains(&std::process::id().to_string()),
        "no label names a process"
    );
    let mode = std::os::unix::fs::MetadataExt::mode(&path.metadata().unwrap());
    assert_eq!(mode & 0o777, 0o600);

    until("the file is written", || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        value(&text, "vidmm_budget_bytes") == Some(64.0 * 1024.0 * 1024.0)
    });
    serving.stop();
    assert!(
        !path.exists() && !file.exists(),
        "figures of nobody are not left behind"
    );
}

#[test]
fn whoever_asks_badly_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start_with(dir.path(), 64 * MIB, |options| {
        options.metrics = "127.0.0.1:0".parse().ok();
    });
    let address = serving.metrics.clone().unwrap();
    let connect = || {
        let stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
        stream
    };
    assert!(asked(connect(), "GET /x HTTP/1.0\r\n\r\n").contains(" 404 "));
    assert!(asked(connect(), "DELETE /metrics HTTP/1.0\r\n\r\n").contains(" 405 "));
    let _ = asked(connect(), &"x".repeat(100_000));
    // Eight who say half a sentence, and more who get no place at all.
    let mut slow: Vec<TcpStream> = (0..12).map(|_| connect()).collect();
    for stream in &mut slow {
        let _ = stream.write_all(b"GET /met");
    }
    let client = RawClient::connect(&serving.socket).unwrap();
    client.join(Join::default()).unwrap();
    client.ask(1, MIB).unwrap();
    let begin = Instant::now();
    assert!(matches!(client.next(), ToClient::Credit(_)));
    assert!(
        begin.elapsed() < Duration::from_secs(1),
        "clients do not notice"
    );
    for mut stream in slow {
        let mut rest = String::new();
        let _ = stream.read_to_string(&mut rest);
        assert_eq!(rest, "");
    }
    assert!(asked(connect(), "GET /metrics HTTP/1.0\r\n\r\n").contains(" 200 "));
}

#[test]
fn an_address_that_is_taken_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut options, _) = common::options(&dir.path().join("m.sock"), 64 * MIB);
    options.metrics = Some(MetricsAddress::Tcp(taken.local_addr().unwrap()));
    let error = vidmm_host::Server::bind(options).unwrap_err().to_string();
    assert!(error.contains("choose another"), "{error}");
}
