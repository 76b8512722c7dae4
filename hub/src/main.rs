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
    no_core_dumps();
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("SECLUSO_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
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

/// A core dump would hold keys.
fn no_core_dumps() {
    let none = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if rustix::process::setrlimit(rustix::process::Resource::Core, none).is_err() {
        eprintln!("secluso-hub: core dumps could not be turned off; go on all the same");
    }
}
