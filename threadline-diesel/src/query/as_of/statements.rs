//! The two statements of an answer: the stored row as of the instant, and the host's struct made of it.

use chrono::{DateTime, Utc};
use diesel::expression::Expression;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, Text, Timestamptz};
use threadline_core::column_type::ColumnType;
use threadline_core::identifier::quote_identifier;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::AuditedTable;

use super::answer::{RowAnswer, UnknownColumn, UnknownReason};
use super::error::AsOfError;
use crate::json::StoredJson;
use crate::query::definition_changes::definition_changes_sql;
use crate::query::sql_fragment::render_sql;

/// `may_have_gaps` is false if `gaps.sql` cannot list a gap between the record and the instant. It is computed
/// without reading the changes.
const CALL_ROW_AS_OF: &str = "\
    SELECT answer.state, answer.change_id, answer.captured_at, answer.op, answer.later, \
      answer.transaction_id, answer.actor, answer.image, answer.unknown, \
      EXISTS ( \
        SELECT FROM @threadline@.audit_enrolments AS e \
        WHERE e.table_name = $2 AND e.table_schema = $1 AND e.was_captured IS NOT TRUE OFFSET 1 \
      ) OR EXISTS ( \
        SELECT FROM @threadline@.audit_suspensions AS s \
        WHERE s.order_id > CASE WHEN answer.later THEN 0 ELSE COALESCE(answer.change_id, 0) END \
          AND pg_catalog.format('%I.%I', $1, $2) = ANY (s.tables) \
      ) OR EXISTS ( \
        SELECT FROM @threadline@.audit_restored_spans \
      ) AS may_have_gaps, \
      @definition_changes@ AS definition_changes \
    FROM @threadline@.row_as_of(";

/// Calls `row_as_of`.
#[derive(Debug)]
pub(crate) struct CallRowAsOf<'a> {
    pub(crate) schema: &'a str,
    pub(crate) table: &'a str,
    pub(crate) key: &'a str,
    pub(crate) instant: DateTime<Utc>,
}

impl QueryFragment<Pg> for CallRowAsOf<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // The binds of the function's arguments are $1 to $4.
        let changes = definition_changes_sql("$1", "$2", "answer.change_id");
        let sql = CALL_ROW_AS_OF.replace("@definition_changes@", &changes);
        out.push_sql(&sql.replace("@threadline@", STORAGE_SCHEMA));
        out.push_bind_param::<Text, _>(self.schema)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(self.table)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(self.key)?;
        out.push_sql(", ");
        out.push_bind_param::<Timestamptz, _>(&self.instant)?;
        out.push_sql(") AS answer");
        Ok(())
    }
}

impl QueryId for CallRowAsOf<'_> {
    type QueryId = CallRowAsOf<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for CallRowAsOf<'_> {
    type SqlType = RowAnswer;
}

impl<Conn> RunQueryDsl<Conn> for CallRowAsOf<'_> {}

/// Loads a model from a stored image: the model's selection, from the row that PostgreSQL makes of the
/// image.
#[derive(Debug)]
pub struct SelectImage<E> {
    selection: E,
    /// The selection without the schema of its table, if Diesel writes one.
    unqualified: Option<String>,
    source: String,
    alias: String,
    image: String,
    nulled: Vec<String>,
}

impl<E: QueryFragment<Pg>> SelectImage<E> {
    pub(crate) fn new(
        table: &AuditedTable,
        selection: E,
        image: &StoredJson,
        nulled: Vec<String>,
    ) -> Result<Self, AsOfError> {
        let sql = render_sql(&selection)?;
        let alias = quote_identifier(table.name().name());
        let qualified = format!("{}.{alias}.", quote_identifier(table.name().schema()));
        let unqualified = sql
            .contains(&qualified)
            .then(|| sql.replace(&qualified, &format!("{alias}.")));
        // The rewritten selection cannot bind values.
        if unqualified.as_ref().is_some_and(|sql| sql.contains('$')) {
            return Err(AsOfError::Selection(table.name().clone()));
        }
        Ok(Self {
            selection,
            unqualified,
            source: format!(
                " FROM {STORAGE_SCHEMA}.row_from_image(NULL::{}, ",
                table.name().quoted()
            ),
            alias,
            image: image.as_str().to_owned(),
            nulled,
        })
    }
}

impl<E: QueryFragment<Pg>> QueryFragment<Pg> for SelectImage<E> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        match &self.unqualified {
            Some(sql) => out.push_sql(sql),
            None => self.selection.walk_ast(out.reborrow())?,
        }
        out.push_sql(&self.source);
        out.push_bind_param::<Text, _>(&self.image)?;
        out.push_sql("::jsonb - ");
        out.push_bind_param::<Array<Text>, _>(&self.nulled)?;
        out.push_sql(") AS ");
        out.push_sql(&self.alias);
        Ok(())
    }
}

impl<E: QueryId> QueryId for SelectImage<E> {
    type QueryId = SelectImage<E::QueryId>;
    const HAS_STATIC_QUERY_ID: bool = E::HAS_STATIC_QUERY_ID;
}

impl<E: Expression> Query for SelectImage<E> {
    type SqlType = E::SqlType;
}

impl<E, Conn> RunQueryDsl<Conn> for SelectImage<E> {}

/// The columns that a selection names.
pub(crate) fn selected_columns<E: QueryFragment<Pg>>(
    table: &AuditedTable,
    selection: &E,
    mut columns: Vec<UnknownColumn>,
) -> QueryResult<Vec<UnknownColumn>> {
    let sql = render_sql(selection)?;
    let alias = quote_identifier(table.name().name());
    columns
        .retain(|unknown| sql.contains(&format!("{alias}.{}", quote_identifier(&unknown.column))));
    Ok(columns)
}

/// The unknown columns that are loaded as NULL, because their placeholder is not a value of their type.
pub(crate) fn columns_to_null(table: &AuditedTable, unknown: &[UnknownColumn]) -> Vec<String> {
    let holds_text = |name: &str| {
        table.columns().iter().any(|column| {
            column.name == name
                && matches!(&column.column_type, ColumnType::Builtin(t) | ColumnType::Other(t)
                    if matches!(t.as_str(), "text" | "varchar" | "bpchar" | "citext"))
        })
    };
    unknown
        .iter()
        .filter(|known| {
            !matches!(known.reason, UnknownReason::Masked | UnknownReason::Erased)
                || !holds_text(&known.column)
        })
        .map(|known| known.column.clone())
        .collect()
}
