//! The filters of a timeline and their SQL.

use serde::Serialize;
use threadline_core::action::ActionStatus;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;
use threadline_core::transaction::AuditTransactionId;

use super::candidates::{CandidateQuery, IdSource};
use crate::models::Op;
use crate::query::filter_values::{ColumnName, FieldValue, MetaPattern, SearchText};
use crate::query::filters::{
    ActionFilter, ContextFilter, TRANSACTION_META, actor_is, actor_type_is, meta_contains,
};
use crate::query::sql_fragment::SqlFragment;

/// The filters of a timeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct ChangeFilter {
    pub(crate) table: Option<TableName>,
    pub(crate) schema: Option<String>,
    /// The table and the stored form of the key.
    pub(crate) row: Option<(TableName, String)>,
    pub(crate) transaction: Option<AuditTransactionId>,
    /// The first and the last id.
    // Absent unless set, so that cursors of earlier releases stay valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ids: Option<(i64, i64)>,
    pub(crate) op: Option<Op>,
    pub(crate) changed_field: Option<ColumnName>,
    pub(crate) field_set: Option<FieldSet>,
    pub(crate) refers_to: Option<RefersTo>,
    pub(crate) text: Option<SearchText>,
    pub(crate) attribution: Option<Attribution>,
    #[serde(flatten)]
    pub(crate) context: ContextFilter,
    #[serde(flatten)]
    pub(crate) action: ActionFilter,
}

/// A filter for changes that set a field, to a value or to any value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FieldSet {
    pub(crate) field: ColumnName,
    pub(crate) value: Option<FieldValue>,
}

/// A foreign key and the values by which it refers to a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RefersTo {
    /// The columns of the foreign key.
    pub(crate) columns: Vec<String>,
    /// The values of the columns as text, for each state of the row.
    pub(crate) values: Vec<Vec<String>>,
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

impl ChangeFilter {
    /// The query of candidate transactions; none if a row, a transaction or columns of changes find
    /// the changes.
    pub(super) fn candidate_query(&self) -> Option<CandidateQuery> {
        CandidateQuery::new(&self.id_sources())
    }

    /// For each filter that an index of transactions or actions serves, the tables to search.
    fn id_sources(&self) -> Vec<Vec<IdSource>> {
        if self.row.is_some() || self.transaction.is_some() {
            return Vec::new();
        }
        let represented = self.context.on_behalf_of.as_ref();
        let represented = represented.map(|actor| ("on_behalf_of", actor.to_string()));
        let ids = self.context.ids();
        let in_both = ids.map(|(column, id)| (column, id.as_str().to_owned()));
        let in_both = in_both.chain(represented).map(|(column, value)| {
            vec![
                IdSource::transactions(column, value.clone()),
                IdSource::actions(column, value),
            ]
        });
        let name = self.action.name.as_deref().map(str::trim);
        let name = name.map(|name| vec![IdSource::actions("name", name)]);
        let is_failed = self.action.status == Some(ActionStatus::Error);
        let failed = is_failed.then(|| vec![IdSource::failed_actions()]);
        in_both.chain(name).chain(failed).collect()
    }

    /// Whether changes are found by their ids in an index of their row or their transaction; all
    /// others are found by time.
    pub(super) fn is_by_id(&self) -> bool {
        self.transaction.is_some() || self.row.is_some()
    }

    /// The conditions for a query that joins changes with their transactions and actions.
    pub(super) fn entry_conditions(&self) -> Vec<SqlFragment> {
        let mut conditions: Vec<_> = self.table.iter().map(table_is).collect();
        conditions.extend(
            self.context
                .actor
                .as_ref()
                .map(|actor| actor_is("audit_changes.actor", actor)),
        );
        conditions.extend(self.row.as_ref().map(row_is));
        for sources in self.id_sources() {
            let mut is_in = SqlFragment::sql("audit_changes.transaction_id IN (");
            for (place, source) in sources.iter().enumerate() {
                let union = if place > 0 { " UNION ALL " } else { "" };
                is_in = is_in.push_sql(union).append(&source.select_all());
            }
            conditions.push(is_in.push_sql(")"));
        }
        conditions.extend(self.change_conditions());
        conditions.extend(self.context_conditions());
        conditions
    }

