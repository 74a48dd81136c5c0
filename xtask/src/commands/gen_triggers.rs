//! `gen-triggers`: the migration that puts tables under capture.

use std::collections::BTreeMap;
use std::io::{Write, stdout};

use anyhow::Context;
use chrono::Utc;
use threadline_core::capture::{CaptureMigration, GeneratedPolicy};
use threadline_core::registry::registered_tables;
use threadline_core::table::{AuditedTable, TableName};
use threadline_diesel::introspection::IntrospectionError;
use threadline_diesel::nonblocking::introspect;

use super::redeploy;
use crate::cli::GenTriggersArgs;
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::migrations_dir::{MigrationsDir, as_transaction};
use crate::on_disk::OnDisk;

pub(crate) async fn run(args: GenTriggersArgs) -> Result<Answer, Failure> {
    if !args.redeploy.is_empty() {
        return redeploy::redeploy(&args).await;
    }
    if !args.retire.is_empty() {
        return redeploy::retire(&args);
    }
    let rules = Rules::parse(&args)?;
    let tables = rules.apply(declared_tables(&args).await?)?;
    if args.print {
        let migration = CaptureMigration::new(&tables, |_| None);
        stdout()
            .write_all(as_transaction(migration.up()).as_bytes())
            .context("cannot print")?;
        return Ok(Answer::Fine);
    }
    let dir = MigrationsDir::open(&args.migrations.migrations_dir)?;
    let deployed = OnDisk::read(&dir);
    let lagging: Vec<_> = tables
        .iter()
        .filter(|table| deployed.hash(table.name()) != Some(&GeneratedPolicy::new(table).hash))
        .collect();
    let mut out = stdout();
    if args.tables.is_empty() {
        for forgotten in deployed.tables_not_in(&tables) {
            eprintln!(
                "warning: table {forgotten} is captured by a migration, but no longer declared; \
                 its capture stays until `gen-triggers --retire {forgotten}` takes it off"
            );
        }
    }
    if lagging.is_empty() {
        writeln!(out, "the migrations are up to date with the code").context("cannot print")?;
        return Ok(Answer::Fine);
    }
    if args.check {
        for table in &lagging {
            writeln!(out, "table {} is not captured as declared", table.name())
                .context("cannot print")?;
        }
        writeln!(out, "run gen-triggers and commit the migration").context("cannot print")?;
        return Ok(Answer::Bad);
    }
    let migration = CaptureMigration::new(lagging.iter().copied(), |table| deployed.sql(table));
    let written = dir.write(
        &dir.next_version(Utc::now()),
        "threadline_capture",
        migration.up(),
        migration.down(),
    )?;
    writeln!(out, "wrote {}", written.display()).context("cannot print")?;
    for table in lagging {
        writeln!(out, "  captures {}", table.name()).context("cannot print")?;
    }
    Ok(Answer::Fine)
}

/// The tables to capture: those that were named, as the database has them, or those the code
/// declares.
async fn declared_tables(args: &GenTriggersArgs) -> Result<Vec<AuditedTable>, Failure> {
    if args.tables.is_empty() {
        let tables = registered_tables().map_err(|wrong| Failure::usage(wrong.to_string()))?;
        if tables.is_empty() {
            return Err(Failure::usage(
                "the code declares no audited table: derive Audited on its models and link them \
                 into this xtask, or name tables with --tables",
            ));
        }
        return Ok(tables);
    }
    let mut conn = connect(&args.database).await?;
    let mut names = args.tables.clone();
    names.sort();
    let twice = names.windows(2).find_map(|pair| match pair {
        [one, other] if one == other => Some(one),
        _ => None,
    });
    if let Some(table) = twice {
        return Err(Failure::usage(format!("table {table} is named twice")));
    }
    let mut tables = Vec::new();
    for name in names {
        let table = introspect(&mut conn, &name)
            .await
            .map_err(|error| match error {
                IntrospectionError::Database(error) => {
                    Failure::CouldNotRun(anyhow::Error::new(error).context("cannot introspect"))
                }
                other => Failure::usage(other.to_string()),
            })?;
        tables.push(table);
    }
    Ok(tables)
}

/// Rules from the command line, by table.
#[derive(Debug, Default)]
struct Rules(BTreeMap<TableName, TableRules>);

/// The columns of a table that have a rule.
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

    /// Adds the rules to their tables. A rule without its table is an error: the column would be
    /// stored in clear.
    fn apply(mut self, tables: Vec<AuditedTable>) -> Result<Vec<AuditedTable>, Failure> {
        let mut with_rules = Vec::new();
        for table in tables {
            with_rules.push(match self.0.remove(table.name()) {
                Some(rules) => table
                    .redact(rules.exclude, rules.mask)
                    .and_then(|table| table.ignoring(rules.ignore))
                    .map_err(|wrong| Failure::usage(wrong.to_string()))?,
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

/// `table.column` or `schema.table.column`, parts quoted as in SQL.
fn parse_column(text: &str) -> Result<(TableName, String), Failure> {
    let wrong = || {
        Failure::usage(format!(
            "`{text}` names no column: write table.column or schema.table.column"
        ))
    };
    let (table, column) = TableName::split_column(text).ok_or_else(wrong)?;
    Ok((table, column))
}
