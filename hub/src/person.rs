//! Whether a person is in a picture: a hint, for whoever reads a notification.
//!
//! Nothing is recorded, and nothing left out, because of it. What is asked here is code of somebody else that takes its
//! time, fails, or never answers; it must never be waited for, and never be asked in the path of a recording.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::camera::command::{Group, program};

/// Longest answer of a program that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 64;

/// How likely there is a person, in percent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Score(u8);

impl Score {
    /// There is none.
    pub const NONE: Self = Self(0);

    /// From 0 to 100.
    pub fn new(percent: u8) -> Option<Self> {
        (percent <= 100).then_some(Self(percent))
    }

    /// Of a number from 0 to 1, as text. Public for fuzz targets.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let share: f64 = text.trim().parse().ok()?;
        // Rounded it is a whole number from 0 to 100.
        (0.0..=1.0)
            .contains(&share)
            .then(|| Self((share * 100.0).round() as u8))
    }
}

/// What a look at a picture comes to; `None`: nobody knows.
pub type Look = Pin<Box<dyn Future<Output = Option<Score>> + Send>>;

/// Something that knows persons. It may be dropped while it looks, and is then to leave nothing behind.
pub trait PersonHint: Send + Sync {
    /// Looks at a JPEG. It must not block: what computes does so on a thread of its own.
    fn look(&self, jpeg: Bytes) -> Look;
}

/// A program that gets a JPEG on its standard input and prints a number from 0 to 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonProgram {
    /// Its path, or its name if it is found in `PATH`.
    pub program: PathBuf,
    /// Its arguments, one by one: no shell looks at them.
    pub arguments: Vec<String>,
    /// From which score on a person is likely.
    pub at_least: Score,
}

/// The hint of a program, which is started for each picture, and killed with all that it has started once it has
/// answered or nobody waits any more.
#[derive(Debug)]
pub struct ProgramHint {
    program: PersonProgram,
}

impl ProgramHint {
    /// Nothing is started yet.
    pub fn new(program: PersonProgram) -> Self {
        Self { program }
    }
}

impl PersonHint for ProgramHint {
    fn look(&self, jpeg: Bytes) -> Look {
        Box::pin(ask(self.program.clone(), jpeg))
    }
}

async fn ask(asked: PersonProgram, jpeg: Bytes) -> Option<Score> {
    let started = program(&asked.program, &asked.arguments)
        .stdin(Stdio::piped())
        .spawn();
    let mut child = started
        .inspect_err(
            |error| tracing::warn!(%error, "the program for hints at persons cannot be started"),
        )
        .ok()?;
    // Dropped before the child: its number is its own for as long as nobody has asked how it ended.
    let _group = Group::of(&child);
    let (mut stdin, stdout) = (child.stdin.take()?, child.stdout.take()?);
    let mut answer = Vec::new();
    let mut stdout = stdout.take(ANSWER_BYTES_MAX);
    let tell = async move {
        // One that has seen enough reads no more.
        let _gone = stdin.write_all(&jpeg).await;
        drop(stdin);
        std::future::pending::<()>().await;
    };
    let read = tokio::select! {
        read = stdout.read_to_end(&mut answer) => read,
        () = tell => return None,
    };
    let score = read.ok().and_then(|_bytes| Score::parse(&answer));
    if score.is_none() {
        tracing::debug!("the program for hints at persons gave no number from 0 to 1");
    }
    score
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> ProgramHint {
        ProgramHint::new(PersonProgram {
            program: "sh".into(),
            arguments: vec!["-c".into(), script.into()],
            at_least: Score(70),
        })
    }

    #[tokio::test]
    async fn a_program_gets_the_picture_and_its_number_is_the_score() {
        let jpeg = Bytes::from(vec![7; 200_000]);
        for (script, score) in [
            ("test $(wc -c) = 200000 && echo 0.834", Some(Score(83))),
            ("cat >/dev/null; echo 1", Some(Score(100))),
            // It has seen enough, and does not end by itself.
            (
                "exec <&-; printf 0; exec >&-; sleep 1000",
                Some(Score::NONE),
            ),
            ("cat >/dev/null; echo 1.5", None),
            ("cat >/dev/null; echo nan", None),
            ("echo a person", None),
            ("yes", None),
            ("exit 1", None),
        ] {
            assert_eq!(shell(script).look(jpeg.clone()).await, score, "{script}");
        }
        let nowhere = ProgramHint::new(PersonProgram {
            program: "/nowhere/guess".into(),
            arguments: Vec::new(),
            at_least: Score(70),
        });
        assert_eq!(nowhere.look(jpeg).await, None);
    }
}
