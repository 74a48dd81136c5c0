//! `install`: the migrations of the trail.

use chrono::Utc;
use clap::{Args, ValueEnum};
use threadline_core::install::{self, PartitionWidth};
use threadline_diesel::migrations::{first_version, suffix};

use crate::args::MigrationsDirArgs;
use crate::exit::{Answer, Failure};
use crate::migrations_dir::as_transaction;
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
    let migrations = install::migrations()
        .into_iter()
        .map(|migration| migration.with_partition_width(args.partition_width.into()));
    if args.print {
        let scripts: Vec<_> = migrations.map(|migration| migration.up).collect();
        print_script(&as_transaction(&scripts.join("\n")))?;
        return Ok(Answer::Fine);
    }
    let mut written = 0;
    for migration in migrations {
        let dir = args.migrations.open()?;
        let suffix = suffix(migration.version);
        if dir.has_suffix(&suffix) {
            continue;
        }
        let version = if dir.migrations().is_empty() {
            first_version(migration.version)
        } else {
            dir.next_version(Utc::now())
        };
        let title = suffix.trim_start_matches('_');
        let path = dir.write(&version, title, &migration.up, &migration.down)?;
        print_line(&format!("wrote {}", path.display()))?;
        written += 1;
    }
    if written == 0 {
        print_line(&format!(
            "the migrations of the trail in {} are up to date",
            args.migrations.open()?.path().display()
        ))?;
    }
    Ok(Answer::Fine)
}
