//! Hands the page out to whoever asks at an address of this machine: as much HTTP as a scraper needs.
//!
//! One asker at a time, each for a short while. It must never listen where other machines reach it, and never
//! answer a web page that was led here under another name.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::exit::{Code, Failure};

/// The longest request in bytes.
const REQUEST_BYTES_MAX: usize = 4096;
/// How long one asker may take.
const TALK_MAX: Duration = Duration::from_secs(2);
/// The pause after a connection that could not be taken.
const PAUSE: Duration = Duration::from_millis(200);

/// A socket that is bound and not yet served.
pub struct Endpoint(TcpListener);

impl Endpoint {
    /// Binds an address, which the configuration has checked to be of this machine alone.
    ///
    /// # Errors
    /// [`Code::Network`]: it is taken, perhaps for a moment only, or not there.
    pub async fn bind(address: SocketAddr) -> Result<Self, Failure> {
        match TcpListener::bind(address).await {
            Ok(listener) => Ok(Self(listener)),
            Err(error) => Err(Failure::new(
                Code::Network,
                format!(
                    "{address} cannot be listened on ({error}); choose another in [metrics] listen"
                ),
            )),
        }
    }

    /// Where it is.
    #[cfg(test)]
    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// Answers until it is dropped; `page` makes the page, or none if the hub cannot say.
    pub async fn run<F: Future<Output = Option<String>>>(self, page: impl Fn() -> F) {
        loop {
            let Ok((stream, _asker)) = self.0.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            // One who is slow, or has gone, is nobody's loss.
            let _talked = tokio::time::timeout(TALK_MAX, talk(stream, &page)).await;
        }
    }
}

async fn talk<F: Future<Output = Option<String>>>(
    mut stream: TcpStream,
    page: &impl Fn() -> F,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while request.len() < REQUEST_BYTES_MAX && !is_whole(&request) {
        let read = stream.read(&mut part).await?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(part.get(..read).unwrap_or_default());
    }
    let (status, body) = match judge(&String::from_utf8_lossy(&request)) {
        Ok(()) => match page().await {
            Some(page) => ("200 OK", page),
            None => ("503 Service Unavailable", String::new()),
        },
        Err(status) => (status, String::new()),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn is_whole(request: &[u8]) -> bool {
    request.windows(4).any(|end| end == b"\r\n\r\n")
}

/// Whether a request is answered with the page, or else with which status. Public for fuzz targets.
///
/// # Errors
/// Status code and reason, as HTTP spells them.
pub fn judge(request: &str) -> Result<(), &'static str> {
    let Some((head, _)) = request.split_once("\r\n\r\n") else {
        return Err("400 Bad Request");
    };
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (words.next(), words.next());
    let mut hosts = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim())
    });
    // A browser sends the name by which a page led it here.
    if !hosts.all(is_of_this_machine) {
        return Err("403 Forbidden");
    }
    match (method, path) {
        (Some("GET"), Some("/metrics")) => Ok(()),
        (Some("GET"), _) => Err("404 Not Found"),
        _ => Err("405 Method Not Allowed"),
    }
}

/// Whether a `Host` names this machine to itself.
fn is_of_this_machine(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let name = host.split_once(':').map_or(host, |(name, _port)| name);
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_scraper_on_this_machine_gets_the_page() {
        let ask = |line: &str, host: &str| judge(&format!("{line}\r\nHost: {host}\r\n\r\n"));
        let get = "GET /metrics HTTP/1.1";
        for host in [
            "127.0.0.1:9464",
            "localhost",
            "localhost:9464",
            "[::1]:9464",
            "127.0.0.1",
        ] {
            assert_eq!(ask(get, host), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9464",
            "192.0.2.1:9464",
            "localhost.evil.example",
            "",
        ] {
            assert_eq!(ask(get, host), Err("403 Forbidden"), "{host}");
        }
        assert_eq!(judge("GET /metrics HTTP/1.0\r\n\r\n"), Ok(()));
        assert_eq!(ask("GET / HTTP/1.1", "localhost"), Err("404 Not Found"));
        assert_eq!(
            ask("POST /metrics HTTP/1.1", "localhost"),
            Err("405 Method Not Allowed")
        );
        for garbage in [
            "",
            "GET /metrics",
            "\u{fffd}\r\n",
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\n",
        ] {
            assert_eq!(judge(garbage), Err("400 Bad Request"), "{garbage:?}");
        }
    }

    #[tokio::test]
    async fn a_scraper_reads_the_page_and_one_that_says_nothing_keeps_nobody() {
        let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let address = endpoint.address();
        let serving = tokio::spawn(endpoint.run(|| async { Some("one 1\n".to_owned()) }));
        let mute = TcpStream::connect(address).await.unwrap();
        let mut scraper = TcpStream::connect(address).await.unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
        scraper.write_all(request).await.unwrap();
        let mut answer = String::new();
        let patience = TALK_MAX * 4;
        let read = tokio::time::timeout(patience, scraper.read_to_string(&mut answer)).await;
        read.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.ends_with("Content-Length: 6\r\nConnection: close\r\n\r\none 1\n"),
            "{answer}"
        );
        drop(mute);
        let taken = Endpoint::bind(address).await;
        assert_eq!(taken.err().unwrap().code, Code::Network);
        serving.abort();
    }
}
