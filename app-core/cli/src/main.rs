//! `secluso-app`: the phone's side on a command line, on nothing but `app-core`'s public interface.
//!
//! Arguments, wiring and exit codes. It must never print a pairing code but where `invite` shows one to a person,
//! and never print a fact that is not durable.

mod args;
mod camera_settings;
mod doctor;
mod invite;
mod live;
mod names;
mod orders;
mod output;
mod run;
mod usage;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// How long live pictures may still be written when all else has ended.
const WRITER_WAIT: Duration = Duration::from_secs(1);

/// One clear line, then the documented code.
fn main() -> ExitCode {
    let arguments = match args::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let words: Vec<OsString> = std::env::args_os().skip(1).collect();
            return usage::refuse(&error, &words);
        }
    };
    run::log_to_stderr();
    run::keep_to_ourselves();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("secluso-app: no runtime could be started: {error}");
            return ExitCode::from(run::EXIT_INTERNAL);
        }
    };
    let style = match arguments.json {
        true => output::Style::Json,
        false => output::Style::Text,
    };
    let place = arguments.command.place_of_facts();
    let outcome = runtime.block_on(run::run(arguments));
    // Whatever still runs was dropped with the future; the journal was closed by the last handle. A writer of live
    // pictures may hang on somebody who takes none.
    runtime.shutdown_timeout(WRITER_WAIT);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            style.failure(place, &failure.to_string(), failure.code());
            ExitCode::from(failure.code())
        }
    }
}
