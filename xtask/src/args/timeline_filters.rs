//! The filters of a timeline.

use chrono::{DateTime, Utc};
use clap::Args;
use threadline_core::action::ActionStatus;
use threadline_core::actor::{ActorRef, ActorType};
use threadline_core::context::ContextId;
use threadline_core::row_key::{InvalidRowKey, RowKeyInput, RowKeyText};
use threadline_core::table::TableName;
use threadline_diesel::query::{Attribution, ColumnName, MetaPattern, SearchText};
use threadline_diesel::{Op, Timeline};

use super::parse_action_status;
use super::window::{Window, WindowArgs};
use crate::exit::Failure;

#[derive(Debug, Clone, Args)]
pub(crate) struct TimelineFilterArgs {
    /// Only changes of this table.
    #[arg(long)]
    pub(crate) table: Option<TableName>,
    /// Only changes of the row with this key: the value, `column=value,column=value`, or a JSON array of the
    /// values. May be repeated, once for each `column=value`.
    #[arg(long, requires = "table")]
    key: Vec<RowKeyInput>,
    /// Only changes of tables in this schema.
    #[arg(long, conflicts_with = "table")]
    schema: Option<String>,
    /// Only updates that changed this column.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) changed: Option<ColumnName>,
    /// Only changes of this kind: insert, update, delete, truncate or baseline.
    #[arg(long)]
    op: Option<Op>,
    /// Only changes by this actor: `user:42`.
    #[arg(long)]
    pub(crate) actor: Option<ActorRef>,
    /// Only changes by actors of this type: user, admin, `service_account`, job, system, anonymous.
    #[arg(long, value_name = "TYPE")]
    actor_type: Option<ActorType>,
    /// Only changes on behalf of this actor.
    #[arg(long, value_name = "ACTOR")]
    on_behalf_of: Option<ActorRef>,
    /// Only changes without an actor.
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
    /// Only changes under actions of this name.
    #[arg(long, value_name = "NAME")]
    pub(crate) action: Option<String>,
    /// Only changes under actions of this category.
    #[arg(long, value_name = "CATEGORY")]
    category: Option<String>,
    /// Only changes under actions with this status: ok or error.
    #[arg(long, value_name = "STATUS", value_parser = parse_action_status)]
    status: Option<ActionStatus>,
    /// Only changes whose transaction or action has these fields in meta: `{"tenant": 7}`.
    #[arg(long, value_name = "JSON")]
    meta: Option<MetaPattern>,
    /// Only changes with this text in a value. Reads all changes that match the other filters until the
    /// page is full; add a table or a window.
    #[arg(long, value_name = "TEXT")]
    scan_values: Option<SearchText>,
    #[command(flatten)]
    window: WindowArgs,
    /// The start of the window, set by [`resolve_window`](Self::resolve_window).
    #[arg(skip)]
    pub(crate) from: Option<DateTime<Utc>>,
    /// The end of the window, set by [`resolve_window`](Self::resolve_window).
    #[arg(skip)]
    pub(crate) to: Option<DateTime<Utc>>,
}

impl TimelineFilterArgs {
    /// Resolves the window, which these filters then have.
    pub(crate) fn resolve_window(&mut self) -> Result<Window, Failure> {
        let window = self.window.resolve()?;
        (self.from, self.to) = (window.from, window.to);
        Ok(window)
    }

    /// The key of the row, if these filters have one.
    pub(crate) fn key(&self) -> Result<Option<RowKeyInput>, InvalidRowKey> {
        match self.key.as_slice() {
            [] => Ok(None),
            [key] => Ok(Some(key.clone())),
            keys => {
                let pairs: Vec<_> = keys.iter().map(RowKeyInput::as_str).collect();
                RowKeyInput::from_pairs(&pairs).map(Some)
            }
        }
    }

    /// The timeline with these filters. `row_key` is the stored form of `key`, of which only the database
    /// knows the key columns.
    pub(crate) fn into_timeline(self, row_key: Option<&RowKeyText>) -> Timeline {
        let timeline = match (&self.table, row_key) {
            (Some(table), Some(key)) => Timeline::new().row(table.clone(), key),
            (Some(table), None) => Timeline::new().table(table.clone()),
            (None, _) => Timeline::new(),
        };
        self.filter_attribution(self.filter_changes(timeline))
    }

    fn filter_changes(&self, mut timeline: Timeline) -> Timeline {
        if let Some(schema) = self.schema.clone() {
            timeline = timeline.schema(schema);
        }
        if let Some(column) = self.changed.clone() {
            timeline = timeline.changed_field(column);
        }
        if let Some(text) = self.scan_values.clone() {
            timeline = timeline.scanning_values(text);
        }
        if let Some(op) = self.op {
            timeline = timeline.op(op);
        }
        if let Some(instant) = self.from {
            timeline = timeline.from(instant);
        }
        if let Some(instant) = self.to {
            timeline = timeline.to(instant);
        }
        timeline
    }

    fn filter_attribution(&self, mut timeline: Timeline) -> Timeline {
        if let Some(actor) = self.actor.clone() {
            timeline = timeline.actor(actor);
        }
        if let Some(actor_type) = self.actor_type {
            timeline = timeline.actor_type(actor_type);
        }
        if let Some(actor) = self.on_behalf_of.clone() {
            timeline = timeline.on_behalf_of(actor);
        }
        if self.unattributed {
            timeline = timeline.attribution(Attribution::Unattributed);
        }
        if let Some(id) = self.correlation.clone() {
            timeline = timeline.correlation_id(id);
        }
        if let Some(id) = self.request.clone() {
            timeline = timeline.request_id(id);
        }
        if let Some(id) = self.job.clone() {
            timeline = timeline.job_id(id);
        }
        if let Some(name) = self.action.clone() {
            timeline = timeline.action(name);
        }
        if let Some(category) = self.category.clone() {
            timeline = timeline.action_category(category);
        }
        if let Some(status) = self.status {
            timeline = timeline.action_status(status);
        }
        if let Some(meta) = self.meta.clone() {
            timeline = timeline.meta(meta);
        }
        timeline
    }
}
