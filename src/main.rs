//! Parses the command line, calls the library, and maps errors to exit codes.

use std::process::ExitCode;

use clap::Parser;
use rowcast::cli::{Cli, run};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rowcast: {error}");
            error.exit_code()
        }
    }
}
