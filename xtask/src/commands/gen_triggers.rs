//! `gen-triggers`: the migration that captures tables.

use chrono::Utc;
use clap::Args;
use threadline_core::capture::CaptureMigration;
use threadline_core::table::{AuditedTable, TableName};
use threadline_diesel::coverage::shell_quoted;

use super::introspection::IntrospectionArgs;
use crate::args::{DatabaseArgs, MigrationsDirArgs};
use crate::exit::{Answer, Failure};
use crate::host::{Host, declared_tables};
use crate::migrations_dir::as_transaction;
use crate::on_disk::{OnDisk, introspected_marker};
use crate::output::text::{print_line, print_note, print_script};
use crate::policy_changes::describe_changes;

#[derive(Debug, Args)]
pub(crate) struct GenTriggersArgs {
    #[command(flatten)]
    source: IntrospectionArgs,
    #[command(flatten)]
    migrations: MigrationsDirArgs,
    /// Print up.sql for all tables instead of writing a migration.
    #[arg(long, conflicts_with = "check")]
    print: bool,
    /// Write nothing; exit 1 if a migration is missing.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(host: Host, args: GenTriggersArgs) -> Result<Answer, Failure> {
    let declared = declared_tables()?;
    let introspects = args.source.is_given();
    let on_disk = OnDisk::read(&args.migrations.open_if_found()?);
    let tables = if introspects {
        let declared: Vec<_> = declared.iter().map(AuditedTable::name).collect();
        args.source
            .load_tables(host, &args.database, &declared, &on_disk, !args.print)
            .await?
    } else {
        on_disk.expected_tables(declared.clone())
    };
    if tables.is_empty() {
        return Err(Failure::usage(if introspects {
            "there is no table to capture that the code does not declare"
        } else {
            "the code declares no audited table: derive Audited on its models and link them into this \
             xtask, or capture tables as the database defines them with --tables or --all-tables"
        }));
    }
    let introspected = |table: &AuditedTable| {
        introspects
            || on_disk.is_introspected(table.name())
                && !declared.iter().any(|known| known.name() == table.name())
    };
    if args.print {
        let migration = CaptureMigration::new(&tables, |_| None);
        let markers = introspected_markers(tables.iter().filter(|table| introspected(table)));
        print_script(&as_transaction(&format!("{markers}{}", migration.up())))?;
        return Ok(Answer::Fine);
    }
    let dir = args.migrations.open()?;
    let undeclared: Vec<_> = if introspects || declared.is_empty() {
        Vec::new()
    } else {
        on_disk.tables_not_in(&tables).collect()
    };
    let lagging: Vec<_> = tables
        .iter()
        .filter(|table| {
            !on_disk.captures(table)
                || introspected(table) && !on_disk.is_introspected(table.name())
        })
        .collect();
    let changes: Vec<_> = lagging
        .iter()
        .flat_map(|table| describe_table_changes(&on_disk, table))
        .collect();
    if args.check {
        return report(&undeclared, &lagging, &changes);
    }
    for table in &undeclared {
        print_note(&format!("warning: {}", describe_undeclared_table(table)));
    }
    if lagging.is_empty() {
        print_line(if undeclared.is_empty() {
            "the migrations are up to date"
        } else {
            "no migration was written"
        })?;
        return Ok(Answer::Fine);
    }
    let markers = introspected_markers(lagging.iter().copied().filter(|table| introspected(table)));
    let migration = CaptureMigration::new(lagging.iter().copied(), |table| on_disk.sql(table));
    let up = format!(
        "-- Changes:\n--   {}\n\n{markers}{}",
        changes.join("\n--   "),
        migration.up()
    );
    let written = dir.write(
        &dir.next_version(Utc::now()),
        "threadline_capture",
        &up,
        migration.down(),
    )?;
    print_line(&format!("wrote {}", written.display()))?;
    for change in changes {
        print_line(&format!("  {change}"))?;
    }
    Ok(Answer::Fine)
}

/// Prints the result of `--check`.
fn report(
    undeclared: &[&TableName],
    lagging: &[&AuditedTable],
    changes: &[String],
) -> Result<Answer, Failure> {
    for table in undeclared {
        print_line(&describe_undeclared_table(table))?;
    }
    for table in lagging {
        print_line(&format!(
            "table {} is not captured as declared",
            table.name()
        ))?;
    }
    for change in changes {
        print_line(&format!("  {change}"))?;
    }
    if !lagging.is_empty() {
        print_line("run the same command without --check and commit the migration")?;
    } else if undeclared.is_empty() {
        print_line("the migrations are up to date")?;
    }
    Ok(Answer::fine_if(lagging.is_empty() && undeclared.is_empty()))
}

/// The problem of a table that the migrations capture and the code does not declare, with its remedies.
pub(super) fn describe_undeclared_table(table: &TableName) -> String {
    let name = shell_quoted(&table.to_string());
    format!(
        "a migration captures table {table}, but the code does not declare it: disable-capture {name} to end \
         its capture, or gen-triggers --tables {name} to capture it as the database defines it"
    )
}

/// What the new migration changes for a table.
fn describe_table_changes(on_disk: &OnDisk, table: &AuditedTable) -> Vec<String> {
    let name = table.name();
    match (on_disk.hash(name), on_disk.declaration(name)) {
        (Some(_), None) => vec![format!(
            "{name}: the policy in the earlier migration cannot be read"
        )],
        (_, previous) => describe_changes(previous.as_ref(), table),
    }
}

fn introspected_markers<'a>(tables: impl Iterator<Item = &'a AuditedTable>) -> String {
    tables
        .map(|table| introspected_marker(table.name()) + "\n")
        .collect()
}
