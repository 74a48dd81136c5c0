//! The commands and their options.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{ArgAction, Args, Parser, Subcommand};
use diesel_async::AsyncPgConnection;
use threadline_core::action::ActionStatus;
use threadline_core::actor::{ActorRef, ActorType};
use threadline_core::context::ContextId;
use threadline_core::row_key::TypedKey;
use threadline_core::table::TableName;
use threadline_core::transaction::AuditTransactionId;
use threadline_diesel::change::Op;
use threadline_diesel::terms::{ColumnName, MetaPattern, ScannedText};
use threadline_diesel::timeline::{Attribution, Timeline};

use crate::commands::subject::{Subject, resolve_key};
use crate::exit::Failure;
use crate::instant::instant;

/// The audit trail inside your application: who changed what, and why.
#[derive(Debug, Parser)]
#[command(name = "threadline", bin_name = program_name(), version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What the person typed: `cargo xtask` when cargo runs us.
fn program_name() -> &'static str {
    if std::env::var_os("CARGO").is_some() {
        "cargo xtask"
    } else {
        "threadline"
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write the migration that makes the trail.
    Install(InstallArgs),
    /// Write the migration that puts tables under capture.
    GenTriggers(GenTriggersArgs),
    /// Show changes across tables, newest first.
    Timeline(TimelineArgs),
    /// Show the changes of one row, newest first.
    History(HistoryArgs),
    /// Show what one row was as of an instant.
    AsOf(AsOfArgs),
    /// Show everything about one transaction.
    #[command(visible_alias = "transaction")]
    Incident(IncidentArgs),
    /// Show what one change changed, field by field.
    Diff(crate::commands::diff::DiffArgs),
    /// Show since when tables are known, and how many rows are older.
    Continuity(crate::commands::continuity::ContinuityArgs),
    /// Record the rows that are older than capture.
    Baseline(crate::commands::baseline::BaselineArgs),
    /// Show the transactions of an actor, newest first.
    Actor(crate::commands::actor::ActorArgs),
    /// Show what the application says it did, newest first, also where no row changed.
    Actions(crate::commands::actions::ActionsArgs),
    /// Show everything of a correlation: transactions, actions, changes.
    Correlation(crate::commands::correlation::CorrelationArgs),
    /// Write changes to a file or to standard output.
    Export(crate::commands::export::ExportArgs),
    /// Consumers of the feed: make them, look at them, read for them.
    Feed(crate::commands::feed::FeedArgs),
    /// Say which tables are captured, and what is wrong with that.
    Coverage(crate::commands::coverage::CoverageArgs),
    /// Compare what the code declares, what the migrations deploy, and what is deployed.
    Policy(crate::commands::policy::PolicyArgs),
    /// Say yes or no: are migrations, coverage and policy in order? For CI and releases.
    Verify(crate::commands::verify::VerifyArgs),
    /// Look over connection, server, roles, pooler, and how the trail is doing.
    Doctor(crate::commands::doctor::DoctorArgs),
    /// Show and remove what the retention policy no longer keeps.
    #[command(subcommand)]
    Retention(crate::commands::retention::RetentionCommand),
    /// Show what Threadline does, on a throwaway PostgreSQL.
    Demo(DemoArgs),
}

