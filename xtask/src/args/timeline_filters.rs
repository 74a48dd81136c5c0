//! The filters of a timeline.

use clap::Args;
use threadline_core::action::ActionStatus;
use threadline_core::actor::{ActorRef, ActorType};
use threadline_core::context::ContextId;
use threadline_core::row_key::RowKeyInput;
use threadline_core::table::TableName;
use threadline_diesel::Op;
use threadline_diesel::query::{ColumnName, MetaPattern, SearchText, TimelineFilters};

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
    changed: Option<ColumnName>,
    /// Only changes of this kind: insert, update, delete, truncate or baseline.
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
    action: Option<String>,
    /// Only changes under actions of this category.
    #[arg(long, value_name = "CATEGORY")]
    category: Option<String>,
    /// Only changes under actions with this status: ok or error.
    #[arg(long, value_name = "STATUS")]
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
}

impl TimelineFilterArgs {
    /// The window with its instants now.
    pub(crate) fn resolve_window(&self) -> Result<Window, Failure> {
        self.window.resolve()
    }

    /// The filters, with a relative window as given.
    pub(crate) fn into_filters(self) -> Result<TimelineFilters, Failure> {
        let key = match self.key.as_slice() {
            [] => None,
            [key] => Some(key.clone()),
            keys => {
                let pairs: Vec<_> = keys.iter().map(RowKeyInput::as_str).collect();
                Some(RowKeyInput::from_pairs(&pairs).map_err(Failure::usage)?)
            }
        };
        let (from, to) = self.window.into_given();
        let mut filters = TimelineFilters::default();
        filters.table = self.table;
        filters.key = key;
        filters.schema = self.schema;
        filters.changed = self.changed;
        filters.op = self.op;
        filters.actor = self.actor;
        filters.actor_type = self.actor_type;
        filters.on_behalf_of = self.on_behalf_of;
        filters.unattributed = self.unattributed;
        filters.correlation = self.correlation;
        filters.request = self.request;
        filters.job = self.job;
        filters.action = self.action;
        filters.category = self.category;
        filters.status = self.status;
        filters.meta = self.meta;
        filters.scan_values = self.scan_values;
        filters.from = from;
        filters.to = to;
        Ok(filters)
    }
}