    /// The condition on the transaction and action, for a query of changes alone.
    pub(super) fn context_lookup(&self) -> Option<SqlFragment> {
        let conditions = self.context_conditions();
        let (first, rest) = conditions.split_first()?;
        let all = rest
            .iter()
            .fold(SqlFragment::default().push_group(first), |all, one| {
                all.push_sql(" AND ").push_group(one)
            });
        Some(look_up_context(&all))
    }

    /// The conditions on columns of changes, except table, actor and row.
    pub(super) fn change_conditions(&self) -> Vec<SqlFragment> {
        let mut conditions = Vec::new();
        if let Some(id) = self.transaction {
            conditions
                .push(SqlFragment::sql("audit_changes.transaction_id = ").bind_uuid(id.as_uuid()));
        }
        if let Some((first, last)) = self.ids {
            conditions.push(
                SqlFragment::sql("audit_changes.id BETWEEN ")
                    .bind_number(first)
                    .push_sql(" AND ")
                    .bind_number(last),
            );
        }
        if let Some(from) = self.context.from {
            conditions.push(SqlFragment::sql("audit_changes.captured_at >= ").bind_instant(from));
        }
        if let Some(to) = self.context.to {
            conditions.push(SqlFragment::sql("audit_changes.captured_at <= ").bind_instant(to));
        }
        match self.attribution {
            Some(Attribution::Attributed) => {
                conditions
                    .push(SqlFragment::sql("audit_changes.actor IS NOT NULL").into_filter_only());
            }
            Some(Attribution::Unattributed) => {
                conditions.push(SqlFragment::sql("audit_changes.actor IS NULL"));
            }
            None => {}
        }
        let unindexed = self.unindexed_conditions();
        conditions.extend(unindexed.into_iter().map(SqlFragment::into_filter_only));
        conditions
    }

    /// The conditions on columns of changes that no index serves.
    fn unindexed_conditions(&self) -> Vec<SqlFragment> {
        let mut conditions = Vec::new();
        if let Some(actor_type) = self.context.actor_type {
            conditions.push(actor_type_is("audit_changes.actor", actor_type));
        }
        if let Some(schema) = &self.schema {
            conditions.push(SqlFragment::sql("audit_changes.table_schema = ").bind_text(schema));
        }
        if let Some(op) = self.op {
            conditions.push(SqlFragment::sql("audit_changes.op = ").bind_text(op.as_str()));
        } else if self.row.is_none() && self.transaction.is_none() {
            // A baseline is not a change, but a row's history begins with it.
            conditions.push(SqlFragment::sql("audit_changes.op <> 'baseline'"));
        }
        if let Some(field) = &self.changed_field {
            let changed = "audit_changes.op = 'update' AND audit_changes.changed_from ? ";
            conditions.push(SqlFragment::sql(changed).bind_text(field.as_str()));
        }
        conditions.extend(self.field_set.as_ref().map(set_to));
        conditions.extend(self.refers_to.as_ref().map(refers_to));
        conditions.extend(self.text.as_ref().map(values_contain));
        conditions
    }

    /// The conditions on the transaction and action of a change.
    fn context_conditions(&self) -> Vec<SqlFragment> {
        let mut conditions = self.action.unindexed_conditions();
        conditions.extend(self.action.name_condition());
        if let Some(represented) = &self.context.on_behalf_of {
            conditions.push(actor_is(
                "COALESCE(audit_actions.on_behalf_of, \
                 CASE WHEN audit_transactions.actor IS NOT DISTINCT FROM audit_changes.actor \
                 THEN audit_transactions.on_behalf_of END)",
                represented,
            ));
        }
        for (column, id) in self.context.ids() {
            let in_force = format!("COALESCE(audit_actions.{column}, audit_transactions.{column})");
            conditions.push(SqlFragment::sql(format!("{in_force} = ")).bind_text(id.as_str()));
        }
        conditions.extend(self.context.meta.as_ref().map(either_meta_contains));
        conditions
            .into_iter()
            .map(SqlFragment::into_filter_only)
            .collect()
    }
}

