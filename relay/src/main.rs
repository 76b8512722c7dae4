//! The relay's program. Everything is in the library; nothing may be added here.

fn main() -> std::process::ExitCode {
    relay::cli::main()
}
