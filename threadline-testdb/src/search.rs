//! Finds an installed server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::{self, path_variable};
use crate::download;
use crate::user::ServerUser;
use crate::{BinariesError, MajorVersion, ServerBinaries};

/// The environment variable that names the directory of the programs.
const BIN_VARIABLE: &str = "THREADLINE_PG_BIN";

/// Directories of packaged servers: parent, prefix of the version, subdirectory.
const PACKAGE_DIRECTORIES: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// The default directory of a build from source.
const SOURCE_DIRECTORY: &str = "/usr/local/pgsql/bin";

pub(crate) fn locate(version: Option<MajorVersion>) -> Result<ServerBinaries, BinariesError> {
    let mut searched = Vec::new();
    if let Some(directory) = path_variable(BIN_VARIABLE) {
        let binaries = ServerBinaries::check(&directory, " (from THREADLINE_PG_BIN)")?;
        if version.is_none_or(|wanted| wanted == binaries.version()) {
            return Ok(binaries);
        }
        searched.push(format!(
            "{} (from {BIN_VARIABLE}): is version {}",
            directory.display(),
            binaries.version()
        ));
    }
    for directory in candidate_directories(version) {
        match ServerBinaries::check(&directory, "") {
            Ok(found) if version.is_none_or(|wanted| wanted == found.version()) => {
                return Ok(found);
            }
            Ok(other) => {
                searched.push(format!(
                    "{}: is version {}",
                    directory.display(),
                    other.version()
                ));
            }
            Err(error) => searched.push(format_reason(&directory, &error)),
        }
    }
    if searched.is_empty() {
        searched.push("pg_config and the directories of the usual packages: no server".to_owned());
    }
    Err(BinariesError::NotFound {
        wanted: version,
        searched,
    })
}

fn candidate_directories(version: Option<MajorVersion>) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = pg_config_directory().into_iter().collect();
    for (parent, prefix, subdirectory) in PACKAGE_DIRECTORIES {
        directories.extend(versioned_directories(
            Path::new(parent),
            prefix,
            subdirectory,
        ));
    }
    if Path::new(SOURCE_DIRECTORY).is_dir() {
        directories.push(PathBuf::from(SOURCE_DIRECTORY));
    }
    // An unusable cache has no servers.
    let cached = ServerUser::for_current_process()
        .map_err(BinariesError::io("finding the user of", "this process"))
        .and_then(cache::cache_directory)
        .map(|cache| download::cached(&cache, version));
    directories.extend(cached.unwrap_or_default());
    let mut seen = Vec::new();
    directories.retain(|directory| {
        let real = directory
            .canonicalize()
            .unwrap_or_else(|_| directory.clone());
        let is_new = !seen.contains(&real);
        seen.push(real);
        is_new
    });
    directories
}

/// The output of `pg_config --bindir`. Client packages have `pg_config` too, so the directory may
/// have no server.
fn pg_config_directory() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let directory = text.trim();
    (output.status.success() && !directory.is_empty()).then(|| PathBuf::from(directory))
}

/// The existing directories of a package, newest version first.
fn versioned_directories(parent: &Path, prefix: &str, subdirectory: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<(u16, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let number = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path().join(subdirectory)))
        })
        .collect();
    found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    found.into_iter().map(|(_, directory)| directory).collect()
}

/// One line of [`BinariesError::NotFound`].
fn format_reason(directory: &Path, error: &BinariesError) -> String {
    let reason = match error {
        BinariesError::NotAServer { program, .. } => format!("has no `{program}`"),
        BinariesError::Inaccessible { closed, .. } => {
            format!("the server's user cannot enter {}", closed.display())
        }
        BinariesError::NotRunnable { what, .. } => format!("does not run: {what}"),
        other => other.to_string(),
    };
    format!("{}: {reason}", directory.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_sorted_by_number_newest_first() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["pgsql-9", "pgsql-16", "pgsql-10", "pgsql-extras", "other"] {
            fs::create_dir(parent.path().join(name)).unwrap();
        }

        let found = versioned_directories(parent.path(), "pgsql-", "bin");

        let expected: Vec<PathBuf> = ["pgsql-16", "pgsql-10", "pgsql-9"]
            .map(|name| parent.path().join(name).join("bin"))
            .into();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_missing_version_is_reported_with_the_package_to_install() {
        let error = locate(Some(MajorVersion::new(3))).unwrap_err().to_string();

        assert!(error.starts_with("install a PostgreSQL server"), "{error}");
        assert!(error.contains("no server 3 was found"), "{error}");
    }
}
