//! The filters of a timeline in SQL.

use threadline_core::actor::ActorRef;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

use super::reach::{FEW_CHANGES, NewestFirst, OfTransactions, Reach};
use super::reading::looked_up;
use super::{Attribution, FieldSet, Filters, Reached, Route, Timeline};
use crate::circumstances::{
    actor_is, indexed_actor, meta_contains, transactions_with_actor, transactions_with_id,
};
use crate::condition::Condition;
use crate::terms::{MetaPattern, ScannedText};

/// The actor in force of a change, JSON null for nobody.
const IN_FORCE: &str = "COALESCE(audit_changes.actor_ref, audit_transactions.actor_ref, 'null')";

impl Timeline {
    /// What has to be looked up before the question can be asked the best way; nothing where a
    /// row's or a transaction's few changes are all there is to look at.
    pub(crate) fn reached(&self) -> Option<Reached> {
        let reaches = self.filters.reaches();
        (!reaches.is_empty()).then(|| Reached::few(reaches))
    }
}

impl Filters {
    /// Everything, for a query that has changes, transactions and actions.
    pub(super) fn of_entries(&self, route: &Route) -> Vec<Condition> {
        let mut conditions = self.of_changes(route);
        if let Some(row) = &self.row {
            // This is for the index, and the next is exact.
            conditions.push(row_segments(
                "audit_changes.row_key = ANY (ARRAY(SELECT row_key FROM ",
                row,
                "))",
            ));
            conditions.push(
                row_segments(
                    "(SELECT true FROM ",
                    row,
                    " AS segment WHERE segment.row_key = audit_changes.row_key \
                     AND audit_changes.id BETWEEN segment.first_id AND segment.last_id LIMIT 1)",
                )
                .on_the_way(),
            );
        }
        conditions.extend(self.of_attribution());
        conditions
    }

    /// What changes say themselves, except which row they are of.
    pub(super) fn of_changes(&self, route: &Route) -> Vec<Condition> {
        let row = self.row.as_ref().map(|(table, _)| table);
        let tables = self.table.iter().chain(row);
        let mut conditions: Vec<_> = tables.map(of_table).collect();
        conditions.extend(self.of_changes_of_any_table(route));
        conditions
    }

    /// The same without the table.
    pub(super) fn of_changes_of_any_table(&self, route: &Route) -> Vec<Condition> {
        let mut conditions = Vec::new();
        if let Some(id) = self.transaction {
            conditions.push(Condition::sql("audit_changes.transaction_id = ").uuid(id.as_uuid()));
        }
        if let Some(from) = self.circumstances.from {
            conditions.push(Condition::sql("audit_changes.captured_at >= ").instant(from));
        }
        if let Some(to) = self.circumstances.to {
            conditions.push(Condition::sql("audit_changes.captured_at <= ").instant(to));
        }
        for (place, reach) in self.reaches().iter().enumerate() {
            if let Some(found) = route.to("audit_changes.transaction_id", place, reach) {
                conditions.push(found);
                conditions.push(Condition::sql(FEW_CHANGES));
                if matches!(route, Route::Found(_)) {
                    conditions.push(looked_up("audit_changes.id"));
                }
            }
        }
        let checked = self.of_changes_on_the_way();
        conditions.extend(checked.into_iter().map(Condition::on_the_way));
        conditions
    }

    /// The transactions in which to look, as queries of ids that indexes answer: one for each filter
    /// that is about transactions and actions.
    fn reaches(&self) -> Vec<Reach> {
        if self.row.is_some() || self.transaction.is_some() {
            return Vec::new();
        }
        let mut reaches = Vec::new();
        if let Some(actor) = &self.circumstances.actor {
            reaches.push(reach_of(actor));
        }
        if self.attribution == Some(Attribution::Unattributed) {
            let nobody = Condition::sql(
                "actor_ref IS NOT NULL AND actor_ref ->> 'id' IS NULL \
                 AND actor_ref ->> 'type' IS NULL",
            );
            reaches.push(Reach {
                transactions: Some(OfTransactions {
                    newest_first: Some(NewestFirst::where_id_is_first("actor_ref IS NULL")),
                    condition: Condition::sql("actor_ref IS NULL"),
                }),
                others: Some(from_changes(&nobody)),
            });
        }
        if let Some(represented) = &self.circumstances.on_behalf_of {
            reaches.push(Reach {
                transactions: Some(transactions_with_actor("on_behalf_of", represented)),
                others: Some(from_actions(&indexed_actor("on_behalf_of", represented))),
            });
        }
        for (column, id) in self.circumstances.ids() {
            let theirs = Condition::sql(format!("{column} = ")).text(id.as_str());
            reaches.push(Reach {
                transactions: Some(transactions_with_id(column, id)),
                others: Some(from_actions(&theirs)),
            });
        }
        for deed in self.deed.name_is().into_iter().chain(self.deed.failed()) {
            reaches.push(Reach {
                transactions: None,
                others: Some(from_actions(&deed)),
            });
        }
        reaches
    }

