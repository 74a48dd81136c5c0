//! A host's directory of Diesel migrations.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

/// A migration on disk.
#[derive(Debug, Clone)]
pub(crate) struct Migration {
    /// The name of the directory: version, underscore, title.
    pub(crate) name: String,
    pub(crate) up_sql: String,
}

impl Migration {
    pub(crate) fn version(&self) -> String {
        parse_version(&self.name)
    }
}

/// The version in the form that Diesel compares: without hyphens.
fn parse_version(name: &str) -> String {
    name.split('_').next().unwrap_or(name).replace('-', "")
}

/// A directory of migrations.
#[derive(Debug, Default)]
pub(crate) struct MigrationsDir {
    path: PathBuf,
    migrations: Vec<Migration>,
}

impl MigrationsDir {
    /// Reads the directory.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let mut migrations = Vec::new();
        let entries =
            fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
        for entry in entries {
            let folder = entry?.path();
            let up = folder.join("up.sql");
            let Some(name) = folder.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if up.is_file() {
                migrations.push(Migration {
                    name: name.to_owned(),
                    up_sql: fs::read_to_string(&up)
                        .with_context(|| format!("cannot read {}", up.display()))?,
                });
            }
        }
        migrations.sort_by_key(Migration::version);
        Ok(Self {
            path: path.to_owned(),
            migrations,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The migrations in the order in which they are applied.
    pub(crate) fn migrations(&self) -> &[Migration] {
        &self.migrations
    }

    /// Whether the name of a migration has this suffix.
    pub(crate) fn has_suffix(&self, suffix: &str) -> bool {
        self.migrations
            .iter()
            .any(|migration| migration.name.ends_with(suffix))
    }

    /// A version later than those of all migrations, including one dated in the future.
    pub(crate) fn next_version(&self, now: DateTime<Utc>) -> String {
        const FORMAT: &str = "%Y%m%d%H%M%S";
        let newest = self
            .migrations
            .iter()
            .filter_map(|migration| {
                NaiveDateTime::parse_from_str(migration.version().get(..14)?, FORMAT).ok()
            })
            .max();
        let now = now.naive_utc();
        let next = match newest {
            Some(newest) if newest >= now - TimeDelta::seconds(1) => newest + TimeDelta::seconds(1),
            _ => now,
        };
        next.format("%Y-%m-%d-%H%M%S").to_string()
    }

    /// Writes a migration atomically and returns its directory.
    pub(crate) fn write(
        &self,
        version: &str,
        title: &str,
        up_sql: &str,
        down_sql: &str,
    ) -> anyhow::Result<PathBuf> {
        let folder = self.path.join(format!("{version}_{title}"));
        ensure!(!folder.exists(), "{} exists already", folder.display());
        // Diesel ignores directories whose names begin with a dot.
        let unfinished = self.path.join(format!(".{version}_{title}"));
        fs::create_dir_all(&unfinished)
            .with_context(|| format!("cannot create {}", unfinished.display()))?;
        for (file, sql) in [("up.sql", up_sql), ("down.sql", down_sql)] {
            let file = unfinished.join(file);
            fs::write(&file, sql).with_context(|| format!("cannot write {}", file.display()))?;
        }
        fs::rename(&unfinished, &folder)
            .with_context(|| format!("cannot write {}", folder.display()))?;
        Ok(folder)
    }
}

/// The SQL of a migration in a transaction, as Diesel runs it.
pub(crate) fn as_transaction(up_sql: &str) -> String {
    format!("BEGIN;\n\n{}\n\nCOMMIT;\n", up_sql.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_version_is_later_than_one_dated_in_the_future() {
        let folder = tempfile::tempdir().unwrap();
        let future = folder.path().join("2099-01-01-000000_future");
        fs::create_dir(&future).unwrap();
        fs::write(future.join("up.sql"), "").unwrap();
        let dir = MigrationsDir::open(folder.path()).unwrap();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(dir.next_version(now), "2099-01-01-000001");
    }
}
