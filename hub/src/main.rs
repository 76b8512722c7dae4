//! `secluso-hub`: arguments, logging, exit code. Everything else is in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use hub::cli::{self, Cli};
use hub::{logging, output};
use wal::service::Urgency;

/// Threads for network and control: the journal has its own.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    // Before anything else, so that nothing is made or read without it.
    let private = wal::private::keep_process();
    let cli = Cli::parse();
    logging::start();
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
            logging::aside(Urgency::Error, &failure.message);
            ExitCode::from(failure.code as u8)
        }
    }
}
