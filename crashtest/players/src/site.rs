//! The little web site that a browser is shown: one page, the films, and a place to report to.
//!
//! It listens on loopback alone, for one browser of ours. It must never take more of a request than
//! [`REQUEST_BYTES_MAX`].

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Longest request, its body included.
const REQUEST_BYTES_MAX: usize = 256 * 1024;

/// What is shown.
pub(crate) struct Site {
    /// The page at `/`.
    pub(crate) page: String,
    /// The films, at `/film/0` and so on.
    pub(crate) films: Vec<Vec<u8>>,
    /// Where reports go to.
    pub(crate) reports: mpsc::Sender<Vec<u8>>,
}

impl Site {
    /// Answers the one request of a connection. What is no request is answered with nothing.
    pub(crate) async fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let Some((head, body)) = request(&mut stream).await? else {
            return Ok(());
        };
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let film = path
            .strip_prefix("/film/")
            .and_then(|number| self.films.get(number.parse::<usize>().ok()?));
        let (status, kind, answer) = match (method, path, film) {
            ("GET", "/", _) => ("200 OK", "text/html; charset=utf-8", self.page.as_bytes()),
            ("GET", _, Some(film)) => ("200 OK", "video/mp4", film.as_slice()),
            ("POST", "/report", _) => {
                // A second report is one too many, and the first counts.
                let _second = self.reports.try_send(body);
                ("204 No Content", "text/plain", &b""[..])
            }
            _ => ("404 Not Found", "text/plain", &b""[..]),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             Connection: close\r\n\r\n",
            answer.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(answer).await?;
        stream.shutdown().await
    }
}

/// The first line and the body of a request; none if it ends before it is whole, or is too long.
async fn request(stream: &mut TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    loop {
        if let Some((line, body)) = whole(&bytes) {
            return Ok(Some((line, body)));
        }
        let read = stream.read_buf(&mut bytes).await?;
        if read == 0 || bytes.len() > REQUEST_BYTES_MAX {
            return Ok(None);
        }
    }
}

/// A request's first line and body, once all of it is there.
fn whole(bytes: &[u8]) -> Option<(String, Vec<u8>)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(bytes.get(..end)?).into_owned();
    let mut lines = head.lines();
    let first = lines.next()?.to_owned();
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    let body = bytes.get(end + 4..)?;
    let body = body.get(..length.unwrap_or(0))?;
    Some((first, body.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_with_its_body() {
        let all = b"POST /report HTTP/1.1\r\nHost: a\r\ncontent-LENGTH: 3\r\n\r\nabc";
        for end in 0..all.len() {
            assert_eq!(whole(&all[..end]), None, "{end}");
        }
        let line = "POST /report HTTP/1.1".to_owned();
        assert_eq!(whole(all), Some((line, b"abc".to_vec())));
        let get = b"GET / HTTP/1.1\r\n\r\n";
        assert_eq!(whole(get), Some(("GET / HTTP/1.1".to_owned(), Vec::new())));
    }
}
