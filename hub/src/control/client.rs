//! Asking a running hub.

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::{Request, SocketPath};
use crate::exit::{Code, Failure};

/// Longest answers in bytes, all lines together.
const ANSWERS_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Whether a hub answers on the socket of this directory.
pub async fn is_running(state_dir: &Path) -> bool {
    match SocketPath::of(state_dir) {
        Ok(socket) => UnixStream::connect(&socket.path).await.is_ok(),
        Err(_) => false,
    }
}

/// Asks and hands each answer to `each`, until the hub hangs up. Each answer may take `patience`.
///
/// # Errors
/// [`Code::Network`] if no hub runs or it does not answer.
pub async fn ask(
    state_dir: &Path,
    request: Request,
    patience: Duration,
    mut each: impl FnMut(Value),
) -> Result<(), Failure> {
    let never = Until {
        stop: std::future::pending(),
        last_words: patience,
    };
    let mut answered = false;
    let heard = |value| {
        answered = true;
        each(value);
    };
    ask_until(state_dir, request, patience, never, heard).await?;
    // A hub that dies between question and answer hangs up, too.
    if answered {
        return Ok(());
    }
    let what = "the running hub hung up without an answer";
    Err(Failure::new(Code::Network, what))
}

/// What ends a question early, and how long its answer may still take.
pub struct Until<F> {
    /// Completes when nobody wants to go on.
    pub stop: F,
    /// How long the hub may then take to say how it ended.
    pub last_words: Duration,
}

/// As [`ask`]; when `until.stop` completes, the hub is told that nothing more will be asked, which
/// ends what it does for the question, and its last answers are waited for: only the hub knows how
/// it ended.
///
/// # Errors
/// As [`ask`]; also if the last answers do not come in time.
pub async fn ask_until(
    state_dir: &Path,
    request: Request,
    patience: Duration,
    until: Until<impl Future<Output = ()>>,
    mut each: impl FnMut(Value),
) -> Result<(), Failure> {
    let nobody = |_| {
        let shown = state_dir.display();
        Failure::new(
            Code::Network,
            format!("no hub is running on {shown}; start it with `secluso-hub run`"),
        )
    };
    let socket = SocketPath::of(state_dir).map_err(nobody)?;
    let stream = UnixStream::connect(&socket.path).await.map_err(nobody)?;
    let (read, mut write) = stream.into_split();
    let broken = |_| Failure::new(Code::Network, "the running hub hung up");
    let mut question = serde_json::to_vec(&request).unwrap_or_default();
    question.push(b'\n');
    write.write_all(&question).await.map_err(broken)?;
    let mut lines = BufReader::new(read.take(ANSWERS_BYTES_MAX)).lines();
    let mut stop = pin!(until.stop);
    let mut stopping = false;
    loop {
        let wait = if stopping { until.last_words } else { patience };
        let line = tokio::select! {
            line = tokio::time::timeout(wait, lines.next_line()) => line,
            () = &mut stop, if !stopping => {
                stopping = true;
                // A hub that has hung up already has said all that it will.
                let _gone = write.shutdown().await;
                continue;
            }
        };
        let line = line
            .map_err(|_| Failure::new(Code::Network, "the running hub did not answer in time"))?;
        match line.map_err(broken)? {
            Some(line) => each(read_answer(&line)?),
            None => return Ok(()),
        }
    }
}

/// One line of a running hub's answers.
///
/// # Errors
/// [`Code::Network`] if it is no JSON.
pub fn read_answer(line: &str) -> Result<Value, Failure> {
    serde_json::from_str(line)
        .map_err(|_| Failure::new(Code::Network, "the running hub answered something else"))
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    /// Asks a hub that reads the question, says this, and hangs up.
    async fn asked(says: &'static str) -> (usize, Result<(), Failure>) {
        let place = tempfile::tempdir().unwrap();
        let socket = SocketPath::of(place.path()).unwrap();
        let listener = UnixListener::bind(&socket.path).unwrap();
        let hub = async {
            let (stream, _) = listener.accept().await.unwrap();
            let (read, mut write) = stream.into_split();
            BufReader::new(read).lines().next_line().await.unwrap();
            write.write_all(says.as_bytes()).await.unwrap();
        };
        let mut heard = 0;
        let patience = Duration::from_secs(60);
        let ask = ask(place.path(), Request::Status, patience, |_| heard += 1);
        let ((), outcome) = tokio::join!(hub, ask);
        (heard, outcome)
    }

    #[tokio::test]
    async fn a_hub_that_dies_before_its_answer_has_not_answered() {
        let (heard, outcome) = asked("").await;
        assert_eq!(heard, 0);
        assert_eq!(outcome.unwrap_err().code, Code::Network);
        let (heard, outcome) = asked("{\"epoch\": 1}\n").await;
        assert_eq!((heard, outcome.is_ok()), (1, true));
    }
}
