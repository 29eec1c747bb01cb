//! Figures over HTTP: as much of HTTP/1.0 as a scraper needs, without ever waiting.
//!
//! One request a connection; a request has at most 4 KiB and 2 seconds, there are at most 8 at
//! once. Whoever wants more should put a real server before this one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};
use vidmm_manager::Millis;

use crate::error::HostError;
use crate::options::MetricsAddress;
use crate::sources::Source;

const REQUEST_BYTES_MAX: usize = 4096;
const AT_ONCE_MAX: usize = 8;
const PATIENCE_MS: u64 = 2000;
const DEAF_MS: u64 = 1000;

/// Serves figures.
#[derive(Debug)]
pub(crate) struct Exporter {
    listener: OwnedFd,
    /// The socket's file, to be removed.
    path: Option<PathBuf>,
    address: String,
    scrapers: BTreeMap<u64, Scraper>,
    next: u64,
    /// Nobody is accepted until then: no descriptor could be had, and the listener stays ready.
    deaf_until: Option<Millis>,
}

/// Somebody who asks.
#[derive(Debug)]
struct Scraper {
    socket: OwnedFd,
    since: Millis,
    request: Vec<u8>,
    /// What is still to be sent, once the request is whole.
    reply: Option<Vec<u8>>,
}

/// Whether a scraper goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Waits,
    Done,
}

impl Exporter {
    pub(crate) fn open(address: &MetricsAddress, epoll: &OwnedFd) -> Result<Self, HostError> {
        let text = match address {
            MetricsAddress::Tcp(address) => address.to_string(),
            MetricsAddress::Unix(path) => path.display().to_string(),
        };
        let failed = |source: io::Error| HostError::Metrics {
            address: text.clone(),
            source,
        };
        let (listener, path, shown) = listen(address).map_err(failed)?;
        let data = Source::Scrapers.data();
        epoll::add(epoll, &listener, data, epoll::EventFlags::IN)
            .map_err(|error| failed(error.into()))?;
        Ok(Exporter {
            listener,
            path,
            address: shown,
            scrapers: BTreeMap::new(),
            next: 0,
            deaf_until: None,
        })
    }

    /// Where it serves; a port that was left to the kernel is known here.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The socket's file, if it has one.
    pub(crate) fn path(&self) -> Option<&PathBuf> {
        self.path.as_ref()
    }

