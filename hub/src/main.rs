//! `secluso-hub`: arguments, logging, exit code. Everything else is in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use hub::cli::{self, Cli};
use hub::output::{self, Format};
use hub::{exit, logging};
use wal::service::Urgency;

/// Threads for network and control: the journal has its own.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    // Before anything else, so that nothing is made or read without it.
    let private = wal::private::keep_process();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
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
            return ExitCode::from(exit::Code::Internal as u8);
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

/// Help, the version, or what is wrong with the command line.
fn refuse(error: &clap::Error) -> ExitCode {
    if let Some(failure) = cli::usage_failure(error, std::env::args_os().skip(1)) {
        Format::Json.line(&output::failure(&failure), "");
        logging::aside(Urgency::Error, &failure.message);
        return ExitCode::from(failure.code as u8);
    }
    // Nobody can be told that stdout or stderr is closed.
    let _closed = error.print();
    let code = u8::try_from(error.exit_code());
    ExitCode::from(code.unwrap_or(exit::Code::Usage as u8))
}
