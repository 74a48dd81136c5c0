//! Python packages that tests use.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A Python virtual environment with packages, kept for later runs. `None` with a message if it cannot be created, as
/// without a network.
pub(crate) fn python_with(name: &str, packages: &[&str], check: &str) -> Option<PathBuf> {
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let python = environment.join("bin/python");
    let succeeds = |command: &mut Command| {
        let output = command.output();
        output.is_ok_and(|output| output.status.success())
    };
    let works = || succeeds(Command::new(&python).args(["-c", check]));
    if works() {
        return Some(python);
    }
    let mut create = Command::new("python3");
    let mut install = Command::new(&python);
    let created = succeeds(create.args(["-m", "venv"]).arg(&environment))
        && succeeds(install.args(["-m", "pip", "install", "-q"]).args(packages));
    if created && works() {
        return Some(python);
    }
    eprintln!("skipped: {packages:?} could not be installed with Python's venv and pip");
    None
}
