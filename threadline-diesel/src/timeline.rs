//! Changes across tables, newest first.

mod candidates;
mod lookup;
mod page_query;
mod where_clause;

use chrono::{DateTime, Utc};
use diesel::dsl::{self, auto_type};
use diesel::pg::Pg;
use diesel::prelude::*;
use serde::Serialize;
use threadline_core::action::ActionStatus;
use threadline_core::actor::{ActorRef, ActorType};
use threadline_core::context::ContextId;
use threadline_core::row_key::RowKeyText;
use threadline_core::table::TableName;
use threadline_core::transaction::AuditTransactionId;

use crate::change::{AuditAction, AuditChange, AuditTransaction, Op, TimelineEntry};
use crate::circumstances::{Circumstances, Deed, questions_about};
use crate::condition::Condition;
use crate::error::InvalidQuestion;
use crate::page::{Cursor, Order, Page, PageSize, Paging, Place, Start, digest};
use crate::schema::{audit_actions, audit_changes, audit_transactions};
use crate::scope::Scope;
use crate::terms::{ColumnName, FieldValue, MetaPattern, ScannedText};

pub(crate) use candidates::{CandidateIds, CandidateQuery, CandidateRow, IdSource};
pub(crate) use lookup::{LookUpRow, TransactionCache};
pub(crate) use page_query::change_with_id;

/// Changes with their transactions and actions: what every reading of changes starts from.
#[auto_type]
fn changes_with_attribution(transaction: Condition, action: Condition) -> _ {
    audit_changes::table
        .left_join(audit_transactions::table.on(transaction))
        .left_join(audit_actions::table.on(action))
        .select(entry())
}

fn of_the_transaction() -> Condition {
    Condition::sql("audit_transactions.id = audit_changes.transaction_id").planned_anew()
}

fn of_the_action() -> Condition {
    Condition::sql("audit_actions.id = audit_changes.action_id").planned_anew()
}

/// The changes of all months.
fn all_changes() -> ChangesQuery<'static> {
    changes_with_attribution(of_the_transaction(), of_the_action()).into_boxed()
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
    order: Order,
    paging: Paging,
    scope: Option<Scope>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Filters {
    table: Option<TableName>,
    schema: Option<String>,
    row: Option<(TableName, String)>,
    transaction: Option<AuditTransactionId>,
    op: Option<Op>,
    changed_field: Option<ColumnName>,
    field_set: Option<FieldSet>,
    text: Option<ScannedText>,
    attribution: Option<Attribution>,
    #[serde(flatten)]
    circumstances: Circumstances,
    #[serde(flatten)]
    deed: Deed,
}

/// A field came to a value, or to any.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FieldSet {
    pub(crate) field: ColumnName,
    pub(crate) value: Option<FieldValue>,
}

/// Whether a change has an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Attribution {
    /// An actor was in force.
    Attributed,
    /// No actor was in force.
    Unattributed,
}

/// What an actor changed between two instants, both inclusive: a timeline of theirs.
///
/// ```
/// use threadline_diesel::timeline::actor_window;
///
/// let question = actor_window(
///     "admin:rita".parse()?,
///     "2026-01-12T00:00:00Z".parse()?,
///     "2026-01-13T00:00:00Z".parse()?,
/// );
/// # let _ = question;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn actor_window(actor: ActorRef, from: DateTime<Utc>, to: DateTime<Utc>) -> Timeline {
    Timeline::new().actor(actor).from(from).to(to)
}

impl Timeline {
    /// Every change. Baselines are none; they are in the history of a row, and where
    /// [`Op::Baseline`] is asked for.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    questions_about!("changes", "captured");

    /// Only changes of a table.
    #[must_use]
    pub fn table(mut self, table: TableName) -> Self {
        self.filters.table = Some(table);
        self
    }

