//! Looking for an installed server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::{self, variable};
use crate::download;
use crate::user::ServerUser;
use crate::{BinariesError, MajorVersion, ServerBinaries};

const OVERRIDE: &str = "THREADLINE_PG_BIN";

/// Where packages put servers: the part before the version, the part after it.
const VERSIONED: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// Where a build from source puts its only server.
const UNVERSIONED: &str = "/usr/local/pgsql/bin";

pub(crate) fn locate(version: Option<MajorVersion>) -> Result<ServerBinaries, BinariesError> {
    let mut looked_at = Vec::new();
    if let Some(folder) = variable(OVERRIDE) {
        let binaries = ServerBinaries::check(&folder, " (from THREADLINE_PG_BIN)")?;
        if version.is_none_or(|wanted| wanted == binaries.version()) {
            return Ok(binaries);
        }
        looked_at.push(format!(
            "{} (from {OVERRIDE}): is version {}",
            folder.display(),
            binaries.version()
        ));
    }
    for folder in places(version) {
        match ServerBinaries::check(&folder, "") {
            Ok(found) if version.is_none_or(|wanted| wanted == found.version()) => {
                return Ok(found);
            }
            Ok(other) => {
                looked_at.push(format!(
                    "{}: is version {}",
                    folder.display(),
                    other.version()
                ));
            }
            Err(reason) => looked_at.push(reason_in_short(&folder, &reason)),
        }
    }
    if looked_at.is_empty() {
        looked_at.push("pg_config and the usual folders: nothing there".to_owned());
    }
    Err(BinariesError::NotFound {
        wanted: version,
        looked_at,
    })
}

fn places(version: Option<MajorVersion>) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = named_by_pg_config().into_iter().collect();
    for (parent, prefix, below) in VERSIONED {
        places.extend(newest_first(Path::new(parent), prefix, below));
    }
    if Path::new(UNVERSIONED).is_dir() {
        places.push(PathBuf::from(UNVERSIONED));
    }
    // A cache that cannot be used holds nothing either.
    let cached = ServerUser::current()
        .map_err(BinariesError::io("asking for the owner of", "this process"))
        .and_then(cache::folder)
        .map(|cache| download::cached(&cache, version));
    places.extend(cached.unwrap_or_default());
    let mut seen = Vec::new();
    places.retain(|place| {
        let real = place.canonicalize().unwrap_or_else(|_| place.clone());
        let new = !seen.contains(&real);
        seen.push(real);
        new
    });
    places
}

/// `pg_config` comes with the client library as well, so the folder may hold no server.
fn named_by_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    let folder = folder.trim();
    (output.status.success() && !folder.is_empty()).then(|| PathBuf::from(folder))
}

fn newest_first(parent: &Path, prefix: &str, below: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<(u16, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let number = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path().join(below)))
        })
        .collect();
    found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    found.into_iter().map(|(_, folder)| folder).collect()
}

fn reason_in_short(folder: &Path, reason: &BinariesError) -> String {
    let why = match reason {
        BinariesError::NotAServer { program, .. } => format!("has no `{program}`"),
        BinariesError::OutOfReach { obstacle, .. } => {
            format!("is closed to the server's user by {}", obstacle.display())
        }
        BinariesError::Broken { what, .. } => format!("does not run: {what}"),
        other => other.to_string(),
    };
    format!("{}: {why}", folder.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_versions_come_first_by_number_not_by_text() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["pgsql-9", "pgsql-16", "pgsql-10", "pgsql-extras", "other"] {
            fs::create_dir(parent.path().join(name)).unwrap();
        }

        let found = newest_first(parent.path(), "pgsql-", "bin");

        let expected: Vec<PathBuf> = ["pgsql-16", "pgsql-10", "pgsql-9"]
            .map(|name| parent.path().join(name).join("bin"))
            .into();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_version_nobody_has_is_not_found_and_says_what_to_install() {
        let error = locate(Some(MajorVersion::new(3))).unwrap_err().to_string();

        assert!(error.starts_with("install a PostgreSQL server"), "{error}");
        assert!(error.contains("no server 3 was found"), "{error}");
    }
}
