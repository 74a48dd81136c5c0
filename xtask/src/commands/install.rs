//! `install`: the base migration.

use std::io::{Write, stdout};

use anyhow::Context;
use chrono::Utc;
use threadline_core::install;
use threadline_diesel::migrations::BASE_VERSION;

use crate::cli::InstallArgs;
use crate::exit::{Answer, Failure};
use crate::migrations_dir::MigrationsDir;

/// The title of every base migration, the first and those that bring it up to date.
const TITLE: &str = "threadline_base";

pub(crate) fn run(args: &InstallArgs) -> Result<Answer, Failure> {
    let up = install::up_sql();
    if args.print {
        stdout().write_all(up.as_bytes()).context("cannot print")?;
        return Ok(Answer::Fine);
    }
    let dir = MigrationsDir::open(&args.migrations.migrations_dir)?;
    let newest = dir
        .migrations()
        .iter()
        .rfind(|migration| migration.title() == TITLE);
    let written = match newest {
        Some(migration) if migration.up_sql == up => {
            writeln!(stdout(), "{} is up to date", migration.name).context("cannot print")?;
            return Ok(Answer::Fine);
        }
        Some(_) => dir.write(
            &dir.next_version(Utc::now()),
            TITLE,
            &up,
            "-- The trail is not taken back to an older shape.\nSELECT 1;\n",
        )?,
        None => {
            let version = BASE_VERSION.trim_end_matches(TITLE).trim_end_matches('_');
            dir.write(version, TITLE, &up, &install::down_sql())?
        }
    };
    writeln!(stdout(), "wrote {}", written.display()).context("cannot print")?;
    Ok(Answer::Fine)
}
