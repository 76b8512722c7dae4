//! OpenMLS over SQLite, in another process: linking it here would build RocksDB a second time. Its
//! times are taken there, so that the pipe between us costs it nothing.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::Outcome;
use crate::measure::Cost;

/// The other process, beside this program.
const PROGRAM: &str = "sqlite-yardstick";

/// OpenMLS over SQLite.
pub(crate) struct Sqlite {
    child: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Sqlite {
    /// Starts it with its databases in `dir`.
    pub(crate) fn start(dir: &Path) -> Outcome<Self> {
        let program = std::env::current_exe()?.with_file_name(PROGRAM);
        let mut child = Command::new(&program)
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                format!(
                    "{}: {error}; build it with: cargo build -p yardstick --features sqlite",
                    program.display()
                )
            })?;
        let answers = child.stdout.take().ok_or("the yardstick has no output")?;
        Ok(Self {
            ask: child.stdin.take(),
            answers: BufReader::new(answers),
            child,
        })
    }

    /// Advances the epoch `count` times in one of its databases: `write-ahead`, `default` or
    /// `transaction`.
    pub(crate) fn advance(&mut self, database: &str, count: usize) -> Outcome<Cost> {
        let ask = self.ask.as_mut().ok_or("the yardstick was stopped")?;
        writeln!(ask, "{database} {count}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        let mut numbers = answer.split_whitespace().map(str::parse::<f64>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(wall_s)), Some(Ok(cpu_s))) => Ok(Cost { wall_s, cpu_s }),
            _ => Err(format!("the SQLite yardstick failed: {}", answer.trim()).into()),
        }
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        // It ends when nobody asks any more.
        drop(self.ask.take());
        if self.child.wait().is_err() {
            eprintln!("the SQLite yardstick did not end");
        }
    }
}
