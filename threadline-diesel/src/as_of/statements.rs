//! The two statements behind an answer: what the row was, and the row as the host's struct.

use chrono::{DateTime, Utc};
use diesel::expression::Expression;
use diesel::pg::{Pg, PgQueryBuilder};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryBuilder, QueryFragment, QueryId};
use diesel::sql_types::{Array, Text, Timestamptz};
use threadline_core::column_type::ColumnType;
use threadline_core::identifier::quote_identifier;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::AuditedTable;

use super::{AsOfError, RowAnswer, UnknownColumn, UnknownReason};
use crate::json::StoredJson;

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
            "SELECT state, change_id, captured_at, op, later, transaction_id, actor, image, unknown \
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

/// SQL as Diesel writes it.
pub(crate) fn rendered<F: QueryFragment<Pg>>(fragment: &F) -> QueryResult<String> {
    let mut builder = PgQueryBuilder::default();
    fragment.to_sql(&mut builder, &Pg)?;
    Ok(builder.finish())
}

/// Reads a model from a stored image: the model's own selection, over the row that PostgreSQL
/// makes of the image.
#[derive(Debug)]
pub struct SelectImage<E> {
    selection: E,
    /// The selection without the schema of its table, where Diesel writes that.
    unqualified: Option<String>,
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
        let sql = rendered(&selection)?;
        let alias = quote_identifier(table.name().name());
        let qualified = format!("{}.{alias}.", quote_identifier(table.name().schema()));
        let unqualified = sql
            .contains(&qualified)
            .then(|| sql.replace(&qualified, &format!("{alias}.")));
        // What replaces the selection has no values to bind.
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
            without,
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

/// Those of the columns that a selection names.
pub(crate) fn selected<E: QueryFragment<Pg>>(
    table: &AuditedTable,
    selection: &E,
    mut columns: Vec<UnknownColumn>,
) -> QueryResult<Vec<UnknownColumn>> {
    let sql = rendered(selection)?;
    let alias = quote_identifier(table.name().name());
    columns
        .retain(|unknown| sql.contains(&format!("{alias}.{}", quote_identifier(&unknown.column))));
    Ok(columns)
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
