//! Changes across tables, newest first.

use chrono::{DateTime, Utc};
use diesel::dsl::{self, auto_type};
use diesel::pg::Pg;
use diesel::prelude::*;
use serde::Serialize;
use threadline_core::actor::ActorRef;
use threadline_core::context::TraceId;
use threadline_core::row_key::RowKeyText;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

use crate::change::{AuditAction, AuditChange, AuditTransaction, Op, TimelineEntry};
use crate::condition::Condition;
use crate::page::{Cursor, InvalidCursor, Page, PageSize, Place, digest};
use crate::schema::{audit_actions, audit_changes, audit_transactions};

/// Changes with their transactions and actions: what every reading of changes starts from.
#[auto_type]
fn changes_with_attribution() -> _ {
    audit_changes::table
        .left_join(
            audit_transactions::table.on(audit_transactions::id.eq(audit_changes::transaction_id)),
        )
        .left_join(
            audit_actions::table.on(audit_actions::id.nullable().eq(audit_changes::action_id)),
        )
        .select(entry())
}

#[auto_type]
fn entry() -> _ {
    let change: dsl::AsSelect<AuditChange, Pg> = AuditChange::as_select();
    let transaction: dsl::AsSelect<Option<AuditTransaction>, Pg> =
        Option::<AuditTransaction>::as_select();
    let action: dsl::AsSelect<Option<AuditAction>, Pg> = Option::<AuditAction>::as_select();
    (change, transaction, action)
}

/// The Diesel query behind a question, open to the host's own filters over
/// [`schema`](crate::schema).
pub type ChangesQuery<'a> = dsl::IntoBoxed<'a, changes_with_attribution, Pg>;

/// Changes across tables: a question, built from types, answered a page at a time.
///
/// ```
/// use threadline_diesel::change::Op;
/// use threadline_diesel::timeline::Timeline;
///
/// let question = Timeline::new()
///     .table("billing.invoices".parse()?)
///     .op(Op::Delete)
///     .actor("user:42".parse()?);
/// # let _ = question;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Timeline {
    filters: Filters,
    page_size: PageSize,
    cursor: Option<Cursor>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Filters {
    table: Option<TableName>,
    row: Option<(TableName, String)>,
    op: Option<Op>,
    actor: Option<ActorRef>,
    attribution: Option<Attribution>,
    correlation_id: Option<TraceId>,
    request_id: Option<TraceId>,
    action_name: Option<String>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
}

/// The actor in force of a change, JSON null for nobody.
const IN_FORCE: &str = "COALESCE(audit_changes.actor_ref, audit_transactions.actor_ref, 'null')";

/// Whether somebody is known to have made a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Attribution {
    /// An actor was in force.
    Attributed,
    /// Nobody was.
    Unattributed,
}

impl Timeline {
    /// Every change. Baselines are none; they are in the history of a row, and where
    /// [`Op::Baseline`] is asked for.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only changes of a table.
    #[must_use]
    pub fn table(mut self, table: TableName) -> Self {
        self.filters.table = Some(table);
        self
    }

    /// Only changes of one row: the row of a table that has a key now or had it last, also while
    /// it had other keys.
    #[must_use]
    pub fn row(mut self, table: TableName, key: &RowKeyText) -> Self {
        self.filters.row = Some((table, key.as_str().to_owned()));
        self
    }

    /// Only changes of a kind.
    #[must_use]
    pub fn op(mut self, op: Op) -> Self {
        self.filters.op = Some(op);
        self
    }

    /// Only changes made by an actor.
    #[must_use]
    pub fn actor(mut self, actor: ActorRef) -> Self {
        self.filters.actor = Some(actor);
        self
    }

    /// Only changes that somebody, or nobody, is known to have made.
    #[must_use]
    pub fn attribution(mut self, attribution: Attribution) -> Self {
        self.filters.attribution = Some(attribution);
        self
    }

    /// Only changes of a correlation.
    #[must_use]
    pub fn correlation_id(mut self, id: TraceId) -> Self {
        self.filters.correlation_id = Some(id);
        self
    }

    /// Only changes of a request.
    #[must_use]
    pub fn request_id(mut self, id: TraceId) -> Self {
        self.filters.request_id = Some(id);
        self
    }

