//! Configuration that is shared with `diesel`: `.env`, `diesel.toml` and the directory of migrations.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use crate::exit::Failure;

/// The part of `diesel.toml` that this program uses.
#[derive(Debug, Default, Deserialize)]
struct DieselToml {
    migrations_directory: Option<MigrationsDirectory>,
}

#[derive(Debug, Deserialize)]
struct MigrationsDirectory {
    dir: PathBuf,
}

/// `DATABASE_URL` from the `.env` file in the current directory or the nearest parent that has one.
pub(crate) fn database_url_from_dotenv() -> Result<Option<String>, Failure> {
    let entries = match dotenvy::dotenv_iter() {
        Ok(entries) => entries,
        Err(error) if error.not_found() => return Ok(None),
        Err(error) => return Err(dotenv_failure(error)),
    };
    for entry in entries {
        let (name, value) = entry.map_err(dotenv_failure)?;
        if name == "DATABASE_URL" {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// A `.env` file that cannot be read. Syntax errors of dotenvy contain the line, which may be a secret.
fn dotenv_failure(error: dotenvy::Error) -> Failure {
    Failure::usage(match error {
        dotenvy::Error::LineParse(_, position) => format!(
            "cannot parse .env: syntax error in a line near column {position}; correct it or pass \
             --database-url"
        ),
        other => format!("cannot read .env: {other}"),
    })
}

/// The directory of migrations that `diesel` uses in a folder: that of `diesel.toml`, or else the nearest
/// directory `migrations`, both searched for upwards from the folder, which is absolute.
///
/// The directory of `diesel.toml` may not exist.
pub(crate) fn find_migrations_dir(folder: &Path) -> Result<Option<PathBuf>, Failure> {
    let here = env::current_dir().context("cannot read the current directory")?;
    let file = match env::var_os("DIESEL_CONFIG_FILE") {
        Some(file) => Some(here.join(file)),
        None => folder
            .ancestors()
            .map(|parent| parent.join("diesel.toml"))
            .find(|file| file.is_file()),
    };
    if let Some(file) = file
        && let Some(dir) = configured_dir(&file)?
    {
        return Ok(Some(shorten(&here, dir)));
    }
    Ok(folder
        .ancestors()
        .map(|parent| parent.join("migrations"))
        .find(|dir| dir.is_dir())
        .map(|dir| shorten(&here, dir)))
}

/// The directory of migrations in a `diesel.toml`, relative to that file.
fn configured_dir(file: &Path) -> Result<Option<PathBuf>, Failure> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let config: DieselToml = toml::from_str(&text).map_err(|error| {
        Failure::usage(format!(
            "cannot parse {}: {}",
            file.display(),
            error.message()
        ))
    })?;
    let parent = file.parent().unwrap_or(Path::new("."));
    Ok(config
        .migrations_directory
        .map(|directory| parent.join(directory.dir)))
}

/// The path relative to the current directory, if it is below it.
fn shorten(here: &Path, path: PathBuf) -> PathBuf {
    path.strip_prefix(here).map(Path::to_owned).unwrap_or(path)
}
