//! A cluster's data directory: copied from one that `initdb` made earlier, which takes a quarter
//! of the time, or made by `initdb` if nothing can be cached.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::digest::sha256;
use crate::files::{copy_tree, tail};
use crate::user::ServerUser;
use crate::{Error, ServerBinaries, cache};

/// Fixed, so that the same test sees the same sort order and the same rights on every machine.
const INITDB: [&str; 6] = [
    "--username=postgres",
    "--auth=trust",
    "--encoding=UTF8",
    "--no-locale",
    "--no-sync",
    "--no-instructions",
];

/// Fills `data`, which must not exist, with a fresh data directory.
pub(crate) fn plant(binaries: &ServerBinaries, user: ServerUser, data: &Path) -> Result<(), Error> {
    match cached_seed(binaries, user, data) {
        Some(seed) => copy_tree(&seed, data, user).map_err(Error::io("copying to", data)),
        None => initdb(binaries, user, data),
    }
}

/// The cached data directory of these binaries, made now if need be. `None` if it cannot be
/// cached, whatever the reason: a cluster can be had without.
fn cached_seed(binaries: &ServerBinaries, user: ServerUser, data: &Path) -> Option<PathBuf> {
    let seeds = cache::folder(user).ok()?.join("seeds");
    fs::create_dir_all(&seeds).ok()?;
    let name = seed_name(binaries)?;
    let seed = seeds.join(&name);
    if seed.is_dir() {
        return Some(seed);
    }
    let _lock = cache::lock(&seeds, &name).ok()?;
    // Another process may have made it while this one waited for the lock.
    if !seed.is_dir() {
        make_seed(binaries, user, data, &seeds, &seed)?;
    }
    Some(seed)
}

/// Makes the seed beside `data`, where the server's user can write, and moves it into the cache
/// under its name only when it is whole.
fn make_seed(
    binaries: &ServerBinaries,
    user: ServerUser,
    data: &Path,
    seeds: &Path,
    seed: &Path,
) -> Option<()> {
    let fresh = data.with_extension("seed");
    initdb(binaries, user, &fresh).ok()?;
    let staging = tempfile::tempdir_in(seeds).ok()?;
    let whole = staging.path().join("data");
    copy_tree(&fresh, &whole, ServerUser::Same).ok()?;
    fs::remove_dir_all(&fresh).ok();
    fs::rename(&whole, seed).ok()
}

fn initdb(binaries: &ServerBinaries, user: ServerUser, data: &Path) -> Result<(), Error> {
    let program = binaries.program("initdb");
    let mut command = Command::new(&program);
    command.args(INITDB).arg("--pgdata").arg(data);
    tidy_environment(&mut command);
    user.apply(&mut command);
    let output = command.output().map_err(Error::io("running", program))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(Error::Initdb {
        output: tail(&String::from_utf8_lossy(&said), 12),
    })
}

/// Takes away what would make PostgreSQL's programs behave differently from machine to machine.
pub(crate) fn tidy_environment(command: &mut Command) {
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

/// Tells builds apart: another build, in another place, or made another way, is another seed.
fn seed_name(binaries: &ServerBinaries) -> Option<String> {
    let mut parts = binaries.folder().as_os_str().as_encoded_bytes().to_vec();
    parts.extend_from_slice(binaries.version_line().as_bytes());
    parts.extend_from_slice(INITDB.concat().as_bytes());
    let digest = sha256(parts.as_slice()).ok()?;
    Some(format!("{}-{}", binaries.version(), digest.get(..16)?))
}
