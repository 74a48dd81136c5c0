//! Finding changes: a stretch of the list, in the order of reading.
//!
//! A query over the changes, transactions and actions of every month takes longer to plan than to
//! run. So changes are found alone, by a statement that a connection prepares once.

use chrono::{DateTime, Utc};
use diesel::expression::Expression;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use threadline_core::storage::STORAGE_SCHEMA;
use uuid::Uuid;

use crate::change::{AuditChange, StoredActor};
use crate::condition::Condition;
use crate::schema::audit_changes;

/// Where a change is, and what belongs to it.
#[derive(Debug, Clone, Queryable)]
#[diesel(check_for_backend(Pg))]
pub(crate) struct Found {
    pub(super) captured_at: DateTime<Utc>,
    pub(super) id: i64,
    pub(super) transaction_id: Uuid,
    pub(super) action_id: Option<Uuid>,
    pub(super) actor_ref: Option<StoredActor>,
}

impl Found {
    pub(super) fn place(&self) -> (DateTime<Utc>, i64) {
        (self.captured_at, self.id)
    }
}

/// A stretch of the list.
#[derive(Debug, Clone)]
pub(super) struct Stretch {
    /// The keys of the row that the changes are of.
    pub(super) segments: Option<Condition>,
    pub(super) conditions: Vec<Condition>,
    pub(super) order: &'static str,
    pub(super) limit: i64,
}

/// Gives the changes of a stretch.
#[derive(Clone)]
pub(crate) struct FindChanges {
    stretch: Stretch,
    columns: ChangeColumns,
}

/// Gives where the changes of a stretch are.
#[derive(Debug, Clone)]
pub(crate) struct FindPlaces {
    stretch: Stretch,
    columns: PlaceColumns,
}

type ChangeColumns = <AuditChange as Selectable<Pg>>::SelectExpression;
type PlaceColumns = (
    audit_changes::captured_at,
    audit_changes::id,
    audit_changes::transaction_id,
    audit_changes::action_id,
    audit_changes::actor_ref,
);

impl Stretch {
    pub(super) fn changes(self) -> FindChanges {
        FindChanges {
            stretch: self,
            columns: <AuditChange as Selectable<Pg>>::construct_selection(),
        }
    }

    pub(super) fn places(self) -> FindPlaces {
        FindPlaces {
            stretch: self,
            columns: (
                audit_changes::captured_at,
                audit_changes::id,
                audit_changes::transaction_id,
                audit_changes::action_id,
                audit_changes::actor_ref,
            ),
        }
    }

    fn walk<'b>(
        &'b self,
        columns: &'b impl QueryFragment<Pg>,
        mut out: AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        let Some(segments) = &self.segments else {
            self.walk_changes(columns, out.reborrow())?;
            self.walk_end(&mut out);
            return Ok(());
        };
        // Key by key, because the index is in the order of capture for each.
        out.push_sql("SELECT audit_changes.* FROM ");
        segments.walk_ast(out.reborrow())?;
        out.push_sql(" AS segment CROSS JOIN LATERAL (");
        self.walk_changes(columns, out.reborrow())?;
        // The planner expects a row to have few changes, so few that it would read them all and sort
        // them. Of a limit it does not know, it expects that it will not.
        out.push_sql(&format!(
            " ORDER BY {} LIMIT (SELECT {})) AS audit_changes",
            self.order, self.limit
        ));
        self.walk_end(&mut out);
        Ok(())
    }

    fn walk_changes<'b>(
        &'b self,
        columns: &'b impl QueryFragment<Pg>,
        mut out: AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        out.push_sql("SELECT ");
        columns.walk_ast(out.reborrow())?;
        out.push_sql(" FROM ");
        out.push_sql(STORAGE_SCHEMA);
        out.push_sql(".audit_changes WHERE true");
        for condition in &self.conditions {
            out.push_sql(" AND ");
            condition.walk_ast(out.reborrow())?;
        }
        Ok(())
    }

    fn walk_end(&self, out: &mut AstPass<'_, '_, Pg>) {
        // The limit is part of the text: the planner would take an unknown one for a large one.
        out.push_sql(&format!(" ORDER BY {} LIMIT {}", self.order, self.limit));
    }
}

impl QueryFragment<Pg> for FindChanges {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.stretch.walk(&self.columns, out)
    }
}

impl QueryFragment<Pg> for FindPlaces {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.stretch.walk(&self.columns, out)
    }
}

impl Query for FindChanges {
    type SqlType = <ChangeColumns as Expression>::SqlType;
}

impl Query for FindPlaces {
    type SqlType = <PlaceColumns as Expression>::SqlType;
}

// The same type stands for any query.
impl QueryId for FindChanges {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryId for FindPlaces {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Conn> RunQueryDsl<Conn> for FindChanges {}
impl<Conn> RunQueryDsl<Conn> for FindPlaces {}
