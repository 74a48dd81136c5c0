//! The tables that `gen-triggers` captures as the database defines them, and their rules.

use std::collections::BTreeMap;

use clap::Args;
use threadline_core::expected_gap::expected_gaps;
use threadline_core::table::{
    AuditedTable, Column, ColumnRule, InvalidTable, RowKey, TableName, TableProblem,
};
use threadline_diesel::introspection::IntrospectionError;
use threadline_diesel::{introspect, list_tables};

use crate::args::DatabaseArgs;
use crate::connection::read;
use crate::exit::Failure;
use crate::host::Host;
use crate::on_disk::OnDisk;
use crate::output::text::print_note;

/// Tables that are captured as the database defines them, and their redaction rules.
#[derive(Debug, Args)]
pub(super) struct IntrospectionArgs {
    /// Capture these tables as the database defines them: `a,b,schema.c`, quoted as in SQL. The code must not
    /// declare them.
    #[arg(
        long,
        value_name = "TABLES",
        value_delimiter = ',',
        group = "introspected"
    )]
    tables: Vec<TableName>,
    /// Capture all tables as the database defines them, except those that the code declares, expected gaps,
    /// and tables of extensions.
    #[arg(long, group = "introspected", conflicts_with = "tables")]
    all_tables: bool,
    /// With --all-tables: only tables of this schema; may be repeated.
    #[arg(long, value_name = "SCHEMA", requires = "all_tables")]
    schema: Vec<String>,
    /// Never store this column: `table.column` or `schema.table.column`.
    #[arg(long, value_name = "COLUMN", requires = "introspected")]
    exclude: Vec<String>,
    /// Store a placeholder instead of the values of this column.
    #[arg(long, value_name = "COLUMN", requires = "introspected")]
    mask: Vec<String>,
    /// Store a placeholder instead of the values of this column, but NULL as NULL.
    #[arg(long, value_name = "COLUMN", requires = "introspected")]
    mask_keep_null: Vec<String>,
    /// Store this column, but record no update that changes it alone.
    #[arg(long, value_name = "COLUMN", requires = "introspected")]
    ignore: Vec<String>,
    /// Store this column in clear. Without this option a column keeps the rule that it has in the migrations.
    #[arg(long, value_name = "COLUMN", requires = "introspected")]
    clear: Vec<String>,
}

impl IntrospectionArgs {
    /// Whether tables are introspected.
    pub(super) fn is_given(&self) -> bool {
        self.all_tables || !self.tables.is_empty()
    }

    /// The tables as the database defines them, with their rules. Reports all refused tables and rules.
    /// `is_written` is false if no migration is written.
    pub(super) async fn load_tables(
        &self,
        host: Host,
        database: &DatabaseArgs,
        declared: &[&TableName],
        on_disk: &OnDisk,
        is_written: bool,
    ) -> Result<Vec<AuditedTable>, Failure> {
        let mut rules = TableRules::parse(self)?;
        let gaps = expected_gaps()
            .map_err(Failure::usage)?
            .into_iter()
            .chain(host.expected_gaps.iter().copied())
            .map(|gap| gap.table());
        let gaps = Failure::collect(gaps)?;
        // A program without models does not know which tables the code declares.
        let of_xtask =
            |name: &TableName| is_written && declared.is_empty() && on_disk.is_from_code(name);
        let refused = self.refuse_known_tables(declared, &gaps, of_xtask);
        let found = read(database, async |conn| {
            let names = if self.all_tables {
                list_tables(conn, &self.schema)
                    .await
                    .map_err(introspection_failure)?
                    .into_iter()
                    .filter(|name| {
                        !declared.contains(&name) && !gaps.contains(name) && !of_xtask(name)
                    })
                    .collect()
            } else {
                self.tables.clone()
            };
            let mut found = Vec::new();
            for name in names {
                match introspect(conn, &name).await {
                    Err(IntrospectionError::Database(error)) => {
                        return Err(introspection_failure(error.into()));
                    }
                    result => found.push(result),
                }
            }
            Ok(found)
        })
        .await?;
        let mut results: Vec<Result<AuditedTable, String>> = refused.into_iter().map(Err).collect();
        for table in found {
            match table {
                // Nobody named the table, so the others are captured.
                Err(error) if self.all_tables => {
                    print_note(&format!("warning: not captured: {error}"));
                }
                Err(error) => results.push(Err(error.to_string())),
                Ok(table) => {
                    let previous = on_disk.declaration(table.name());
                    let rules = rules.remove(table.name());
                    results.push(
                        rules
                            .apply(&table, previous.as_ref())
                            .map_err(|error| error.to_string()),
                    );
                }
            }
        }
        results.extend(rules.0.into_keys().map(|unknown| {
            Err(format!(
                "a rule names table {unknown}, which is not among the tables to capture"
            ))
        }));
        let mut tables = Failure::collect(results)?;
        tables.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(tables)
    }

