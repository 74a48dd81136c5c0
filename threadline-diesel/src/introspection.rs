//! Tables as a live database describes them, for hosts or tables without models.

use diesel::sql_types::{Array, Bool, Nullable, Text};
use threadline_core::column_type::ColumnType;
use threadline_core::table::{AuditedTable, Column, InvalidTable, TableName};

/// The columns of a table with the types behind their domains, and the table's key: its primary
/// key, or else a unique index that always tells rows apart.
const DESCRIBE: &str = include_str!("../sql/describe_table.sql");

/// The query that describes a table.
pub(crate) fn describe(
    table: &TableName,
) -> diesel::query_builder::BoxedSqlQuery<'static, diesel::pg::Pg, diesel::query_builder::SqlQuery>
{
    diesel::sql_query(DESCRIBE)
        .into_boxed::<diesel::pg::Pg>()
        .bind::<Text, _>(table.schema().to_owned())
        .bind::<Text, _>(table.name().to_owned())
}

/// A column as the catalog has it.
#[derive(Debug, diesel::QueryableByName)]
pub(crate) struct CatalogColumn {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    type_name: String,
    #[diesel(sql_type = Text)]
    type_kind: String,
    #[diesel(sql_type = Bool)]
    is_builtin: bool,
    #[diesel(sql_type = Bool)]
    is_virtual: bool,
    #[diesel(sql_type = Nullable<Text>)]
    element_name: Option<String>,
    #[diesel(sql_type = Bool)]
    element_is_plain: bool,
    #[diesel(sql_type = Array<Text>)]
    key: Vec<String>,
}

impl CatalogColumn {
    fn column_type(&self) -> ColumnType {
        match &self.element_name {
            Some(element) if self.element_is_plain => ColumnType::array_of(element),
            Some(element) => ColumnType::Other(format!("{element}[]")),
            None if self.type_kind == "e" => ColumnType::Enum(self.type_name.clone()),
            None if self.is_builtin => ColumnType::builtin(&self.type_name),
            None => ColumnType::Other(self.type_name.clone()),
        }
    }
}

/// A table could not be introspected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntrospectionError {
    /// There is no such table.
    #[error(
        "table {0} does not exist in this database (views and foreign tables cannot be captured)"
    )]
    NoSuchTable(TableName),
    /// It cannot be captured.
    #[error(transparent)]
    Invalid(#[from] InvalidTable),
    /// The database said no.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

/// The table that the catalog's rows describe.
pub(crate) fn from_catalog(
    name: &TableName,
    columns: &[CatalogColumn],
) -> Result<AuditedTable, IntrospectionError> {
    let Some(first) = columns.first() else {
        return Err(IntrospectionError::NoSuchTable(name.clone()));
    };
    let key = first.key.clone();
    // One row without a name stands for a table without columns.
    let columns = if first.name.is_empty() { &[] } else { columns };
    let builder = AuditedTable::builder(name.clone()).columns(
        columns
            .iter()
            .map(|column| Column::new(&column.name, column.column_type())),
    );
    // A virtual generated column holds nothing that could be stored: triggers do not see its values.
    let builder = builder.exclude(
        columns
            .iter()
            .filter(|column| column.is_virtual)
            .map(|column| column.name.as_str()),
    );
    let builder = if key.is_empty() {
        builder.without_key()
    } else {
        builder.key(key)
    };
    Ok(builder.build()?)
}