    /// Somebody connects.
    pub(crate) fn accept(&mut self, epoll: &OwnedFd, now: Millis) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        for _ in 0..AT_ONCE_MAX {
            let socket = match accept_with(&self.listener, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(_) => {
                    let _ = epoll::delete(epoll, &self.listener);
                    self.deaf_until = Some(Millis(now.0.saturating_add(DEAF_MS)));
                    return;
                }
            };
            if self.scrapers.len() >= AT_ONCE_MAX {
                continue;
            }
            let number = self.next;
            self.next += 1;
            let data = Source::Scraper(number).data();
            if epoll::add(epoll, &socket, data, epoll::EventFlags::IN).is_ok() {
                let scraper = Scraper {
                    socket,
                    since: now,
                    request: Vec::new(),
                    reply: None,
                };
                self.scrapers.insert(number, scraper);
            }
        }
    }

    /// A scraper can be read or written. `figures` makes the text.
    pub(crate) fn ready(&mut self, epoll: &OwnedFd, number: u64, figures: impl FnOnce() -> String) {
        let Some(scraper) = self.scrapers.get_mut(&number) else {
            return;
        };
        match scraper.go_on(figures) {
            Ok(Progress::Waits) => {
                if scraper.reply.is_some() {
                    let data = Source::Scraper(number).data();
                    let _ = epoll::modify(epoll, &scraper.socket, data, epoll::EventFlags::OUT);
                }
            }
            Ok(Progress::Done) | Err(_) => {
                self.scrapers.remove(&number);
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Millis> {
        let oldest = self.scrapers.values().next();
        let patience = oldest.map(|oldest| Millis(oldest.since.0.saturating_add(PATIENCE_MS)));
        [patience, self.deaf_until].into_iter().flatten().min()
    }

    /// Ends those that took too long, and listens again.
    pub(crate) fn expire(&mut self, epoll: &OwnedFd, now: Millis) {
        if self.deaf_until.is_some_and(|until| now >= until) {
            let data = Source::Scrapers.data();
            let added = epoll::add(epoll, &self.listener, data, epoll::EventFlags::IN);
            let again = Millis(now.0.saturating_add(DEAF_MS));
            self.deaf_until = added.is_err().then_some(again);
        }
        self.scrapers
            .retain(|_, scraper| now.0 < scraper.since.0.saturating_add(PATIENCE_MS));
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Scraper {
    fn go_on(&mut self, figures: impl FnOnce() -> String) -> Result<Progress, Errno> {
        if self.reply.is_none() {
            let mut buffer = [0; 1024];
            match recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Err(Errno::AGAIN | Errno::INTR) => return Ok(Progress::Waits),
                Err(error) => return Err(error),
                Ok((_, 0)) => return Ok(Progress::Done),
                Ok((_, count)) => self.request.extend_from_slice(&buffer[..count]),
            }
            self.reply = answer(&self.request, figures);
        }
        match &mut self.reply {
            Some(reply) => send_some(&self.socket, reply),
            None => Ok(Progress::Waits),
        }
    }
}

fn send_some(socket: &OwnedFd, reply: &mut Vec<u8>) -> Result<Progress, Errno> {
    while !reply.is_empty() {
        match send(socket, reply, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Progress::Waits),
            Err(error) => return Err(error),
            Ok(count) => drop(reply.drain(..count)),
        }
    }
    Ok(Progress::Done)
}

/// The reply to a request, once that is whole.
fn answer(request: &[u8], figures: impl FnOnce() -> String) -> Option<Vec<u8>> {
    let is_whole = request.windows(4).any(|window| window == b"\r\n\r\n")
        || request.windows(2).any(|window| window == b"\n\n");
    if !is_whole {
        return (request.len() > REQUEST_BYTES_MAX).then(|| {
            reply(
                "431 Request Header Fields Too Large",
                "",
                "too long\n",
                true,
            )
        });
    }
    let line = request
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    let mut words = line.trim_ascii_end().split(|&byte| byte == b' ');
    let (method, target) = (words.next()?, words.next().unwrap_or_default());
    let path = target
        .split(|&byte| byte == b'?')
        .next()
        .unwrap_or_default();
    let with_body = method != b"HEAD";
    Some(match (method, path) {
        (b"GET" | b"HEAD", b"/metrics" | b"/") => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            reply("200 OK", kind, &figures(), with_body)
        }
        (b"GET" | b"HEAD", _) => reply("404 Not Found", "", "figures are at /metrics\n", with_body),
        _ => reply("405 Method Not Allowed", "", "only GET\n", true),
    })
}

fn reply(status: &str, kind: &str, body: &str, with_body: bool) -> Vec<u8> {
    let kind = match kind {
        "" => "text/plain; charset=utf-8",
        kind => kind,
    };
    let mut text = String::new();
    let _ = write!(
        text,
        "HTTP/1.0 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    if with_body {
        text.push_str(body);
    }
    text.into_bytes()
}

fn listen(address: &MetricsAddress) -> io::Result<(OwnedFd, Option<PathBuf>, String)> {
    match address {
        MetricsAddress::Tcp(address) => {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let shown = listener.local_addr()?.to_string();
            Ok((listener.into(), None, shown))
        }
        MetricsAddress::Unix(path) => {
            remove_stale(path)?;
            let listener = UnixListener::bind(path)?;
            listener.set_nonblocking(true)?;
            let only_me = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(path, only_me)?;
            let shown = path.display().to_string();
            Ok((listener.into(), Some(path.clone()), shown))
        }
    }
}

/// A socket that nobody listens at is one that a killed manager left.
fn remove_stale(path: &PathBuf) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let is_socket =
        std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        _ => Ok(()),
    }
}

impl AsFd for Exporter {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(request: &str) -> Option<String> {
        let reply = answer(request.as_bytes(), || "figures".to_owned())?;
        Some(String::from_utf8(reply).unwrap())
    }

    #[test]
    fn requests_of_all_kinds() {
        let whole = answered("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert!(whole.starts_with("HTTP/1.0 200 OK\r\n") && whole.ends_with("\r\n\r\nfigures"));
        assert!(answered("GET / HTTP/1.0\n\n").unwrap().ends_with("figures"));
        let head = answered("HEAD /metrics HTTP/1.0\r\n\r\n").unwrap();
        assert!(head.contains("Content-Length: 7") && head.ends_with("\r\n\r\n"));
        assert!(
            answered("GET /x HTTP/1.0\r\n\r\n")
                .unwrap()
                .contains(" 404 ")
        );
        assert!(
            answered("POST /metrics HTTP/1.0\r\n\r\n")
                .unwrap()
                .contains(" 405 ")
        );
        assert!(answered("\r\n\r\n").unwrap().contains(" 405 "));
        assert_eq!(answered("GET /metrics HTTP/1.0\r\n"), None);
        assert!(answered(&"x".repeat(5000)).unwrap().contains(" 431 "));
    }
}