    /// What each change is checked for.
    fn of_changes_on_the_way(&self) -> Vec<Condition> {
        let mut conditions = Vec::new();
        if let Some(schema) = &self.schema {
            conditions.push(Condition::sql("audit_changes.table_schema = ").text(schema));
        }
        if let Some(op) = self.op {
            conditions.push(Condition::sql("audit_changes.op = ").text(op.as_str()));
        } else if self.row.is_none() && self.transaction.is_none() {
            // What was there before capture is no change; the history of a row begins with it.
            conditions.push(Condition::sql("audit_changes.op <> 'baseline'"));
        }
        if let Some(field) = &self.changed_field {
            let changed = "audit_changes.op = 'update' AND audit_changes.changed_from ? ";
            conditions.push(Condition::sql(changed).text(field.as_str()));
        }
        conditions.extend(self.field_set.as_ref().map(came_to));
        conditions.extend(self.text.as_ref().map(values_hold));
        conditions
    }

    /// What each change's transaction and action are checked for.
    pub(super) fn of_attribution(&self) -> Vec<Condition> {
        let mut conditions = self.deed.rest();
        conditions.extend(self.deed.name_is());
        conditions.extend(self.circumstances.actor.as_ref().map(in_force_is));
        if let Some(actor_type) = self.circumstances.actor_type {
            let type_is = Condition::sql(format!("{IN_FORCE} ->> 'type' = "));
            conditions.push(type_is.text(actor_type.as_str()));
        }
        if let Some(represented) = &self.circumstances.on_behalf_of {
            let in_force = "COALESCE(audit_actions.on_behalf_of, audit_transactions.on_behalf_of)";
            conditions.push(actor_is(in_force, represented));
        }
        for (column, id) in self.circumstances.ids() {
            let in_force = format!("COALESCE(audit_actions.{column}, audit_transactions.{column})");
            conditions.push(Condition::sql(format!("{in_force} = ")).text(id.as_str()));
        }
        conditions.extend(self.circumstances.meta.as_ref().map(meta_of_either));
        match self.attribution {
            Some(Attribution::Attributed) => {
                conditions.push(Condition::sql(format!("{IN_FORCE} <> 'null'")));
            }
            Some(Attribution::Unattributed) => {
                conditions.push(Condition::sql(format!("{IN_FORCE} = 'null'")));
            }
            None => {}
        }
        conditions.into_iter().map(Condition::on_the_way).collect()
    }
}

fn of_table(table: &TableName) -> Condition {
    Condition::sql("audit_changes.table_name = ")
        .text(table.name())
        .then(" AND audit_changes.table_schema = ")
        .text(table.schema())
}

fn in_force_is(actor: &ActorRef) -> Condition {
    actor_is(IN_FORCE, actor)
}

/// The transactions that an actor signed, and those inside which they made a change.
pub(crate) fn reach_of(actor: &ActorRef) -> Reach {
    Reach {
        transactions: Some(transactions_with_actor("actor_ref", actor)),
        others: Some(from_changes(&indexed_actor("actor_ref", actor))),
    }
}

fn from_changes(condition: &Condition) -> Condition {
    Condition::sql(format!(
        "SELECT transaction_id FROM {STORAGE_SCHEMA}.audit_changes WHERE "
    ))
    .with(condition)
}

fn from_actions(condition: &Condition) -> Condition {
    Condition::sql(format!(
        "SELECT transaction_id FROM {STORAGE_SCHEMA}.audit_actions WHERE "
    ))
    .with(condition)
}

fn meta_of_either(facts: &MetaPattern) -> Condition {
    let either = Condition::default().with(&meta_contains("audit_transactions.meta", facts));
    // Where either is unknown, the other decides.
    either
        .on_the_way()
        .then(" OR ")
        .embed(&meta_contains("audit_actions.meta", facts))
}

/// Some value of some column holds a text, upper and lower case alike.
fn values_hold(text: &ScannedText) -> Condition {
    Condition::sql(
        "(SELECT true FROM jsonb_each_text(COALESCE(audit_changes.data_after, '{}')) AS field \
         WHERE strpos(lower(field.value), lower(",
    )
    .text(text.as_str())
    .then(
        ")) > 0 LIMIT 1) OR (SELECT true \
         FROM jsonb_each_text(COALESCE(audit_changes.changed_from, '{}')) AS field \
         WHERE strpos(lower(field.value), lower(",
    )
    .text(text.as_str())
    .then(")) > 0 LIMIT 1)")
}

/// A change gave a field its value: an insert that has the field, an update that changed it.
fn came_to(set: &FieldSet) -> Condition {
    let field = set.field.as_str();
    let given = Condition::sql("audit_changes.op = 'insert' AND audit_changes.data_after ? ")
        .text(field)
        .then(" OR audit_changes.op = 'update' AND audit_changes.changed_from ? ")
        .text(field);
    let Some(value) = &set.value else {
        return given;
    };
    let (operator, value, cast) = value.comparison();
    let is = Condition::sql(format!("audit_changes.data_after {operator} "))
        .text(field)
        .then(" = ")
        .text(value)
        .then(cast);
    given.and(&is)
}

/// A condition over the segments of a row: the keys it had, and when.
pub(super) fn row_segments(
    before: &str,
    (table, key): &(TableName, String),
    after: &str,
) -> Condition {
    Condition::sql(format!("{before}{STORAGE_SCHEMA}.row_segments("))
        .text(table.schema())
        .then(", ")
        .text(table.name())
        .then(", ")
        .text(key)
        .then(format!("){after}"))
}
