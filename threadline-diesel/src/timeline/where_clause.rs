//! The filters of a timeline in SQL. Each is written once.

use threadline_core::actor::ActorRef;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

use super::{Attribution, FieldSet, Filters};
use crate::circumstances::{TRANSACTION_META, actor_is, actor_type_is, meta_contains};
use crate::condition::Condition;
use crate::terms::{MetaPattern, ScannedText};

impl Filters {
    /// Every filter, for a query that joins changes with their transactions and actions.
    pub(super) fn of_entries(&self) -> Vec<Condition> {
        let mut conditions: Vec<_> = self.table.iter().map(of_table).collect();
        conditions.extend(self.circumstances.actor.as_ref().map(of_actor));
        conditions.extend(self.row.as_ref().map(of_row));
        for sources in self.id_sources() {
            let mut is_in = Condition::sql("audit_changes.transaction_id IN (");
            for (place, source) in sources.iter().enumerate() {
                let union = if place > 0 { " UNION ALL " } else { "" };
                is_in = is_in.then(union).embed(&source.all());
            }
            conditions.push(is_in.then(")"));
        }
        conditions.extend(self.of_changes());
        conditions.extend(self.of_context());
        conditions
    }

    /// What a change's transaction and action must be, for a query of changes alone.
    pub(super) fn in_context(&self) -> Option<Condition> {
        let conditions = self.of_context();
        let (first, rest) = conditions.split_first()?;
        let all = rest
            .iter()
            .fold(Condition::default().with(first), |all, one| {
                all.then(" AND ").with(one)
            });
        Some(in_context(&all))
    }

    /// Filters by columns of changes, except table, actor and row.
    pub(super) fn of_changes(&self) -> Vec<Condition> {
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
        match self.attribution {
            Some(Attribution::Attributed) => {
                conditions.push(Condition::sql("audit_changes.actor IS NOT NULL").on_the_way());
            }
            Some(Attribution::Unattributed) => {
                conditions.push(Condition::sql("audit_changes.actor IS NULL"));
            }
            None => {}
        }
        let checked = self.without_index();
        conditions.extend(checked.into_iter().map(Condition::on_the_way));
        conditions
    }

    /// Filters by columns of changes that have no index.
    fn without_index(&self) -> Vec<Condition> {
        let mut conditions = Vec::new();
        if let Some(actor_type) = self.circumstances.actor_type {
            conditions.push(actor_type_is("audit_changes.actor", actor_type));
        }
        if let Some(schema) = &self.schema {
            conditions.push(Condition::sql("audit_changes.table_schema = ").text(schema));
        }
        if let Some(op) = self.op {
            conditions.push(Condition::sql("audit_changes.op = ").text(op.as_str()));
        } else if self.row.is_none() && self.transaction.is_none() {
            // A baseline is not a change; the history of a row begins with it.
            conditions.push(Condition::sql("audit_changes.op <> 'baseline'"));
        }
        if let Some(field) = &self.changed_field {
            let changed = "audit_changes.op = 'update' AND audit_changes.changed_from ? ";
            conditions.push(Condition::sql(changed).text(field.as_str()));
        }
        conditions.extend(self.field_set.as_ref().map(set_to));
        conditions.extend(self.text.as_ref().map(values_contain));
        conditions
    }

    /// What a change's transaction and action must be.
    fn of_context(&self) -> Vec<Condition> {
        let mut conditions = self.deed.rest();
        conditions.extend(self.deed.name_is());
        if let Some(represented) = &self.circumstances.on_behalf_of {
            conditions.push(actor_is(
                "COALESCE(audit_actions.on_behalf_of, \
                 CASE WHEN audit_transactions.actor IS NOT DISTINCT FROM audit_changes.actor \
                 THEN audit_transactions.on_behalf_of END)",
                represented,
            ));
        }
        for (column, id) in self.circumstances.ids() {
            let in_force = format!("COALESCE(audit_actions.{column}, audit_transactions.{column})");
            conditions.push(Condition::sql(format!("{in_force} = ")).text(id.as_str()));
        }
        conditions.extend(self.circumstances.meta.as_ref().map(meta_of_either));
        conditions.into_iter().map(Condition::on_the_way).collect()
    }
}

/// A condition on a change's transaction and action, which are looked up by id for each change. With
/// LIMIT the planner expects a look-up in one partition; without, that each partition costs one.
fn in_context(condition: &Condition) -> Condition {
    let look_up = |table: &str, id: &str| {
        format!(
            " LEFT JOIN LATERAL (SELECT * FROM {STORAGE_SCHEMA}.{table} \
             WHERE {table}.id = audit_changes.{id} LIMIT 1) AS {table} ON true"
        )
    };
    Condition::sql("(SELECT ")
        .embed(condition)
        .then(" FROM (VALUES (1)) AS one")
        .then(look_up("audit_transactions", "transaction_id"))
        .then(look_up("audit_actions", "action_id"))
        .then(")")
        .on_the_way()
}

pub(super) fn of_table(table: &TableName) -> Condition {
    Condition::sql("audit_changes.table_name = ")
        .text(table.name())
        .then(" AND audit_changes.table_schema = ")
        .text(table.schema())
}

pub(super) fn of_actor(actor: &ActorRef) -> Condition {
    actor_is("audit_changes.actor", actor)
}

/// The changes of a row, also while it had other keys.
fn of_row(row: &(TableName, String)) -> Condition {
    let exact = Condition::sql("(SELECT true FROM ")
        .embed(&row_segments(row))
        .then(
            " AS segment WHERE segment.row_key = audit_changes.row_key \
             AND audit_changes.id BETWEEN segment.first_id AND segment.last_id LIMIT 1)",
        )
        .on_the_way();
    of_table(&row.0)
        // This is for the index.
        .then(" AND audit_changes.row_key = ANY (ARRAY(SELECT row_key FROM ")
        .embed(&row_segments(row))
        .then(")) AND ")
        .embed(&exact)
}

/// The keys that a row had, each with the first and the last change under it.
pub(super) fn row_segments((table, key): &(TableName, String)) -> Condition {
    Condition::sql(format!("{STORAGE_SCHEMA}.row_segments("))
        .text(table.schema())
        .then(", ")
        .text(table.name())
        .then(", ")
        .text(key)
        .then(")")
}

fn meta_of_either(facts: &MetaPattern) -> Condition {
    meta_contains(TRANSACTION_META, facts)
        .then(" OR ")
        .embed(&meta_contains("audit_actions.meta", facts))
}

/// A stored value contains a text, in upper or lower case.
fn values_contain(text: &ScannedText) -> Condition {
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

/// A change set a field: an insert that has the field, an update that changed it.
fn set_to(set: &FieldSet) -> Condition {
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
