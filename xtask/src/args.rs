//! Options that several commands share.

mod export_form;
mod job;
mod timeline_filters;
mod window;

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use threadline_core::row_key::RowKeyInput;
use threadline_core::table::TableName;

pub(crate) use self::export_form::ExportFormArgs;
pub(crate) use self::job::{JobArgs, StorageArgs};
pub(crate) use self::timeline_filters::TimelineFilterArgs;
pub(crate) use self::window::{Window, WindowArgs};
use crate::diesel_config::find_migrations_dir;
use crate::exit::Failure;
use crate::migrations_dir::MigrationsDir;
use crate::output::page::ListFormat;

#[derive(Debug, Clone, Args)]
pub(crate) struct DatabaseArgs {
    /// The database, as a postgres:// URL; by default `DATABASE_URL` of the environment or of `.env`.
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub(crate) database_url: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct MigrationsDirArgs {
    /// The directory of Diesel migrations; by default that of `diesel.toml`, or else `migrations` in the
    /// current directory or its nearest parent.
    #[arg(long, value_name = "DIR", env = "MIGRATION_DIRECTORY")]
    migrations_dir: Option<PathBuf>,
}

impl MigrationsDirArgs {
    /// Opens the directory. It must exist.
    pub(crate) fn open(&self) -> Result<MigrationsDir, Failure> {
        self.open_from(&current_dir()?)
    }

    /// Opens the directory. Without an option, it is searched for from this folder upwards.
    pub(crate) fn open_from(&self, folder: &Path) -> Result<MigrationsDir, Failure> {
        match self.find(folder)? {
            Some(path) => Ok(MigrationsDir::open(&path)?),
            None => Err(Failure::usage(
                "there is no directory of migrations: no diesel.toml names one, and neither the current \
                 directory nor a parent contains `migrations`; run `diesel setup`, create it, or pass \
                 --migrations-dir",
            )),
        }
    }

    /// Opens the directory, or none if neither an option nor `diesel.toml` names one and there is no directory
    /// `migrations`.
    pub(crate) fn open_if_found(&self) -> Result<MigrationsDir, Failure> {
        match self.find(&current_dir()?)? {
            Some(path) => Ok(MigrationsDir::open(&path)?),
            None => Ok(MigrationsDir::default()),
        }
    }

    fn find(&self, folder: &Path) -> Result<Option<PathBuf>, Failure> {
        let path = match &self.migrations_dir {
            Some(path) => Some(path.clone()),
            None => find_migrations_dir(folder)?,
        };
        match path {
            Some(path) if !path.is_dir() => Err(Failure::usage(format!(
                "the directory of migrations {} does not exist; create it, or correct --migrations-dir, \
                 MIGRATION_DIRECTORY or diesel.toml",
                path.display()
            ))),
            path => Ok(path),
        }
    }
}

pub(crate) fn current_dir() -> Result<PathBuf, Failure> {
    Ok(env::current_dir().context("cannot read the current directory")?)
}

/// Output of an answer that is one document.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Output of an answer that is a page of a list.
#[derive(Debug, Args)]
pub(crate) struct ListOutputArgs {
    /// Print the page as one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the entries of the page as JSON, one per line.
    #[arg(long, conflicts_with = "json")]
    pub(crate) ndjson: bool,
}

impl ListOutputArgs {
    pub(crate) fn format(&self) -> ListFormat {
        if self.json {
            ListFormat::Json
        } else if self.ndjson {
            ListFormat::Ndjson
        } else {
            ListFormat::Table
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    /// Show at most this number of entries, up to 10000. By default 50, or on a terminal as many as fit.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u32>,
    /// Show the page after this cursor, which an earlier call printed.
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<String>,
    /// Show the page before this cursor, which an earlier call printed.
    #[arg(long, value_name = "CURSOR", conflicts_with = "after")]
    pub(crate) before: Option<String>,
}

/// One row of one table.
#[derive(Debug, Args)]
pub(crate) struct RowArgs {
    /// The table: `orders` or `schema.orders`.
    pub(crate) table: TableName,
    /// The key of the row: the value; for a composite key `column=value,column=value`, or a JSON array of the
    /// values.
    pub(crate) key: RowKeyInput,
}

/// The options of a host's demonstration.
#[derive(Debug, Clone, Args)]
#[non_exhaustive]
pub struct DemoArgs {
    /// Leave the server running and print how to connect.
    #[arg(long)]
    pub keep: bool,
    /// Leave the application and its console running until Ctrl-C, and print addresses and logins.
    #[arg(long, conflicts_with = "keep")]
    pub serve: bool,
    /// Use this database instead of a throwaway server.
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
}
