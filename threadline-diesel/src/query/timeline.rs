//! Queries for changes across tables.

mod candidates;
mod change_filter;
pub(crate) mod entries_query;
mod lookup;
pub(crate) mod page_query;
mod timeline_changes;
#[cfg(feature = "async")]
pub(crate) mod with_children;

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use threadline_core::action::ActionStatus;
use threadline_core::actor::{ActorRef, ActorType};
use threadline_core::context::ContextId;
use threadline_core::row_key::RowKeyText;
use threadline_core::table::TableName;
use threadline_core::transaction::AuditTransactionId;

pub(crate) use self::candidates::{CandidateIds, CandidateQuery, CandidateRow, IdSource};
pub use self::change_filter::Attribution;
use self::change_filter::ChangeFilter;
pub(crate) use self::change_filter::FieldSet;
pub use self::entries_query::ChangesQuery;
use self::entries_query::all_entries;
pub(crate) use self::lookup::{LookupRow, TransactionCache};
pub(crate) use self::page_query::SelectChanges;
#[cfg(feature = "async")]
pub(crate) use self::page_query::earliest_change;
use self::page_query::{ChangePage, position_condition};
pub(crate) use self::timeline_changes::TimelineChanges;
#[cfg(feature = "async")]
pub use self::with_children::HistoryWithChildren;
use super::error::InvalidQuery;
use super::filter_values::{ColumnName, MetaPattern, SearchText};
use super::pagination::{Cursor, Order, Page, PageSize, Paging, Start, digest, sha256};
use super::scope::Scope;
use super::sql_fragment::SqlFragment;
use crate::models::{Op, TimelineEntry};
use crate::schema::audit_changes;

/// A query for changes across tables, read a page at a time by [`timeline`](crate::timeline()).
///
/// ```
/// use threadline_diesel::Op;
/// use threadline_diesel::Timeline;
///
/// let query = Timeline::new()
///     .table("billing.invoices".parse()?)
///     .op(Op::Delete)
///     .actor("user:42".parse()?);
/// # let _ = query;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Timeline {
    filters: ChangeFilter,
    order: Order,
    paging: Paging,
    scope: Option<Scope>,
}

/// The timeline of an actor's changes between two instants, both inclusive.
///
/// ```
/// use threadline_diesel::query::actor_window;
///
/// let query = actor_window(
///     "admin:rita".parse()?,
///     "2026-01-12T00:00:00Z".parse()?,
///     "2026-01-13T00:00:00Z".parse()?,
/// );
/// # let _ = query;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn actor_window(actor: ActorRef, from: DateTime<Utc>, to: DateTime<Utc>) -> Timeline {
    Timeline::new().actor(actor).from(from).to(to)
}

impl Timeline {
    /// All changes. Baselines are not changes: they appear in the history of a row, and with
    /// [`op`](Self::op)`(Op::Baseline)`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only changes by an actor.
    #[must_use]
    pub fn actor(mut self, actor: ActorRef) -> Self {
        self.filters.context.actor = Some(actor);
        self
    }

    /// Only changes by actors of a type. No index serves this filter: changes are read in order
    /// until the page is full.
    #[must_use]
    pub fn actor_type(mut self, actor_type: ActorType) -> Self {
        self.filters.context.actor_type = Some(actor_type);
        self
    }

    /// Only changes on behalf of an actor, by any actor.
    #[must_use]
    pub fn on_behalf_of(mut self, represented: ActorRef) -> Self {
        self.filters.context.on_behalf_of = Some(represented);
        self
    }

    /// Only changes of a correlation.
    #[must_use]
    pub fn correlation_id(mut self, id: ContextId) -> Self {
        self.filters.context.correlation_id = Some(id);
        self
    }

    /// Only changes of a request.
    #[must_use]
    pub fn request_id(mut self, id: ContextId) -> Self {
        self.filters.context.request_id = Some(id);
        self
    }

    /// Only changes of a job.
    #[must_use]
    pub fn job_id(mut self, id: ContextId) -> Self {
        self.filters.context.job_id = Some(id);
        self
    }

    /// Only changes with ids in a range. Changes are read by time: give the window of the range, too.
    #[must_use]
    pub fn ids(mut self, ids: RangeInclusive<i64>) -> Self {
        self.filters.ids = Some(ids.into_inner());
        self
    }

    /// Only changes captured at or after an instant.
    #[must_use]
    pub fn from(mut self, instant: DateTime<Utc>) -> Self {
        self.filters.context.from = Some(instant);
        self
    }