    /// The errors for tables of `--tables` that are named twice, or that the code mentions.
    fn refuse_known_tables(
        &self,
        declared: &[&TableName],
        gaps: &[TableName],
        of_xtask: impl Fn(&TableName) -> bool,
    ) -> Vec<String> {
        let mut errors = Vec::new();
        for (position, name) in self.tables.iter().enumerate() {
            if self.tables[..position].contains(name) {
                errors.push(format!("table {name} is named twice"));
            } else if declared.contains(&name) {
                errors.push(format!(
                    "the code declares table {name}: change the attributes of its model and run gen-triggers \
                     without --tables"
                ));
            } else if gaps.contains(name) {
                errors.push(format!(
                    "the code declares table {name} as an expected gap: remove expected_gap! first"
                ));
            } else if of_xtask(name) {
                errors.push(format!(
                    "a migration captures table {name} as code declares it: run gen-triggers of the xtask that \
                     links its model"
                ));
            }
        }
        errors
    }
}

fn introspection_failure(error: IntrospectionError) -> Failure {
    match error {
        IntrospectionError::Database(error) => {
            Failure::CouldNotRun(anyhow::Error::new(error).context("cannot introspect"))
        }
        other => Failure::usage(other),
    }
}

/// The rules on the command line, by table.
#[derive(Debug, Default)]
struct TableRules(BTreeMap<TableName, ColumnRules>);

/// The columns of a table with a rule.
#[derive(Debug, Default)]
struct ColumnRules {
    exclude: Vec<String>,
    mask: Vec<String>,
    mask_keep_null: Vec<String>,
    ignore: Vec<String>,
    clear: Vec<String>,
}

impl TableRules {
    fn parse(args: &IntrospectionArgs) -> Result<Self, Failure> {
        type List = fn(&mut ColumnRules) -> &mut Vec<String>;
        let options: [(&[String], List); 5] = [
            (&args.exclude, |rules| &mut rules.exclude),
            (&args.mask, |rules| &mut rules.mask),
            (&args.mask_keep_null, |rules| &mut rules.mask_keep_null),
            (&args.ignore, |rules| &mut rules.ignore),
            (&args.clear, |rules| &mut rules.clear),
        ];
        let mut rules = Self::default();
        for (columns, list) in options {
            let columns = Failure::collect(columns.iter().map(|text| {
                TableName::split_column(text).ok_or_else(|| {
                    format!("`{text}` is not a column; write table.column or schema.table.column")
                })
            }))?;
            for (table, column) in columns {
                list(rules.0.entry(table).or_default()).push(column);
            }
        }
        Ok(rules)
    }

    fn remove(&mut self, table: &TableName) -> ColumnRules {
        self.0.remove(table).unwrap_or_default()
    }
}

impl ColumnRules {
    /// The table with these rules. Other columns, the placeholder and the actor policy stay as in `previous`.
    fn apply(
        self,
        table: &AuditedTable,
        previous: Option<&AuditedTable>,
    ) -> Result<AuditedTable, InvalidTable> {
        let rules = [
            &self.exclude,
            &self.mask,
            &self.mask_keep_null,
            &self.ignore,
        ];
        let is_listed = |column: &String| rules.iter().any(|list| list.contains(column));
        let is_named =
            |column: &Column| is_listed(&column.name) || self.clear.contains(&column.name);
        let is_key = |column: &Column| table.key().columns().contains(&column.name);
        let columns = table.columns().iter().cloned().map(|mut column| {
            let before = previous
                .into_iter()
                .flat_map(AuditedTable::columns)
                .find(|before| before.name == column.name);
            if let Some(before) = before
                && column.rule == ColumnRule::Clear
                && !is_named(&column)
                && !is_key(&column)
            {
                column.rule = before.rule;
            }
            column
        });
        let builder = AuditedTable::builder(table.name().clone()).columns(columns);
        let builder = match table.key() {
            RowKey::Columns(columns) => builder.key(columns.clone()),
            _ => builder.without_key(),
        };
        let builder = match previous {
            Some(previous) => builder
                .mask_with(previous.mask_with())
                .actor(previous.actor()),
            None => builder,
        };
        let problem = self.clear.iter().find_map(|column| {
            if !table.columns().iter().any(|known| &known.name == column) {
                Some(TableProblem::UnknownColumn(column.clone()))
            } else if is_listed(column) {
                Some(TableProblem::ConflictingRules(column.clone()))
            } else {
                None
            }
        });
        if let Some(problem) = problem {
            let table = table.name().clone();
            return Err(InvalidTable { table, problem });
        }
        builder
            .exclude(self.exclude)
            .mask(self.mask)
            .mask_keep_null(self.mask_keep_null)
            .ignore(self.ignore)
            .build()
    }
}
