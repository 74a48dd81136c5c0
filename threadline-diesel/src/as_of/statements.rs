//! The two statements behind an answer: what the row was, and the row as the host's struct.

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

use super::{AsOfError, RowAnswer, UnknownColumn, UnknownReason};
use crate::json::StoredJson;
use crate::rewriting::{Renamed, Rewritten, renamed, rendered, significant};
use crate::sql_tokens::tokens;

/// Asks what a row was.
#[derive(Debug)]
pub(crate) struct RowAsOf<'a> {
    pub(crate) schema: &'a str,
    pub(crate) table: &'a str,
    pub(crate) key: &'a str,
    pub(crate) instant: DateTime<Utc>,
}

impl QueryFragment<Pg> for RowAsOf<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "SELECT state, change_id, captured_at, op, transaction_id, actor_ref, image, unknown \
             FROM ",
        );
        out.push_sql(STORAGE_SCHEMA);
        out.push_sql(".row_as_of(");
        out.push_bind_param::<Text, _>(self.schema)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(self.table)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(self.key)?;
        out.push_sql(", ");
        out.push_bind_param::<Timestamptz, _>(&self.instant)?;
        out.push_sql(")");
        Ok(())
    }
}

impl QueryId for RowAsOf<'_> {
    type QueryId = RowAsOf<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for RowAsOf<'_> {
    type SqlType = RowAnswer;
}

impl<Conn> RunQueryDsl<Conn> for RowAsOf<'_> {}

/// Reads a model from a stored image: the model's own selection, over the row that PostgreSQL
/// makes of the image.
#[derive(Debug)]
pub struct SelectImage<E> {
    selection: E,
    rewritten: Rewritten,
    source: String,
    alias: String,
    image: String,
    without: Vec<String>,
}

impl<E: QueryFragment<Pg>> SelectImage<E> {
    pub(crate) fn new(
        table: &AuditedTable,
        selection: E,
        image: &StoredJson,
        without: Vec<String>,
    ) -> Result<Self, AsOfError> {
        let original = rendered(&selection)?;
        let alias = [Renamed {
            table: table.name().clone(),
            name: table.name().name().to_owned(),
        }];
        let rewritten = Rewritten::new(&original, renamed(&original, &alias))
            .map_err(|_| AsOfError::Selection(table.name().clone()))?;
        Ok(Self {
            selection,
            rewritten,
            source: format!(
                " FROM {STORAGE_SCHEMA}.row_from_image(NULL::{}, ",
                table.name().quoted()
            ),
            alias: quote_identifier(table.name().name()),
            image: image.as_str().to_owned(),
            without,
        })
    }
}

impl<E: QueryFragment<Pg>> QueryFragment<Pg> for SelectImage<E> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        self.rewritten.walk(&self.selection, out.reborrow())?;
        out.push_sql(&self.source);
        out.push_bind_param::<Text, _>(&self.image)?;
        out.push_sql("::pg_catalog.jsonb OPERATOR(pg_catalog.-) ");
        out.push_bind_param::<Array<Text>, _>(&self.without)?;
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
pub(crate) fn columns_of<E: QueryFragment<Pg>>(selection: &E) -> QueryResult<Vec<String>> {
    let sql = rendered(selection)?;
    let all = tokens(&sql);
    let counting = significant(&all);
    let is_mark = |at: usize, mark: &str| counting.get(at).is_some_and(|(_, t)| t.is_mark(mark));
    Ok((1..counting.len())
        .filter(|&at| is_mark(at - 1, ".") && !is_mark(at + 1, ".") && !is_mark(at + 1, "("))
        .filter_map(|at| counting[at].1.name())
        .collect())
}

/// The unknown columns that must be NULL: their placeholder is no value of their type.
pub(crate) fn unloadable(table: &AuditedTable, unknown: &[UnknownColumn]) -> Vec<String> {
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