    /// Only changes captured at or before an instant.
    #[must_use]
    pub fn to(mut self, instant: DateTime<Utc>) -> Self {
        self.filters.context.to = Some(instant);
        self
    }

    /// Only changes of a table.
    #[must_use]
    pub fn table(mut self, table: TableName) -> Self {
        self.filters.table = Some(table);
        self
    }

    /// Only changes of the tables of a schema. No index serves this filter: changes are read in order
    /// until the page is full.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.filters.schema = Some(schema.into());
        self
    }

    /// Only changes of one row: the row that has the key now, or had it last. Its changes under earlier
    /// keys are included.
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

    /// Only inserts, updates, deletes, truncates or baselines.
    #[must_use]
    pub fn op(mut self, op: Op) -> Self {
        self.filters.op = Some(op);
        self
    }

    /// Only updates that changed a field.
    ///
    /// Inserts and deletes are not included: they set and remove every field of a row. To find
    /// when a field got its first value, use [`FieldHistory`](crate::query::FieldHistory). With a table, the index
    /// of the table by time is read; without one, changes are read in order until the page is full.
    #[must_use]
    pub fn changed_field(mut self, field: ColumnName) -> Self {
        self.filters.changed_field = Some(field);
        self
    }

    /// Only changes with a stored value that contains a text; see [`SearchText`] for the cost.
    #[must_use]
    pub fn scanning_values(mut self, text: SearchText) -> Self {
        self.filters.text = Some(text);
        self
    }

    /// Only changes whose transaction or action has these fields in `meta`.
    #[must_use]
    pub fn meta(mut self, facts: MetaPattern) -> Self {
        self.filters.context.meta = Some(facts);
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
        self.filters.action.name = Some(name.into());
        self
    }

    /// Only changes under actions of a category. No index serves this filter.
    #[must_use]
    pub fn action_category(mut self, category: impl Into<String>) -> Self {
        self.filters.action.category = Some(category.into());
        self
    }

    /// Only changes under actions with a status.
    #[must_use]
    pub fn action_status(mut self, status: ActionStatus) -> Self {
        self.filters.action.status = Some(status);
        self
    }

    /// The order of the changes: newest first unless set.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    pub(crate) fn field_set(mut self, set: FieldSet) -> Self {
        self.filters.field_set = Some(set);
        self
    }

    /// Restricts the list to a scope.
    #[must_use]
    pub fn scope(mut self, scope: &Scope) -> Self {
        self.scope = Some(scope.clone());
        self
    }

    /// The number of entries of a page; 50 unless set.
    #[must_use]
    pub fn page_size(mut self, size: PageSize) -> Self {
        self.paging.size = size;
        self
    }

    /// The page after a cursor of the same query.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.paging.start = Start::After(cursor);
        self
    }

    /// The page before a cursor of the same query: the entries that precede the cursor, in the order
    /// of the list.
    #[must_use]
    pub fn before(mut self, cursor: Cursor) -> Self {
        self.paging.start = Start::Before(cursor);
        self
    }

    /// The Diesel query of one page, for the host's own filters. It reads one row more than the page,
    /// with [`before`](Self::before) against the order of the list; [`page`](Self::page) cuts the page
    /// out of the rows.
    ///
    /// # Errors
    /// [`InvalidQuery`] when the cursor belongs to another query, the window is empty, an action name
    /// or category is invalid, or the scope cannot be applied.
    pub fn query(&self) -> Result<ChangesQuery<'static>, InvalidQuery> {
        self.validate()?;
        let mut query = self.matching_entries();
        if let Some(scope) = &self.scope {
            query = query.filter(scope.change_condition()?);
        }
        let position = self.paging.position::<i64>(&self.digest(), self.order)?;
        if let Some((comparison, position)) = position {
            query = query.filter(position_condition(&self.filters, comparison, &position));
        }
        let descending = self.paging.reads_descending(self.order);
        let query = match (self.filters.is_by_id(), descending) {
            (true, true) => query.order(audit_changes::id.desc()),
            (true, false) => query.order(audit_changes::id.asc()),
            (false, true) => {
                query.order((audit_changes::captured_at.desc(), audit_changes::id.desc()))
            }
            (false, false) => {
                query.order((audit_changes::captured_at.asc(), audit_changes::id.asc()))
            }
        };
        Ok(query.limit(self.paging.size.limit()))
    }

    /// The Diesel query of every matching change, oldest first, for exports, which stream it. Page
    /// size and cursor are ignored; with a scope that cannot be applied it returns nothing.
    #[must_use]
    pub fn unpaged_query(&self) -> ChangesQuery<'static> {
        let mut query = self.matching_entries();
        if let Some(scope) = &self.scope {
            let visible = scope.change_condition();
            query = query.filter(visible.unwrap_or_else(|_| SqlFragment::sql("false")));
        }
        query.order((audit_changes::captured_at.asc(), audit_changes::id.asc()))
    }

    fn matching_entries(&self) -> ChangesQuery<'static> {
        let conditions = self.filters.entry_conditions().into_iter();
        conditions.fold(all_entries(), ChangesQuery::filter)
    }

    fn validate(&self) -> Result<(), InvalidQuery> {
        self.filters.context.validate()?;
        self.filters.action.validate()
    }

    fn digest(&self) -> String {
        digest("changes", &self.filters, self.scope.as_ref(), self.order)
    }

    /// The SHA-256 of the filters, scope and order: equal for equal timelines, whatever the page. For caches.
    ///
    /// ```
    /// use threadline_diesel::Timeline;
    ///
    /// let invoices = Timeline::new().table("invoices".parse()?);
    /// assert_eq!(invoices.fingerprint(), invoices.clone().fingerprint());
    /// assert_ne!(invoices.fingerprint(), Timeline::new().fingerprint());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256("changes", &self.filters, self.scope.as_ref(), self.order)
    }

    /// The filters as JSON, for records of read access.
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

    /// Cuts the page out of the rows of [`query`](Self::query).
    #[must_use]
    pub fn page(&self, rows: Vec<TimelineEntry>) -> Page<TimelineEntry> {
        let digest = self.digest();
        self.paging.page(rows, |entry| {
            Cursor::at(&digest, entry.change.captured_at, &entry.change.id)
        })
    }

    /// The query of the transactions whose changes are read; none if no filter is about transactions
    /// or actions.
    pub(crate) fn candidate_query(&self) -> Option<CandidateQuery> {
        self.filters.candidate_query()
    }

    /// The query of the changes of the candidates if these are few, otherwise of all matching changes.
    pub(crate) fn changes<'a>(&'a self, candidates: &'a CandidateIds) -> TimelineChanges<'a> {
        TimelineChanges {
            timeline: self,
            candidates,
        }
    }

    #[cfg(feature = "async")]
    pub(crate) fn filters(&self) -> &ChangeFilter {
        &self.filters
    }

    #[cfg(feature = "async")]
    pub(crate) fn is_scoped(&self) -> bool {
        self.scope.is_some()
    }

    /// Whether the timeline has no filters but a window, and no scope.
    #[cfg(feature = "async")]
    pub(crate) fn is_unfiltered(&self) -> bool {
        let whole = self.clone().without_window();
        whole.filters == ChangeFilter::default() && self.scope.is_none()
    }

    /// The timeline from the first change to the last.
    #[cfg(feature = "async")]
    pub(crate) fn without_window(mut self) -> Self {
        self.filters.context.from = None;
        self.filters.context.to = None;
        self
    }

    /// The statement of a page of changes.
    fn select_page(
        &self,
        paging: &Paging,
        candidates: &CandidateIds,
        hides_values: bool,
    ) -> Result<SelectChanges, InvalidQuery> {
        self.validate()?;
        let page = ChangePage {
            filters: &self.filters,
            scope: self.scope.as_ref(),
            order: self.order,
            paging,
            position: paging.position(&self.digest(), self.order)?,
            hides_values,
        };
        page.statement(candidates)
    }

    /// The first page of the list.
    #[cfg(feature = "async")]
    pub(crate) fn first_page(mut self) -> Self {
        self.paging.start = Start::Beginning;
        self
    }

    /// The statement of the newest changes of the whole list, one more than a limit.
    #[cfg(feature = "async")]
    pub(crate) fn newest_changes(
        &self,
        candidates: &CandidateIds,
        limit: u32,
    ) -> Result<SelectChanges, InvalidQuery> {
        let whole = Self {
            order: Order::NewestFirst,
            paging: Paging {
                size: PageSize::cap(limit),
                start: Start::Beginning,
            },
            ..self.clone()
        };
        whole.select_page(&whole.paging, candidates, false)
    }

    /// The timeline with one entry a page, in an order.
    pub(crate) fn one_entry(mut self, order: Order) -> Self {
        self.order = order;
        self.paging = Paging {
            size: PageSize::ONE,
            start: Start::Beginning,
        };
        self
    }
}

impl From<&Self> for Timeline {
    fn from(timeline: &Self) -> Self {
        timeline.clone()
    }
}
