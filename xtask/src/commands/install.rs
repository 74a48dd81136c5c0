//! `install`: the schema migrations of the trail.

use std::io::{Write, stdout};

use anyhow::Context;
use chrono::Utc;
use threadline_core::install;
use threadline_diesel::migrations::{first_version, suffix};

use crate::cli::InstallArgs;
use crate::exit::{Answer, Failure};
use crate::migrations_dir::{MigrationsDir, as_transaction};

pub(crate) fn run(args: &InstallArgs) -> Result<Answer, Failure> {
    if args.print {
        stdout()
            .write_all(as_transaction(&install::up_sql()).as_bytes())
            .context("cannot print")?;
        return Ok(Answer::Fine);
    }
    let mut written = 0;
    for migration in install::migrations() {
        let dir = MigrationsDir::open(&args.migrations.migrations_dir)?;
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
        let folder = dir.write(&version, title, &migration.up, &migration.down)?;
        writeln!(stdout(), "wrote {}", folder.display()).context("cannot print")?;
        written += 1;
    }
    if written == 0 {
        writeln!(
            stdout(),
            "the migrations of the trail in {} are up to date",
            args.migrations.migrations_dir.display()
        )
        .context("cannot print")?;
    }
    Ok(Answer::Fine)
}