    /// Only changes of the tables of a schema. No index answers it: changes are read from the newest
    /// on until the page is full.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.filters.schema = Some(schema.into());
        self
    }

    /// Only changes of one row: the row of a table that has a key now or had it last, also while
    /// it had other keys.
    #[must_use]
    pub fn row(mut self, table: TableName, key: &RowKeyText) -> Self {
        self.filters.row = Some((table, key.as_str().to_owned()));
        self
    }

    /// Only changes of one transaction, in the order of capture.
    #[must_use]
    pub fn transaction(mut self, id: AuditTransactionId) -> Self {
        self.filters.transaction = Some(id);
        self
    }

    /// Only changes of a kind.
    #[must_use]
    pub fn op(mut self, op: Op) -> Self {
        self.filters.op = Some(op);
        self
    }

    /// Only updates that changed a field.
    ///
    /// Inserts and deletes are not among them: they give and take every field of a row, so they
    /// would say nothing of this one. When a field first got its value is
    /// [`moments`](crate::moments). With a table, its index by time is followed; without one,
    /// changes are read from the newest on until the page is full.
    #[must_use]
    pub fn changed_field(mut self, field: ColumnName) -> Self {
        self.filters.changed_field = Some(field);
        self
    }

    /// Only changes in whose values a text occurs: see [`ScannedText`] for what that costs.
    #[must_use]
    pub fn scanning_values(mut self, text: ScannedText) -> Self {
        self.filters.text = Some(text);
        self
    }

    /// Only changes whose transaction or action has these facts in `meta`.
    #[must_use]
    pub fn meta(mut self, facts: MetaPattern) -> Self {
        self.filters.circumstances.meta = Some(facts);
        self
    }

    /// Only changes with an actor, or only changes without one.
    #[must_use]
    pub fn attribution(mut self, attribution: Attribution) -> Self {
        self.filters.attribution = Some(attribution);
        self
    }

    /// Only changes under an action.
    #[must_use]
    pub fn action(mut self, name: impl Into<String>) -> Self {
        self.filters.deed.name = Some(name.into());
        self
    }

    /// Only changes under actions of a category. No index answers it.
    #[must_use]
    pub fn action_category(mut self, category: impl Into<String>) -> Self {
        self.filters.deed.category = Some(category.into());
        self
    }

    /// Only changes under actions that ended like this.
    #[must_use]
    pub fn action_status(mut self, status: ActionStatus) -> Self {
        self.filters.deed.status = Some(status);
        self
    }

    /// In which order changes are given: the newest first unless set.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    pub(crate) fn field_set(mut self, set: FieldSet) -> Self {
        self.filters.field_set = Some(set);
        self
    }

    /// The query of one page, one row longer than the page, in the order of reading: with
    /// [`before`](Self::before) that is against the list's. [`page`](Self::page) turns it round.
    ///
    /// # Errors
    /// [`InvalidQuestion`] when the cursor belongs to another question, the window is empty, a name
    /// is none, or the scope cannot be applied.
    pub fn query(&self) -> Result<ChangesQuery<'static>, InvalidQuestion> {
        self.checked()?;
        let mut query = self.matching();
        if let Some(scope) = &self.scope {
            query = query.filter(scope.of_changes()?);
        }
        let place = self.paging.place::<i64>(&self.digest(), self.order)?;
        if let Some((comparison, place)) = place {
            query = query.filter(self.beyond(comparison, &place));
        }
        Ok(self.ordered(query).limit(self.paging.size.limit()))
    }

    /// Whether changes are found by their ids in an index of their row or their transaction; all
    /// others are found by time.
    fn is_by_id(&self) -> bool {
        self.filters.transaction.is_some() || self.filters.row.is_some()
    }

    /// The changes on one side of a place.
    fn beyond(&self, comparison: &str, place: &Place<i64>) -> Condition {
        if self.is_by_id() {
            return Condition::sql(format!("audit_changes.id {comparison} ")).number(place.id);
        }
        // The first for the index, the second to leave partitions out.
        Condition::sql(format!(
            "(audit_changes.captured_at, audit_changes.id) {comparison} ("
        ))
        .instant(place.at)
        .then(", ")
        .number(place.id)
        .then(format!(
            ") AND audit_changes.captured_at {}= ",
            &comparison[..1]
        ))
        .instant(place.at)
    }

    /// A query in the order of reading.
    fn ordered(&self, query: ChangesQuery<'static>) -> ChangesQuery<'static> {
        match (self.is_by_id(), self.paging.reads_descending(self.order)) {
            (true, true) => query.order(audit_changes::id.desc()),
            (true, false) => query.order(audit_changes::id.asc()),
            (false, true) => {
                query.order((audit_changes::captured_at.desc(), audit_changes::id.desc()))
            }
            (false, false) => {
                query.order((audit_changes::captured_at.asc(), audit_changes::id.asc()))
            }
        }
    }

    /// The query of every change that matches, oldest first, without pages: for exports, which
    /// stream it. Page size and cursor play no part; a scope that cannot be applied shows nothing.
    #[must_use]
    pub fn unpaged_query(&self) -> ChangesQuery<'static> {
        let mut query = self.matching();
        if let Some(scope) = &self.scope {
            let seen = scope.of_changes();
            query = query.filter(seen.unwrap_or_else(|_| Condition::sql("false")));
        }
        query.order((audit_changes::captured_at.asc(), audit_changes::id.asc()))
    }

    fn matching(&self) -> ChangesQuery<'static> {
        let mut query = all_changes();
        for condition in self.filters.of_entries() {
            query = query.filter(condition);
        }
        query
    }

    fn checked(&self) -> Result<(), InvalidQuestion> {
        self.filters.circumstances.checked()?;
        self.filters.deed.checked()
    }

    fn digest(&self) -> String {
        digest("changes", &self.filters, self.scope.as_ref(), self.order)
    }

    /// The filters as JSON, for records of what was asked.
    #[must_use]
    pub fn filters_json(&self) -> serde_json::Value {
        let mut filters = serde_json::to_value(&self.filters).unwrap_or_default();
        if let Some(fields) = filters.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
            if let Some(scope) = &self.scope {
                fields.insert("scope".to_owned(), scope.fingerprint().into());
            }
        }
        filters
    }

    /// The page in what the query gave.
    #[must_use]
    pub fn page(&self, rows: Vec<TimelineEntry>) -> Page<TimelineEntry> {
        let question = self.digest();
        self.paging.page(rows, |entry| {
            Cursor::at(&question, entry.change.captured_at, &entry.change.id)
        })
    }

    /// The page in changes alone.
    pub(crate) fn page_of_changes(&self, rows: Vec<AuditChange>) -> Page<AuditChange> {
        let question = self.digest();
        self.paging.page(rows, |change| {
            Cursor::at(&question, change.captured_at, &change.id)
        })
    }

    /// What finds the transactions in which to look, if the question names something about them.
    pub(crate) fn candidate_query(&self) -> Option<CandidateQuery> {
        self.filters.candidate_query()
    }

    pub(crate) fn paging(&self) -> &Paging {
        &self.paging
    }

    pub(crate) fn with_paging(&self, paging: Paging) -> Self {
        Self {
            paging,
            ..self.clone()
        }
    }
}

/// The changes with ids after one and up to another, in the order they were captured.
pub(crate) fn changes_between(after_id: i64, to_id: i64) -> ChangesQuery<'static> {
    all_changes()
        .filter(audit_changes::id.gt(after_id))
        .filter(audit_changes::id.le(to_id))
        .order(audit_changes::id.asc())
}
