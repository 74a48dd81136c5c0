//! The statement that reads a page of changes.
//!
//! Each access path has its own SQL, with values hidden from the planner, so that a connection prepares
//! and plans it once: planning for every partition takes longer than reading.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::expression::Expression;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use threadline_core::actor::ActorRef;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;
use threadline_core::transaction::AuditTransactionId;
use uuid::Uuid;

use super::candidates::CandidateIds;
use super::change_filter::{ChangeFilter, row_segments, table_is};
use crate::models::AuditChange;
use crate::query::error::InvalidQuery;
use crate::query::filters::actor_is;
use crate::query::pagination::{Order, Paging, Position};
use crate::query::scope::Scope;
use crate::query::sql_fragment::SqlFragment;

/// How far the server's clock may be set back while a transaction runs. Partitions that end earlier
/// before the transaction's start are not read for its changes.
const CLOCK_SLACK: TimeDelta = TimeDelta::days(1);

/// How changes are found.
#[derive(Debug, Clone, Copy)]
enum AccessPath<'a> {
    /// By each key that a row had, in the order of capture.
    Row(&'a (TableName, String)),
    /// By the id of each candidate transaction, then sorted.
    Candidates(&'a [Uuid]),
    /// In the order of an index that begins with the table.
    Table(&'a TableName),
    /// In the order of an index that begins with the actor.
    Actor(&'a ActorRef),
    /// By a table and an actor. The planner decides by their statistics which index to read.
    TableAndActor,
    /// In the order of an index by time, or by id within a transaction.
    InOrder,
}

/// Reads changes in the order of reading.
#[derive(Clone)]
pub(crate) struct SelectChanges {
    columns: ChangeColumns,
    /// The rows for each of which changes are read, as SQL with an alias.
    joined_to: Option<SqlFragment>,
    conditions: Vec<SqlFragment>,
    /// A condition that is checked after reading.
    outer_condition: Option<SqlFragment>,
    /// None: any order.
    order: Option<&'static str>,
    limit: i64,
    /// Whether the changes of each joined row are read in order, up to the limit; otherwise all are.
    is_limited_each: bool,
}

type ChangeColumns = <AuditChange as Selectable<Pg>>::SelectExpression;

/// A page of changes: what its statement depends on.
pub(super) struct ChangePage<'a> {
    pub(super) filters: &'a ChangeFilter,
    pub(super) scope: Option<&'a Scope>,
    pub(super) order: Order,
    pub(super) paging: &'a Paging,
    /// The position of the cursor, and how the changes of the page compare to it.
    pub(super) position: Option<(&'static str, Position<i64>)>,
    /// Whether values are hidden from the planner: for pages. For the thousands of changes of a count, the
    /// planner needs the window; it would otherwise expect few changes in it, and read and sort them all.
    pub(super) hides_values: bool,
}

/// The changes on one side of a position.
pub(super) fn position_condition(
    filters: &ChangeFilter,
    comparison: &str,
    position: &Position<i64>,
) -> SqlFragment {
    if filters.is_by_id() {
        return SqlFragment::sql(format!("audit_changes.id {comparison} "))
            .bind_number(position.id);
    }
    // The first condition is for the index, the second excludes partitions.
    SqlFragment::sql(format!(
        "(audit_changes.captured_at, audit_changes.id) {comparison} ("
    ))
    .bind_instant(position.at)
    .push_sql(", ")
    .bind_number(position.id)
    .push_sql(format!(
        ") AND audit_changes.captured_at {}= ",
        &comparison[..1]
    ))
    .bind_instant(position.at)
}

impl ChangePage<'_> {
    /// The statement for the page, one change longer than the page.
    pub(super) fn statement(
        &self,
        candidates: &CandidateIds,
    ) -> Result<SelectChanges, InvalidQuery> {
        let path = self.access_path(candidates);
        let mut conditions = self.filters.change_conditions();
        let mut in_context = self.filters.context_lookup();
        if let Some(scope) = self.scope {
            conditions.push(scope.change_condition()?);
        }
        if let Some((comparison, position)) = &self.position {
            conditions.push(position_condition(self.filters, comparison, position));
        }
        let (joined_to, path_conditions) = self.path_conditions(path);
        conditions.extend(path_conditions);
        let is_planned_once = self.hides_values && !matches!(path, AccessPath::TableAndActor);
        if is_planned_once {
            conditions = conditions
                .into_iter()
                .map(SqlFragment::hide_from_planner)
                .collect();
            in_context = in_context.map(SqlFragment::hide_from_planner);
        }
        // All changes of candidates are read, and checked afterwards.
        let outer_condition = in_context.take_if(|_| matches!(path, AccessPath::Candidates(_)));
        conditions.extend(in_context);
        Ok(SelectChanges {
            columns: <AuditChange as Selectable<Pg>>::construct_selection(),
            joined_to: joined_to.map(SqlFragment::hide_from_planner),
            conditions,
            outer_condition,
            order: Some(self.order_by(path)),
            limit: self.paging.size.limit(),
            is_limited_each: matches!(path, AccessPath::Row(_)),
        })
    }

    fn access_path<'a>(&'a self, candidates: &'a CandidateIds) -> AccessPath<'a> {
        let filters = self.filters;
        if let Some(row) = &filters.row {
            return AccessPath::Row(row);
        }
        if filters.transaction.is_some() {
            return AccessPath::InOrder;
        }
        if let Some(ids) = candidates.few() {
            return AccessPath::Candidates(ids);
        }
        match (&filters.table, &filters.context.actor) {
            (Some(_), Some(_)) => AccessPath::TableAndActor,
            (Some(table), None) => AccessPath::Table(table),
            (None, Some(actor)) => AccessPath::Actor(actor),
            (None, None) => AccessPath::InOrder,
        }
    }

    /// The rows that an access path joins changes to, and its conditions on changes.
    fn path_conditions(&self, path: AccessPath<'_>) -> (Option<SqlFragment>, Vec<SqlFragment>) {
        let table = self.filters.table.as_ref();
        let actor = self.filters.context.actor.as_ref();
        let table_and_actor = || {
            let table = table.map(table_is).into_iter();
            table
                .chain(actor.map(|actor| actor_is("audit_changes.actor", actor)))
                .collect()
        };
        match path {
            AccessPath::Row(row) => {
                let mut conditions: Vec<_> = table_and_actor();
                conditions.push(table_is(&row.0));
                conditions.push(SqlFragment::sql(
                    "audit_changes.row_key = segment.row_key \
                     AND audit_changes.id BETWEEN segment.first_id AND segment.last_id",
                ));
                (Some(row_segments(row).push_sql(" AS segment")), conditions)
            }
            AccessPath::Candidates(ids) => {
                let began_at = ids.iter().copied().map(earliest_change).collect();
                let joined_to = SqlFragment::sql("unnest(")
                    .bind_uuids(ids.to_vec())
                    .push_sql(", ")
                    .bind_instants(began_at)
                    .push_sql(") AS candidate (id, began_at)");
                let mut conditions: Vec<_> = table_and_actor();
                conditions.push(SqlFragment::sql(
                    "audit_changes.transaction_id = candidate.id \
                     AND audit_changes.captured_at >= candidate.began_at",
                ));
                (Some(joined_to), conditions)
            }
            AccessPath::Table(table) => {
                let columns = ["audit_changes.table_name", "audit_changes.table_schema"];
                let values = [table.name(), table.schema()];
                (None, self.index_range(&columns, &values).into())
            }
            AccessPath::Actor(actor) => {
                let actor = actor.to_string();
                let range = self.index_range(&["audit_changes.actor"], &[&actor]);
                let is_indexed = SqlFragment::sql("audit_changes.actor IS NOT NULL");
                (None, range.into_iter().chain([is_indexed]).collect())
            }
            AccessPath::TableAndActor | AccessPath::InOrder => (None, table_and_actor()),
        }
    }

    /// The range to read of an index whose first columns have these values, as row comparisons. For an
    /// equality the planner may expect so many changes with these values that it reads an index by
    /// time alone.
    fn index_range(&self, columns: &[&str], values: &[&str]) -> [SqlFragment; 2] {
        let bound = |comparison: &str, rest: [&str; 2]| {
            let [column, value] = rest;
            let columns = columns.join(", ");
            let mut bound = SqlFragment::sql(format!("({columns}, {column}) {comparison} ("));
            for value in values {
                bound = bound.bind_text(*value).push_sql(", ");
            }
            bound.push_sql(value)
        };
        let captured_at = "audit_changes.captured_at";
        let latest = bound("<=", [captured_at, "'infinity')"]);
        let earliest = bound(">=", [captured_at, "'-infinity')"]);
        let (first, last) = if self.paging.reads_descending(self.order) {
            (latest, earliest)
        } else {
            (earliest, latest)
        };
        let first = self
            .position
            .as_ref()
            .map_or(first, |(comparison, position)| {
                let rest = "audit_changes.captured_at, audit_changes.id";
                let start = bound(comparison, [rest, ""]).bind_instant(position.at);
                start.push_sql(", ").bind_number(position.id).push_sql(")")
            });
        [first, last]
    }

    fn order_by(&self, path: AccessPath<'_>) -> &'static str {
        let descending = self.paging.reads_descending(self.order);
        if self.filters.is_by_id() {
            return if descending {
                "audit_changes.id DESC"
            } else {
                "audit_changes.id"
            };
        }
        match (path, descending) {
            (AccessPath::Table(_), true) => {
                "audit_changes.table_name DESC, audit_changes.table_schema DESC, \
                 audit_changes.captured_at DESC, audit_changes.id DESC"
            }
            (AccessPath::Table(_), false) => {
                "audit_changes.table_name, audit_changes.table_schema, \
                 audit_changes.captured_at, audit_changes.id"
            }
            (AccessPath::Actor(_), true) => {
                "audit_changes.actor DESC, audit_changes.captured_at DESC, audit_changes.id DESC"
            }
            (AccessPath::Actor(_), false) => {
                "audit_changes.actor, audit_changes.captured_at, audit_changes.id"
            }
            (_, true) => "audit_changes.captured_at DESC, audit_changes.id DESC",
            (_, false) => "audit_changes.captured_at, audit_changes.id",
        }
    }
}

impl SelectChanges {
    /// The same changes, in any order if they would have to be sorted.
    pub(crate) fn without_sort(mut self) -> Self {
        if self.joined_to.is_some() && !self.is_limited_each {
            self.order = None;
        }
        self
    }
}

/// The instant before which no change of a transaction was captured.
pub(crate) fn earliest_change(id: Uuid) -> DateTime<Utc> {
    let began_at = AuditTransactionId::from(id).started_at();
    began_at
        .and_then(|instant| instant.checked_sub_signed(CLOCK_SLACK))
        .unwrap_or(DateTime::UNIX_EPOCH)
}

/// The statement that reads one change by its id, if it meets a condition.
pub(crate) fn select_change(id: i64, condition: Option<SqlFragment>) -> SelectChanges {
    let is_id = SqlFragment::sql("audit_changes.id = ").bind_number(id);
    // The planner must choose the index of ids, whatever the condition is about.
    let condition = condition.map(SqlFragment::into_filter_only);
    SelectChanges {
        columns: <AuditChange as Selectable<Pg>>::construct_selection(),
        joined_to: None,
        conditions: [is_id].into_iter().chain(condition).collect(),
        outer_condition: None,
        order: Some("audit_changes.id"),
        limit: 1,
        is_limited_each: false,
    }
}

impl QueryFragment<Pg> for SelectChanges {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if let Some(joined_to) = &self.joined_to {
            out.push_sql("SELECT audit_changes.* FROM ");
            joined_to.walk_bare(out.reborrow())?;
            out.push_sql(" CROSS JOIN LATERAL (");
        }
        out.push_sql("SELECT ");
        self.columns.walk_ast(out.reborrow())?;
        out.push_sql(&format!(" FROM {STORAGE_SCHEMA}.audit_changes WHERE true"));
        for condition in &self.conditions {
            out.push_sql(" AND ");
            condition.walk_ast(out.reborrow())?;
        }
        // The limit is a literal: for a parameter the planner assumes a tenth of all rows. In the
        // lateral part that assumption is wanted: with a literal the planner would sort the few changes
        // that it expects of a row.
        let order = self.order.map(|order| format!(" ORDER BY {order}"));
        let order = order.unwrap_or_default();
        match (&self.joined_to, self.is_limited_each) {
            (Some(_), true) => {
                out.push_sql(&format!(
                    "{order} LIMIT (SELECT {})) AS audit_changes",
                    self.limit
                ));
            }
            // OFFSET 0 prevents the planner from merging the subquery into another join.
            (Some(_), false) => out.push_sql(" OFFSET 0) AS audit_changes"),
            (None, _) => {}
        }
        if let Some(condition) = &self.outer_condition {
            out.push_sql(" WHERE ");
            condition.walk_ast(out.reborrow())?;
        }
        out.push_sql(&format!("{order} LIMIT {}", self.limit));
        Ok(())
    }
}

impl Query for SelectChanges {
    type SqlType = <ChangeColumns as Expression>::SqlType;
}

impl QueryId for SelectChanges {
    type QueryId = ();
    // Values of this type have different SQL, so there is no static query id.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Conn> RunQueryDsl<Conn> for SelectChanges {}
