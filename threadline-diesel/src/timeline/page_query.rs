//! The statement that reads a page of changes.
//!
//! It has the shape of the way changes are found, and hides its values from the planner, so that a
//! connection prepares and plans it once: planning for every partition takes longer than reading.

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

use super::Timeline;
use super::candidates::CandidateIds;
use super::where_clause::{of_actor, of_table, row_segments};
use crate::change::AuditChange;
use crate::condition::Condition;
use crate::error::InvalidQuestion;
use crate::page::Place;

/// How far the server's clock may be set back while a transaction runs. Its changes are not looked
/// for in partitions that are older than its start by more.
const CLOCK_SLACK: TimeDelta = TimeDelta::days(1);

/// How changes are found.
#[derive(Debug, Clone, Copy)]
enum AccessPath<'a> {
    /// By the keys that a row had, in the order of capture for each.
    Row(&'a (TableName, String)),
    /// By transaction id, a transaction after the other, then sorted.
    Candidates(&'a [Uuid]),
    /// In the order of an index that begins with the table.
    Table(&'a TableName),
    /// In the order of an index that begins with the actor.
    Actor(&'a ActorRef),
    /// Of a table and an actor: which of the two is rarer, the planner knows.
    TableAndActor,
    /// In the order of an index by time, or by id within a transaction.
    InOrder,
}

/// Gives changes in the order of reading.
#[derive(Clone)]
pub(crate) struct SelectChanges {
    columns: ChangeColumns,
    /// What the changes are joined to laterally, as SQL with an alias.
    joined_to: Option<Condition>,
    conditions: Vec<Condition>,
    /// A condition on what was read.
    checked_after: Option<Condition>,
    order: &'static str,
    limit: i64,
    /// The changes of each joined row are read in order, up to the limit; otherwise all of them.
    is_limited_each: bool,
}

type ChangeColumns = <AuditChange as Selectable<Pg>>::SelectExpression;

impl Timeline {
    /// The statement for one page, one change longer than the page.
    pub(crate) fn page_query(
        &self,
        candidates: &CandidateIds,
    ) -> Result<SelectChanges, InvalidQuestion> {
        self.checked()?;
        let path = self.access_path(candidates);
        let place = self.paging.place::<i64>(&self.digest(), self.order)?;
        let mut conditions = self.filters.of_changes();
        let mut in_context = self.filters.in_context();
        if let Some(scope) = &self.scope {
            conditions.push(scope.of_changes()?);
        }
        if let Some((comparison, place)) = &place {
            conditions.push(self.beyond(comparison, place));
        }
        let place = place.as_ref();
        let (joined_to, found) = self.found_by(path, place);
        conditions.extend(found);
        let is_planned_once = !matches!(path, AccessPath::TableAndActor);
        if is_planned_once {
            conditions = conditions.into_iter().map(Condition::unseen).collect();
            in_context = in_context.map(Condition::unseen);
        }
        // Of candidates all changes are read, and checked afterwards.
        let checked_after = in_context.take_if(|_| matches!(path, AccessPath::Candidates(_)));
        conditions.extend(in_context);
        Ok(SelectChanges {
            columns: <AuditChange as Selectable<Pg>>::construct_selection(),
            joined_to: joined_to.map(Condition::unseen),
            conditions,
            checked_after,
            order: self.order_by(path),
            limit: self.paging.size.limit(),
            is_limited_each: matches!(path, AccessPath::Row(_)),
        })
    }

    fn access_path<'a>(&'a self, candidates: &'a CandidateIds) -> AccessPath<'a> {
        let filters = &self.filters;
        if let Some(row) = &filters.row {
            return AccessPath::Row(row);
        }
        if filters.transaction.is_some() {
            return AccessPath::InOrder;
        }
        if let Some(ids) = candidates.few() {
            return AccessPath::Candidates(ids);
        }
        match (&filters.table, &filters.circumstances.actor) {
            (Some(_), Some(_)) => AccessPath::TableAndActor,
            (Some(table), None) => AccessPath::Table(table),
            (None, Some(actor)) => AccessPath::Actor(actor),
            (None, None) => AccessPath::InOrder,
        }
    }

    /// What an access path joins changes to, and its conditions on them.
    fn found_by(
        &self,
        path: AccessPath<'_>,
        place: Option<&(&'static str, Place<i64>)>,
    ) -> (Option<Condition>, Vec<Condition>) {
        let table = self.filters.table.as_ref();
        let actor = self.filters.circumstances.actor.as_ref();
        let table_and_actor = || {
            let table = table.map(of_table).into_iter();
            table.chain(actor.map(of_actor)).collect()
        };
        match path {
            AccessPath::Row(row) => {
                let mut conditions: Vec<_> = table_and_actor();
                conditions.push(of_table(&row.0));
                conditions.push(Condition::sql(
                    "audit_changes.row_key = segment.row_key \
                     AND audit_changes.id BETWEEN segment.first_id AND segment.last_id",
                ));
                (Some(row_segments(row).then(" AS segment")), conditions)
            }
            AccessPath::Candidates(ids) => {
                let began_at = ids.iter().copied().map(earliest_change).collect();
                let joined_to = Condition::sql("unnest(")
                    .uuids(ids.to_vec())
                    .then(", ")
                    .instants(began_at)
                    .then(") AS candidate (id, began_at)");
                let mut conditions: Vec<_> = table_and_actor();
                conditions.push(Condition::sql(
                    "audit_changes.transaction_id = candidate.id \
                     AND audit_changes.captured_at >= candidate.began_at",
                ));
                (Some(joined_to), conditions)
            }
            AccessPath::Table(table) => {
                let columns = ["audit_changes.table_name", "audit_changes.table_schema"];
                let values = [table.name(), table.schema()];
                (None, self.within(&columns, &values, place).into())
            }
            AccessPath::Actor(actor) => {
                let actor = actor.to_string();
                let within = self.within(&["audit_changes.actor"], &[&actor], place);
                let is_indexed = Condition::sql("audit_changes.actor IS NOT NULL");
                (None, within.into_iter().chain([is_indexed]).collect())
            }
            AccessPath::TableAndActor | AccessPath::InOrder => (None, table_and_actor()),
        }
    }

    /// Where reading begins and ends in an index whose first columns have these values. Written as
    /// bounds of rows: with equality, the planner may expect so many changes with these values that it
    /// reads an index by time alone.
    fn within(
        &self,
        columns: &[&str],
        values: &[&str],
        place: Option<&(&'static str, Place<i64>)>,
    ) -> [Condition; 2] {
        let bound = |comparison: &str, rest: [&str; 2]| {
            let [column, value] = rest;
            let columns = columns.join(", ");
            let mut bound = Condition::sql(format!("({columns}, {column}) {comparison} ("));
            for value in values {
                bound = bound.text(*value).then(", ");
            }
            bound.then(value)
        };
        let captured_at = "audit_changes.captured_at";
        let latest = bound("<=", [captured_at, "'infinity')"]);
        let earliest = bound(">=", [captured_at, "'-infinity')"]);
        let (first, last) = if self.paging.reads_descending(self.order) {
            (latest, earliest)
        } else {
            (earliest, latest)
        };
        let first = place.map_or(first, |(comparison, place)| {
            let rest = "audit_changes.captured_at, audit_changes.id";
            let begin = bound(comparison, [rest, ""]).instant(place.at);
            begin.then(", ").number(place.id).then(")")
        });
        [first, last]
    }

    fn order_by(&self, path: AccessPath<'_>) -> &'static str {
        let descending = self.paging.reads_descending(self.order);
        if self.is_by_id() {
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

/// No change of a transaction was captured before this instant.
fn earliest_change(id: Uuid) -> DateTime<Utc> {
    let began_at = AuditTransactionId::from(id).started_at();
    began_at
        .and_then(|instant| instant.checked_sub_signed(CLOCK_SLACK))
        .unwrap_or(DateTime::UNIX_EPOCH)
}

/// One change by its id.
pub(crate) fn change_with_id(id: i64) -> SelectChanges {
    SelectChanges {
        columns: <AuditChange as Selectable<Pg>>::construct_selection(),
        joined_to: None,
        conditions: vec![Condition::sql("audit_changes.id = ").number(id)],
        checked_after: None,
        order: "audit_changes.id",
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
        // The limit is in the text: the planner expects an unknown one to be a tenth of all rows. That
        // is used inside, where it would expect a row to have so few changes that sorting is cheaper.
        let order = format!(" ORDER BY {}", self.order);
        match (&self.joined_to, self.is_limited_each) {
            (Some(_), true) => {
                out.push_sql(&format!(
                    "{order} LIMIT (SELECT {})) AS audit_changes",
                    self.limit
                ));
            }
            // OFFSET keeps the planner from joining in another way.
            (Some(_), false) => out.push_sql(" OFFSET 0) AS audit_changes"),
            (None, _) => {}
        }
        if let Some(condition) = &self.checked_after {
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
    // The same type stands for any query.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Conn> RunQueryDsl<Conn> for SelectChanges {}
