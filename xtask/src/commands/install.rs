//! `install`: the migrations of the trail.

use std::path::Path;

use chrono::Utc;
use clap::{Args, ValueEnum};
use threadline_core::install::{self, PartitionWidth, SchemaMigration};
use threadline_diesel::migrations::{first_version, suffix};

use crate::args::MigrationsDirArgs;
use crate::exit::{Answer, Failure};
use crate::migrations_dir::{MigrationsDir, as_transaction};
use crate::output::text::{print_line, print_script};

#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    #[command(flatten)]
    migrations: MigrationsDirArgs,
    /// Print up.sql instead of writing migrations.
    #[arg(long)]
    print: bool,
    /// The time span of one partition of the trail. An installed trail stores it in
    /// `threadline.audit_settings`.
    #[arg(long, value_enum, default_value = "month")]
    partition_width: PartitionWidthArg,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PartitionWidthArg {
    Month,
    Week,
    Day,
}

impl From<PartitionWidthArg> for PartitionWidth {
    fn from(width: PartitionWidthArg) -> Self {
        match width {
            PartitionWidthArg::Month => Self::Month,
            PartitionWidthArg::Week => Self::Week,
            PartitionWidthArg::Day => Self::Day,
        }
    }
}

pub(crate) fn run(args: &InstallArgs) -> Result<Answer, Failure> {
    if args.print {
        let migrations = install::migrations()
            .into_iter()
            .map(|migration| migration.with_partition_width(args.partition_width.into()));
        let scripts: Vec<_> = migrations.map(|migration| migration.up).collect();
        print_script(&as_transaction(&scripts.join("\n")))?;
        return Ok(Answer::Fine);
    }
    let dir = args.migrations.open()?;
    if !write_missing(dir.path(), args.partition_width.into())? {
        print_line(&format!(
            "the migrations of the trail in {} are up to date",
            dir.path().display()
        ))?;
    }
    Ok(Answer::Fine)
}

/// The migrations of the trail that a directory does not have, each with its suffix.
pub(super) fn missing_migrations(dir: &MigrationsDir) -> Vec<(SchemaMigration, String)> {
    install::migrations()
        .into_iter()
        .map(|migration| (suffix(migration.version), migration))
        .filter(|(suffix, _)| !dir.has_suffix(suffix))
        .map(|(suffix, migration)| (migration, suffix))
        .collect()
}

/// Writes the migrations of the trail that a directory does not have. Returns whether there were any.
pub(super) fn write_missing(path: &Path, width: PartitionWidth) -> Result<bool, Failure> {
    let missing = missing_migrations(&MigrationsDir::open(path)?);
    for (migration, suffix) in &missing {
        let dir = MigrationsDir::open(path)?;
        let migration = migration.clone().with_partition_width(width);
        let version = if dir.migrations().is_empty() {
            first_version(migration.version)
        } else {
            dir.next_version(Utc::now())
        };
        let title = suffix.trim_start_matches('_');
        let written = dir.write(&version, title, &migration.up, &migration.down)?;
        print_line(&format!("wrote {}", written.display()))?;
    }
    Ok(!missing.is_empty())
}