    /// Only changes under an action.
    #[must_use]
    pub fn action(mut self, name: impl Into<String>) -> Self {
        self.filters.action_name = Some(name.into());
        self
    }

    /// Only changes captured at an instant or later.
    #[must_use]
    pub fn from(mut self, instant: DateTime<Utc>) -> Self {
        self.filters.from = Some(instant);
        self
    }

    /// Only changes captured at an instant or before.
    #[must_use]
    pub fn to(mut self, instant: DateTime<Utc>) -> Self {
        self.filters.to = Some(instant);
        self
    }

    /// How many entries a page has; 50 unless set.
    #[must_use]
    pub fn page_size(mut self, size: PageSize) -> Self {
        self.page_size = size;
        self
    }

    /// The page after a cursor of the same question.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.cursor = Some(cursor);
        self
    }

    /// The query of one page, one row longer than the page.
    ///
    /// # Errors
    /// [`InvalidCursor`] when the cursor belongs to another question.
    pub fn query(&self) -> Result<ChangesQuery<'static>, InvalidCursor> {
        let mut query = self.filters.apply(changes_with_attribution().into_boxed());
        if let Some(cursor) = &self.cursor {
            let place = cursor.place::<i64>(&digest(&self.filters))?;
            query = query.filter(
                Condition::sql("(audit_changes.captured_at, audit_changes.id) < (")
                    .instant(place.at)
                    .then(", ")
                    .number(place.id)
                    .then(")"),
            );
        }
        Ok(query
            .order((audit_changes::captured_at.desc(), audit_changes::id.desc()))
            .limit(self.page_size.limit()))
    }

    /// The query of every change that matches, oldest first, without pages: for exports, which
    /// stream it. Page size and cursor play no part.
    #[must_use]
    pub fn unpaged_query(&self) -> ChangesQuery<'static> {
        self.filters
            .apply(changes_with_attribution().into_boxed())
            .order((audit_changes::captured_at.asc(), audit_changes::id.asc()))
    }

    /// The filters as JSON, for records of what was asked.
    #[must_use]
    pub fn filters_json(&self) -> serde_json::Value {
        let mut filters = serde_json::to_value(&self.filters).unwrap_or_default();
        if let Some(fields) = filters.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        filters
    }

    /// The page in what the query gave.
    #[must_use]
    pub fn page(&self, rows: Vec<TimelineEntry>) -> Page<TimelineEntry> {
        let question = digest(&self.filters);
        self.page_size.cut(rows, |last| {
            Cursor::after(
                &question,
                &Place {
                    at: last.change.captured_at,
                    id: last.change.id,
                },
            )
        })
    }
}

