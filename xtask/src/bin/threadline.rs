//! Threadline's command line for hosts without an xtask.

use std::process::ExitCode;

use threadline_xtask::Host;

fn main() -> ExitCode {
    threadline_xtask::main(Host::new(&[]))
}
