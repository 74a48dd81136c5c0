//! `gen-triggers`: the migration that captures tables.

use std::collections::BTreeMap;

use chrono::Utc;
use clap::Args;
use threadline_core::capture::{CaptureMigration, GeneratedPolicy};
use threadline_core::registry::registered_tables;
use threadline_core::table::{AuditedTable, TableName};
use threadline_diesel::introspect;
use threadline_diesel::introspection::IntrospectionError;

use crate::args::{DatabaseArgs, MigrationsDirArgs};
use crate::connection::read;
use crate::exit::{Answer, Failure};
use crate::migrations_dir::as_transaction;
use crate::on_disk::OnDisk;
use crate::output::text::{print_line, print_note, print_script};
use crate::policy_changes::describe_changes;

#[derive(Debug, Args)]
pub(crate) struct GenTriggersArgs {
    /// Capture these tables as the database defines them, instead of those that the code declares:
    /// `a,b,schema.c`, quoted as in SQL.
    #[arg(long, value_name = "TABLES", value_delimiter = ',')]
    tables: Vec<TableName>,
    /// Never store this column: `table.column` or `schema.table.column`.
    #[arg(long, value_name = "COLUMN")]
    exclude: Vec<String>,
    /// Store a placeholder instead of the values of this column.
    #[arg(long, value_name = "COLUMN")]
    mask: Vec<String>,
    /// Store this column, but record no update that changes it alone.
    #[arg(long, value_name = "COLUMN")]
    ignore: Vec<String>,
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

pub(crate) async fn run(args: GenTriggersArgs) -> Result<Answer, Failure> {
    let rules = Rules::parse(&args)?;
    let tables = rules.apply(load_tables(&args).await?)?;
    if args.print {
        let migration = CaptureMigration::new(&tables, |_| None);
        print_script(&as_transaction(migration.up()))?;
        return Ok(Answer::Fine);
    }
    let dir = args.migrations.open()?;
    let on_disk = OnDisk::read(&dir);
    if args.tables.is_empty() {
        for table in on_disk.tables_not_in(&tables) {
            print_note(&format!(
                "warning: a migration captures table {table}, but the code no longer declares it; run \
                 `disable-capture {table}` to end its capture"
            ));
        }
    }
    let lagging: Vec<_> = tables
        .iter()
        .filter(|table| on_disk.hash(table.name()) != Some(&GeneratedPolicy::new(table).hash))
        .collect();
    if lagging.is_empty() {
        print_line("the migrations are up to date with the code")?;
        return Ok(Answer::Fine);
    }
    let changes: Vec<_> = lagging
        .iter()
        .flat_map(|table| {
            match (
                on_disk.hash(table.name()),
                on_disk.declaration(table.name()),
            ) {
                (Some(_), None) => vec![format!(
                    "{}: the policy in the earlier migration cannot be read",
                    table.name()
                )],
                (_, previous) => describe_changes(previous.as_ref(), table),
            }
        })
        .collect();
    if args.check {
        for table in &lagging {
            print_line(&format!(
                "table {} is not captured as declared",
                table.name()
            ))?;
        }
        for change in &changes {
            print_line(&format!("  {change}"))?;
        }
        print_line("run gen-triggers and commit the migration")?;
        return Ok(Answer::Bad);
    }
    let migration = CaptureMigration::new(lagging.iter().copied(), |table| on_disk.sql(table));
    let up = format!(
        "-- Changes:\n--   {}\n\n{}",
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

/// The tables of `--tables` as the database defines them, or else those that the code declares.
async fn load_tables(args: &GenTriggersArgs) -> Result<Vec<AuditedTable>, Failure> {
    if args.tables.is_empty() {
        let tables = registered_tables().map_err(Failure::usage)?;
        if tables.is_empty() {
            return Err(Failure::usage(
                "the code declares no audited table: derive Audited on its models and link them \
                 into this xtask, or name tables with --tables",
            ));
        }
        return Ok(tables);
    }
    let mut names = args.tables.clone();
    names.sort();
    let duplicate = names.windows(2).find_map(|pair| match pair {
        [one, other] if one == other => Some(one),
        _ => None,
    });
    if let Some(table) = duplicate {
        return Err(Failure::usage(format!("table {table} is named twice")));
    }
    read(&args.database, async |conn| {
        let mut tables = Vec::new();
        for name in names {
            let table = introspect(conn, &name).await.map_err(|error| match error {
                IntrospectionError::Database(error) => {
                    Failure::CouldNotRun(anyhow::Error::new(error).context("cannot introspect"))
                }
                other => Failure::usage(other),
            })?;
            tables.push(table);
        }
        Ok(tables)
    })
    .await
}

/// The redaction rules on the command line, by table.
#[derive(Debug, Default)]
struct Rules(BTreeMap<TableName, TableRules>);

/// The columns of a table with a rule.
#[derive(Debug, Default)]
struct TableRules {
    exclude: Vec<String>,
    mask: Vec<String>,
    ignore: Vec<String>,
}

impl Rules {
    fn parse(args: &GenTriggersArgs) -> Result<Self, Failure> {
        let mut rules = Self::default();
        for text in &args.exclude {
            let (table, column) = parse_column(text)?;
            rules.0.entry(table).or_default().exclude.push(column);
        }
        for text in &args.mask {
            let (table, column) = parse_column(text)?;
            rules.0.entry(table).or_default().mask.push(column);
        }
        for text in &args.ignore {
            let (table, column) = parse_column(text)?;
            rules.0.entry(table).or_default().ignore.push(column);
        }
        Ok(rules)
    }

    /// Adds the rules to their tables. A rule for another table is an error, because its column would be
    /// stored in clear.
    fn apply(mut self, tables: Vec<AuditedTable>) -> Result<Vec<AuditedTable>, Failure> {
        let mut with_rules = Vec::new();
        for table in tables {
            with_rules.push(match self.0.remove(table.name()) {
                Some(rules) => table
                    .redact(rules.exclude, rules.mask)
                    .and_then(|table| table.ignore(rules.ignore))
                    .map_err(Failure::usage)?,
                None => table,
            });
        }
        match self.0.into_keys().next() {
            Some(unknown) => Err(Failure::usage(format!(
                "a rule names table {unknown}, which is not among the tables to capture"
            ))),
            None => Ok(with_rules),
        }
    }
}

/// Parses `table.column` or `schema.table.column`, quoted as in SQL.
fn parse_column(text: &str) -> Result<(TableName, String), Failure> {
    TableName::split_column(text).ok_or_else(|| {
        Failure::usage(format!(
            "`{text}` is not a column; write table.column or schema.table.column"
        ))
    })
}
