//! `secluso-hub`: arguments, logging, exit code. Everything else is in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use hub::cli::{self, Cli};
use hub::output;
use tracing_subscriber::EnvFilter;

/// Threads for network and control: the journal has its own.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    // Before anything else, so that nothing is made or read without it.
    let private = wal::private::keep_process();
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("SECLUSO_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    if let Err(error) = private {
        tracing::warn!(%error, "this process could not be kept to itself: its memory may be dumped or read");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("secluso-hub: the system gives no threads ({error})");
            return ExitCode::from(hub::exit::Code::Internal as u8);
        }
    };
    let format = cli.format();
    match runtime.block_on(cli::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            format.line(&output::failure(&failure), "");
            eprintln!("secluso-hub: {failure}");
            ExitCode::from(failure.code as u8)
        }
    }
}