impl Filters {
    fn apply(&self, mut query: ChangesQuery<'static>) -> ChangesQuery<'static> {
        if let Some(table) = &self.table {
            query = query
                .filter(audit_changes::table_name.eq(table.name().to_owned()))
                .filter(audit_changes::table_schema.eq(table.schema().to_owned()));
        }
        if let Some((table, key)) = &self.row {
            query = query
                .filter(audit_changes::table_name.eq(table.name().to_owned()))
                .filter(audit_changes::table_schema.eq(table.schema().to_owned()))
                // This is for the index, and the next is exact.
                .filter(row_segments(
                    "audit_changes.row_key = ANY (ARRAY(SELECT row_key FROM ",
                    (table, key),
                    "))",
                ))
                .filter(row_segments(
                    "EXISTS (SELECT FROM ",
                    (table, key),
                    " AS segment WHERE segment.row_key = audit_changes.row_key \
                     AND audit_changes.id BETWEEN segment.first_id AND segment.last_id)",
                ));
        }
        if let Some(op) = self.op {
            query = query.filter(audit_changes::op.eq(op));
        } else if self.row.is_none() {
            // What was there before capture is no change; the history of a row begins with it.
            query = query.filter(audit_changes::op.ne(Op::Baseline));
        }
        if let Some(from) = self.from {
            query = query.filter(audit_changes::captured_at.ge(from));
        }
        if let Some(to) = self.to {
            query = query.filter(audit_changes::captured_at.le(to));
        }
        if let Some(name) = &self.action_name {
            query = query.filter(audit_actions::name.eq(name.clone()));
        }
        self.apply_attribution(query)
    }

    /// Filters that reach into transactions and actions. Each comes twice: exactly, and as a set of
    /// transactions that an index finds.
    fn apply_attribution(&self, mut query: ChangesQuery<'static>) -> ChangesQuery<'static> {
        if let Some(actor) = &self.actor {
            query = query.filter(changes_by(actor));
        }
        match self.attribution {
            Some(Attribution::Attributed) => {
                query = query.filter(Condition::sql(format!("{IN_FORCE} <> 'null'")));
            }
            Some(Attribution::Unattributed) => {
                query = query.filter(Condition::sql(format!("{IN_FORCE} = 'null'")));
            }
            None => {}
        }
        if let Some(id) = &self.correlation_id {
            query = query.filter(changes_with_id("correlation_id", id));
        }
        if let Some(id) = &self.request_id {
            query = query.filter(changes_with_id("request_id", id));
        }
        query
    }
}

/// Changes whose actor in force was this one.
fn changes_by(actor: &ActorRef) -> Condition {
    let id = actor.id().map(str::to_owned);
    let actor_type = actor.actor_type().as_str();
    let found = |condition: Condition, column: &str, table: &str| {
        let condition = condition.then(format!(
            "SELECT {column} FROM {STORAGE_SCHEMA}.{table} WHERE actor_ref IS NOT NULL AND "
        ));
        match id.clone() {
            Some(id) => condition.then("actor_ref ->> 'id' = ").text(id),
            None => condition.then("actor_ref ->> 'id' IS NULL"),
        }
        .then(" AND actor_ref ->> 'type' = ")
        .text(actor_type)
    };
    let condition = Condition::sql("audit_changes.transaction_id IN (");
    let condition = found(condition, "id", "audit_transactions").then(" UNION ALL ");
    found(condition, "transaction_id", "audit_changes")
        .then(
            ") AND COALESCE(audit_changes.actor_ref, audit_transactions.actor_ref) ->> 'id' \
             IS NOT DISTINCT FROM ",
        )
        .optional_text(id.clone())
        .then(" AND COALESCE(audit_changes.actor_ref, audit_transactions.actor_ref) ->> 'type' = ")
        .text(actor_type)
}

/// Changes whose action, or else transaction, has an id.
fn changes_with_id(column: &str, id: &TraceId) -> Condition {
    Condition::sql(format!(
        "audit_changes.transaction_id IN (SELECT id FROM {STORAGE_SCHEMA}.audit_transactions \
         WHERE {column} = "
    ))
    .text(id.as_str())
    .then(format!(
        " UNION ALL SELECT transaction_id FROM {STORAGE_SCHEMA}.audit_actions WHERE {column} = "
    ))
    .text(id.as_str())
    .then(format!(
        ") AND COALESCE(audit_actions.{column}, audit_transactions.{column}) = "
    ))
    .text(id.as_str())
}

/// A condition over the segments of a row: the keys it had, and when.
fn row_segments(before: &str, (table, key): (&TableName, &str), after: &str) -> Condition {
    Condition::sql(format!("{before}{STORAGE_SCHEMA}.row_segments("))
        .text(table.schema())
        .then(", ")
        .text(table.name())
        .then(", ")
        .text(key)
        .then(format!("){after}"))
}

/// One change.
pub(crate) fn change_with_id(id: i64) -> ChangesQuery<'static> {
    changes_with_attribution()
        .into_boxed()
        .filter(audit_changes::id.eq(id))
}

/// The changes of one transaction, in the order they were captured.
pub(crate) fn changes_of_transaction(id: uuid::Uuid) -> ChangesQuery<'static> {
    changes_with_attribution()
        .into_boxed()
        .filter(audit_changes::transaction_id.eq(id))
        .order(audit_changes::id.asc())
}

/// The changes with ids after one and up to another, in the order they were captured.
pub(crate) fn changes_between(after_id: i64, to_id: i64) -> ChangesQuery<'static> {
    changes_with_attribution()
        .into_boxed()
        .filter(audit_changes::id.gt(after_id))
        .filter(audit_changes::id.le(to_id))
        .order(audit_changes::id.asc())
}
