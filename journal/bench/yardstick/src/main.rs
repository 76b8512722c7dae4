//! SQLite as a yardstick, in a process of its own: a line `DATABASE COUNT` on standard input is
//! answered by `WALL CPU`, in seconds, for COUNT epoch advances. It must never do anything else.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use openmls::prelude::Ciphersuite;
use rustix::time::{ClockId, clock_gettime};
use yardstick::sqlite::{SqliteMode, SqliteProvider};
use yardstick::{Member, Outcome};

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Outcome<()> {
    let dir = PathBuf::from(std::env::args_os().nth(1).ok_or("which directory?")?);
    let suite = Ciphersuite::MLS_256_XWING_CHACHA20POLY1305_SHA256_Ed25519;
    let member =
        |name: &str, mode| Member::new(SqliteProvider::open(&dir.join(name), mode)?, suite);
    let mut write_ahead = member("write-ahead.db", SqliteMode::WriteAhead)?;
    let mut default = member("default.db", SqliteMode::Default)?;
    let mut transaction = member("transaction.db", SqliteMode::WriteAhead)?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (database, count) = line.split_once(' ').ok_or("DATABASE COUNT")?;
        let count: usize = count.parse()?;
        let start = now();
        for _ in 0..count {
            match database {
                "write-ahead" => drop(write_ahead.advance_epoch()?),
                "default" => drop(default.advance_epoch()?),
                "transaction" => {
                    transaction.provider.sql("BEGIN IMMEDIATE")?;
                    transaction.advance_epoch()?;
                    transaction.provider.sql("COMMIT")?;
                }
                other => return Err(format!("no database {other}").into()),
            }
        }
        let end = now();
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "{} {}",
            end.0.duration_since(start.0).as_secs_f64(),
            end.1 - start.1
        )?;
        out.flush()?;
    }
    Ok(())
}

/// The time, and the CPU time of this process in seconds.
#[expect(
    clippy::disallowed_methods,
    reason = "A benchmark is a shell: here its clock enters."
)]
fn now() -> (Instant, f64) {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    (Instant::now(), cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9)
}
