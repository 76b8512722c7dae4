//! `secluso-evil-relay run --config FILE`: the malicious relay, with a relay's configuration and key.
//!
//! It takes orders over `orders.sock` in its data directory: `vice NAME SEED`, `behave`, `empty`, `mark`, `look`.
//! This room only reads a command line.

use std::path::Path;
use std::process::ExitCode;

use crashtest_evil_relay::evil::server;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ran = match words.as_slice() {
        // The relay's own words; `--json` changes nothing.
        ["run", "--config", config] | ["run", "--config", config, "--json"] => {
            server::run(Path::new(config))
        }
        _ => {
            eprintln!("usage: secluso-evil-relay run --config FILE");
            return ExitCode::from(2);
        }
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("secluso-evil-relay: {fault}");
            ExitCode::from(1)
        }
    }
}
