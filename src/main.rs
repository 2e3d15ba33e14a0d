//! Parses the command line, calls the library, and maps errors to exit codes.

use std::process::ExitCode;

use clap::Parser;
use rowcast::cli::{Cli, run};

/// Measured against the system's: an event is many small allocations, of which that spent two fifths of the service's time
/// under load (docs/how-it-works.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A page of 2 MB that holds little is memory all the same: a sixth of what connections take that do nothing.
    #[cfg(target_os = "linux")]
    rustix::thread::disable_transparent_huge_pages(true).ok();
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rowcast: {error}");
            error.exit_code()
        }
    }
}
