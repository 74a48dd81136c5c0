//! The query that joins changes with their transactions and actions, for the host's own filters.

use diesel::dsl::{self, auto_type};
use diesel::pg::Pg;
use diesel::prelude::*;

use crate::models::{AuditAction, AuditChange, AuditTransaction};
use crate::query::sql_fragment::SqlFragment;
use crate::schema::{audit_actions, audit_changes, audit_transactions};

/// Changes with their transactions and actions.
#[auto_type]
fn changes_with_attribution(transaction: SqlFragment, action: SqlFragment) -> _ {
    audit_changes::table
        .left_join(audit_transactions::table.on(transaction))
        .left_join(audit_actions::table.on(action))
        .select(entry_columns())
}

fn join_transaction() -> SqlFragment {
    SqlFragment::sql("audit_transactions.id = audit_changes.transaction_id").without_plan_cache()
}

fn join_action() -> SqlFragment {
    SqlFragment::sql("audit_actions.id = audit_changes.action_id").without_plan_cache()
}

/// All changes with their transactions and actions.
pub(super) fn all_entries() -> ChangesQuery<'static> {
    changes_with_attribution(join_transaction(), join_action()).into_boxed()
}

#[auto_type]
fn entry_columns() -> _ {
    let change: dsl::AsSelect<AuditChange, Pg> = AuditChange::as_select();
    let transaction: dsl::AsSelect<Option<AuditTransaction>, Pg> =
        Option::<AuditTransaction>::as_select();
    let action: dsl::AsSelect<Option<AuditAction>, Pg> = Option::<AuditAction>::as_select();
    (change, transaction, action)
}

/// The Diesel query of a timeline, for the host's own filters over [`schema`](crate::schema).
pub type ChangesQuery<'a> = dsl::IntoBoxed<'a, changes_with_attribution, Pg>;

/// The changes with ids after one and up to another, in the order of capture.
pub(crate) fn changes_between(after_id: i64, to_id: i64) -> ChangesQuery<'static> {
    all_entries()
        .filter(audit_changes::id.gt(after_id))
        .filter(audit_changes::id.le(to_id))
        .order(audit_changes::id.asc())
}