/// A condition on a change's transaction and action, which are looked up by id for each change. With
/// `LIMIT 1` the planner estimates the cost of one partition, without it of all.
fn look_up_context(condition: &SqlFragment) -> SqlFragment {
    let look_up = |table: &str, id: &str| {
        format!(
            " LEFT JOIN LATERAL (SELECT * FROM {STORAGE_SCHEMA}.{table} \
             WHERE {table}.id = audit_changes.{id} LIMIT 1) AS {table} ON true"
        )
    };
    SqlFragment::sql("(SELECT ")
        .append(condition)
        .push_sql(" FROM (VALUES (1)) AS one")
        .push_sql(look_up("audit_transactions", "transaction_id"))
        .push_sql(look_up("audit_actions", "action_id"))
        .push_sql(")")
        .into_filter_only()
}

pub(super) fn table_is(table: &TableName) -> SqlFragment {
    SqlFragment::sql("audit_changes.table_name = ")
        .bind_text(table.name())
        .push_sql(" AND audit_changes.table_schema = ")
        .bind_text(table.schema())
}

/// The condition that a change is of a row, under any key that the row had.
fn row_is(row: &(TableName, String)) -> SqlFragment {
    let exact = SqlFragment::sql("(SELECT true FROM ")
        .append(&row_segments(row))
        .push_sql(
            " AS segment WHERE segment.row_key = audit_changes.row_key \
             AND audit_changes.id BETWEEN segment.first_id AND segment.last_id LIMIT 1)",
        )
        .into_filter_only();
    table_is(&row.0)
        // Redundant, but the index can use it.
        .push_sql(" AND audit_changes.row_key = ANY (ARRAY(SELECT row_key FROM ")
        .append(&row_segments(row))
        .push_sql(")) AND ")
        .append(&exact)
}

/// The keys that a row had, each with the ids of the first and last change under it.
pub(super) fn row_segments((table, key): &(TableName, String)) -> SqlFragment {
    SqlFragment::sql(format!("{STORAGE_SCHEMA}.row_segments("))
        .bind_text(table.schema())
        .push_sql(", ")
        .bind_text(table.name())
        .push_sql(", ")
        .bind_text(key)
        .push_sql(")")
}

/// The condition that the `meta` of the transaction or of the action contains fields.
fn either_meta_contains(facts: &MetaPattern) -> SqlFragment {
    meta_contains(TRANSACTION_META, facts)
        .push_sql(" OR ")
        .append(&meta_contains("audit_actions.meta", facts))
}

/// The condition that a stored value contains a text, ignoring case.
fn values_contain(text: &SearchText) -> SqlFragment {
    SqlFragment::sql(
        "(SELECT true FROM jsonb_each_text(COALESCE(audit_changes.data_after, '{}')) AS field \
         WHERE strpos(lower(field.value), lower(",
    )
    .bind_text(text.as_str())
    .push_sql(
        ")) > 0 LIMIT 1) OR (SELECT true \
         FROM jsonb_each_text(COALESCE(audit_changes.changed_from, '{}')) AS field \
         WHERE strpos(lower(field.value), lower(",
    )
    .bind_text(text.as_str())
    .push_sql(")) > 0 LIMIT 1)")
}

/// The changed row referred to one of these values by a foreign key, before or after the change.
fn refers_to(reference: &RefersTo) -> SqlFragment {
    let images = [
        "audit_changes.data_after",
        "(COALESCE(audit_changes.data_after, '{}') || COALESCE(audit_changes.changed_from, '{}'))",
    ];
    let states = reference
        .values
        .iter()
        .flat_map(|values| images.map(|image| (image, values)));
    let mut any = SqlFragment::sql("false");
    for (image, values) in states {
        let mut all = SqlFragment::sql("true");
        for (column, value) in reference.columns.iter().zip(values) {
            all = all
                .push_sql(format!(" AND {image} ->> "))
                .bind_text(column)
                .push_sql(" = ")
                .bind_text(value);
        }
        any = any.push_sql(" OR ").push_group(&all);
    }
    any
}

/// The condition that a change set a field: an insert with the field, or an update that changed it.
fn set_to(set: &FieldSet) -> SqlFragment {
    let field = set.field.as_str();
    let given = SqlFragment::sql("audit_changes.op = 'insert' AND audit_changes.data_after ? ")
        .bind_text(field)
        .push_sql(" OR audit_changes.op = 'update' AND audit_changes.changed_from ? ")
        .bind_text(field);
    let Some(value) = &set.value else {
        return given;
    };
    given.and(&value.condition(field))
}
