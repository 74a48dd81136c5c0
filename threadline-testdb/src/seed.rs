//! Creates data directories. A data directory is a copy of a cached one, the seed, which takes a
//! quarter of the time of `initdb`. Without a usable cache, `initdb` creates it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::digest::sha256;
use crate::files::{copy_tree, last_lines};
use crate::user::ServerUser;
use crate::{Error, ServerBinaries, cache};

/// Fixed, so that sort order and privileges are the same on every machine.
const INITDB_OPTIONS: [&str; 6] = [
    "--username=postgres",
    "--auth=trust",
    "--encoding=UTF8",
    "--no-locale",
    "--no-sync",
    "--no-instructions",
];

/// Creates the data directory `data`, which must not exist.
pub(crate) fn create_data_directory(
    binaries: &ServerBinaries,
    user: ServerUser,
    data: &Path,
) -> Result<(), Error> {
    match cached_seed(binaries, user, data) {
        Some(seed) => copy_tree(&seed, data, user).map_err(Error::io("copying to", data)),
        None => initdb(binaries, user, data),
    }
}

/// The seed of these binaries, created if it does not exist. `None` if it cannot be cached, for
/// any reason: the seed only saves time.
fn cached_seed(binaries: &ServerBinaries, user: ServerUser, data: &Path) -> Option<PathBuf> {
    let seeds = cache::cache_directory(user).ok()?.join("seeds");
    fs::create_dir_all(&seeds).ok()?;
    let name = seed_name(binaries)?;
    let seed = seeds.join(&name);
    if seed.is_dir() {
        return Some(seed);
    }
    let _lock = cache::lock(&seeds, &name).ok()?;
    // Another process may have created it while this one waited for the lock.
    if !seed.is_dir() {
        create_seed(binaries, user, data, &seeds, &seed)?;
    }
    Some(seed)
}

/// Creates the seed beside `data`, where the server's user can write, and renames a complete copy
/// into the cache.
fn create_seed(
    binaries: &ServerBinaries,
    user: ServerUser,
    data: &Path,
    seeds: &Path,
    seed: &Path,
) -> Option<()> {
    let fresh = data.with_extension("seed");
    initdb(binaries, user, &fresh).ok()?;
    let staging = tempfile::tempdir_in(seeds).ok()?;
    let copy = staging.path().join("data");
    copy_tree(&fresh, &copy, ServerUser::Same).ok()?;
    fs::remove_dir_all(&fresh).ok();
    fs::rename(&copy, seed).ok()
}

fn initdb(binaries: &ServerBinaries, user: ServerUser, data: &Path) -> Result<(), Error> {
    let program = binaries.program("initdb");
    let mut command = Command::new(&program);
    command.args(INITDB_OPTIONS).arg("--pgdata").arg(data);
    normalize_environment(&mut command);
    user.apply_to(&mut command);
    let output = command.output().map_err(Error::io("running", program))?;
    if output.status.success() {
        return Ok(());
    }
    let combined = [output.stdout, output.stderr].concat();
    Err(Error::Initdb {
        output: last_lines(&String::from_utf8_lossy(&combined), 12),
    })
}

/// Removes the environment variables that change the behaviour of PostgreSQL's programs.
pub(crate) fn normalize_environment(command: &mut Command) {
    for name in [
        "PGDATA",
        "PGPORT",
        "PGHOST",
        "PGUSER",
        "PGDATABASE",
        "PGOPTIONS",
    ] {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C").env("TZ", "UTC");
}

/// The name of a seed. It depends on the path and version of the binaries and the options of
/// `initdb`.
fn seed_name(binaries: &ServerBinaries) -> Option<String> {
    let mut parts = binaries.bin_dir().as_os_str().as_encoded_bytes().to_vec();
    parts.extend_from_slice(binaries.version_line().as_bytes());
    parts.extend_from_slice(INITDB_OPTIONS.concat().as_bytes());
    let digest = sha256(parts.as_slice()).ok()?;
    Some(format!("{}-{}", binaries.version(), digest.get(..16)?))
}