#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    #[command(flatten)]
    pub(crate) migrations: MigrationsDirArgs,
    /// Print up.sql and write nothing.
    #[arg(long)]
    pub(crate) print: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MigrationsDirArgs {
    /// The host's migrations.
    #[arg(long, value_name = "DIR", default_value = "migrations")]
    pub(crate) migrations_dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct GenTriggersArgs {
    /// Tables to introspect from the database instead of those the code declares:
    /// `a,b,schema.c`, parts quoted as in SQL where they must be.
    #[arg(long, value_name = "TABLES", value_delimiter = ',')]
    pub(crate) tables: Vec<TableName>,
    /// A column that is never stored: `table.column` or `schema.table.column`.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) exclude: Vec<String>,
    /// A column that is stored as a placeholder.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) mask: Vec<String>,
    /// A column that is stored, but a change of it alone is not recorded.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) ignore: Vec<String>,
    #[command(flatten)]
    pub(crate) migrations: MigrationsDirArgs,
    /// Print up.sql of all tables and write nothing.
    #[arg(long, conflicts_with = "check")]
    pub(crate) print: bool,
    /// Write nothing; exit with 1 when the migrations lag behind the code.
    #[arg(long)]
    pub(crate) check: bool,
    /// Write a migration that deploys these tables' capture once more, as it is: after it was changed
    /// by hand.
    #[arg(long, value_name = "TABLE", value_delimiter = ',',
          conflicts_with_all = ["tables", "exclude", "mask", "ignore", "check", "retire"])]
    pub(crate) redeploy: Vec<TableName>,
    /// Write a migration that takes these tables out of capture. Their trail stays.
    #[arg(long, value_name = "TABLE", value_delimiter = ',',
          conflicts_with_all = ["tables", "exclude", "mask", "ignore", "check"])]
    pub(crate) retire: Vec<TableName>,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DatabaseArgs {
    /// The database, as a postgres:// URL.
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub(crate) database_url: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Print JSON for machines instead of tables for people.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a list is printed.
#[derive(Debug, Args)]
pub(crate) struct ListOutputArgs {
    /// Print one JSON document with a page of the list.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the entries of a page as JSON, one a line.
    #[arg(long, conflicts_with = "json")]
    pub(crate) ndjson: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    /// How many entries to show, at most 10000. On a terminal as many as fit, elsewhere 50.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u32>,
    /// Show the page after the cursor that an earlier call gave.
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<String>,
    /// Show the page before the cursor that an earlier call gave.
    #[arg(long, value_name = "CURSOR", conflicts_with = "after")]
    pub(crate) before: Option<String>,
}

/// Which changes are meant; the same wherever changes are read.
#[derive(Debug, Clone, Args)]
pub(crate) struct TimelineFilterArgs {
    /// Only changes of this table.
    #[arg(long)]
    table: Option<TableName>,
    /// Only changes of the row with this key: the value, or `column=value,column=value`.
    #[arg(long, requires = "table")]
    key: Option<TypedKey>,
    /// Only changes of the tables of this schema.
    #[arg(long, conflicts_with = "table")]
    schema: Option<String>,
    /// Only updates that changed this column.
    #[arg(long, value_name = "COLUMN")]
    changed: Option<ColumnName>,
    /// Only inserts, updates, deletes, truncates or baselines.
    #[arg(long)]
    op: Option<Op>,
    /// Only changes by this actor: `user:42`.
    #[arg(long)]
    actor: Option<ActorRef>,
    /// Only changes by actors of this type: user, admin, `service_account`, job, system, anonymous.
    #[arg(long, value_name = "TYPE")]
    actor_type: Option<ActorType>,
    /// Only changes on behalf of this actor.
    #[arg(long, value_name = "ACTOR")]
    on_behalf_of: Option<ActorRef>,
    /// Only changes that nobody is known to have made.
    #[arg(long, conflicts_with_all = ["actor", "actor_type"])]
    unattributed: bool,
    /// Only changes of this correlation.
    #[arg(long, value_name = "ID")]
    correlation: Option<ContextId>,
    /// Only changes of this request.
    #[arg(long, value_name = "ID")]
    request: Option<ContextId>,
    /// Only changes of this job.
    #[arg(long, value_name = "ID")]
    job: Option<ContextId>,
    /// Only changes under this action.
    #[arg(long, value_name = "NAME")]
    action: Option<String>,
    /// Only changes under actions of this category.
    #[arg(long, value_name = "CATEGORY")]
    category: Option<String>,
    /// Only changes under actions that ended like this: ok or error.
    #[arg(long, value_name = "STATUS", value_parser = action_status)]
    status: Option<ActionStatus>,
    /// Only changes whose transaction or action has these facts in meta: `{"tenant": 7}`.
    #[arg(long, value_name = "JSON")]
    meta: Option<MetaPattern>,
    /// Only changes in whose values this text occurs. Reads every change that the other filters
    /// leave, until the page is full: name a table or a window beside it.
    #[arg(long, value_name = "TEXT")]
    scan_values: Option<ScannedText>,
    /// Only changes captured at this instant or later: `2026-01-31T12:00:00Z`.
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    from: Option<DateTime<Utc>>,
    /// Only changes captured at this instant or before.
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    to: Option<DateTime<Utc>>,
}

/// How an action ended, as it is stored.
pub(crate) fn action_status(text: &str) -> Result<ActionStatus, String> {
    [ActionStatus::Ok, ActionStatus::Error]
        .into_iter()
        .find(|status| status.as_str() == text)
        .ok_or_else(|| format!("`{text}` is no status of an action: use ok or error"))
}

impl TimelineFilterArgs {
    /// What they are about, if it is one table.
    pub(crate) fn subject(&self) -> Option<Subject> {
        Some(Subject {
            table: self.table.clone()?,
            key: self.key.clone(),
            column: self.changed.clone(),
            value: None,
        })
    }

    /// The question these filters ask. The database knows which row a key means.
    pub(crate) async fn question(
        mut self,
        conn: &mut AsyncPgConnection,
    ) -> Result<Timeline, Failure> {
        let question = match (self.table.take(), self.key.take()) {
            (Some(table), Some(key)) => {
                let key = resolve_key(conn, &table, &key).await?;
                Timeline::new().row(table, &key)
            }
            (Some(table), None) => Timeline::new().table(table),
            (None, _) => Timeline::new(),
        };
        Ok(self.narrowed(question))
    }

    /// The question, about these changes only.
    fn narrowed(mut self, mut question: Timeline) -> Timeline {
        if let Some(schema) = self.schema.take() {
            question = question.schema(schema);
        }
        if let Some(field) = self.changed.take() {
            question = question.changed_field(field);
        }
        if let Some(text) = self.scan_values.take() {
            question = question.scanning_values(text);
        }
        if let Some(op) = self.op {
            question = question.op(op);
        }
        if let Some(instant) = self.from {
            question = question.from(instant);
        }
        if let Some(instant) = self.to {
            question = question.to(instant);
        }
        self.attribution(question)
    }

    /// The question about who, why and in what context.
    fn attribution(self, mut question: Timeline) -> Timeline {
        if let Some(actor_type) = self.actor_type {
            question = question.actor_type(actor_type);
        }
        if let Some(represented) = self.on_behalf_of {
            question = question.on_behalf_of(represented);
        }
        if let Some(id) = self.job {
            question = question.job_id(id);
        }
        if let Some(category) = self.category {
            question = question.action_category(category);
        }
        if let Some(status) = self.status {
            question = question.action_status(status);
        }
        if let Some(facts) = self.meta {
            question = question.meta(facts);
        }
        if let Some(actor) = self.actor {
            question = question.actor(actor);
        }
        if self.unattributed {
            question = question.attribution(Attribution::Unattributed);
        }
        if let Some(id) = self.correlation {
            question = question.correlation_id(id);
        }
        if let Some(id) = self.request {
            question = question.request_id(id);
        }
        if let Some(name) = self.action {
            question = question.action(name);
        }
        question
    }
}

#[derive(Debug, Args)]
pub(crate) struct TimelineArgs {
    #[command(flatten)]
    pub(crate) filters: TimelineFilterArgs,
    /// Go on, and print changes as they are committed, oldest first, until interrupted.
    #[arg(long, conflicts_with_all = ["after", "before", "limit", "from", "to", "json"])]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) page: PageArgs,
    #[command(flatten)]
    pub(crate) output: ListOutputArgs,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// The table.
    pub(crate) table: TableName,
    /// The row's key: the value, or `column=value,column=value` for a composite one.
    pub(crate) key: TypedKey,
    /// Show when this column came to its values, and who did it.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) field: Option<ColumnName>,
    /// Show when the column came to this value: as it is stored, texts without quotes.
    #[arg(long, value_name = "VALUE", requires = "field", action = ArgAction::Set)]
    pub(crate) became: Option<String>,
    #[command(flatten)]
    pub(crate) page: PageArgs,
    #[command(flatten)]
    pub(crate) output: ListOutputArgs,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AsOfArgs {
    /// The table.
    pub(crate) table: TableName,
    /// The row's key: the value, or `column=value,column=value` for a composite one.
    pub(crate) key: TypedKey,
    /// The instant: `2026-01-31T12:00:00Z`.
    #[arg(value_parser = instant)]
    pub(crate) instant: DateTime<Utc>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct IncidentArgs {
    /// The audit transaction's id.
    pub(crate) transaction_id: AuditTransactionId,
    #[command(flatten)]
    pub(crate) page: PageArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

/// The options of a demonstration.
#[derive(Debug, Clone, Args)]
#[non_exhaustive]
pub struct DemoArgs {
    /// Leave the server running and print how to connect.
    #[arg(long)]
    pub keep: bool,
    /// Use this database instead of a throwaway server.
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
