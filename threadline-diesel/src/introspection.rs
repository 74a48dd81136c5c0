//! Introspection: the declaration of a table from the catalogs of a database, for tables without models.

use diesel::sql_types::{Array, Bool, Nullable, Text};
use threadline_core::column_type::ColumnType;
use threadline_core::table::{AuditedTable, Column, InvalidTable, TableName};

/// Reads the kind of a relation; for a table, its columns with the base types of domains, and its key: the primary
/// key, or else a unique index that identifies every row.
const DESCRIBE: &str = include_str!("../sql/describe_table.sql");

/// Lists the tables of schemas.
#[cfg(feature = "async")]
const LIST: &str = include_str!("../sql/list_tables.sql");

/// The statement that describes a table.
pub(crate) fn describe(
    table: &TableName,
) -> diesel::query_builder::BoxedSqlQuery<'static, diesel::pg::Pg, diesel::query_builder::SqlQuery>
{
    diesel::sql_query(DESCRIBE)
        .into_boxed::<diesel::pg::Pg>()
        .bind::<Text, _>(table.schema().to_owned())
        .bind::<Text, _>(table.name().to_owned())
}

/// The name of a table in the catalog.
#[cfg(feature = "async")]
#[derive(Debug, diesel::QueryableByName)]
struct CatalogName {
    #[diesel(sql_type = Text)]
    schema: String,
    #[diesel(sql_type = Text)]
    name: String,
}

/// A column from the catalog, and its relation. A relation without columns is one row.
#[derive(Debug, diesel::QueryableByName)]
pub(crate) struct CatalogColumn {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Nullable<Text>)]
    root: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    type_name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    type_kind: Option<String>,
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
    fn column(&self) -> Option<Column> {
        let type_name = self.type_name.as_deref()?;
        let column_type = match &self.element_name {
            Some(element) if self.element_is_plain => ColumnType::array_of(element),
            Some(element) => ColumnType::Other(format!("{element}[]")),
            None if self.type_kind.as_deref() == Some("e") => {
                ColumnType::Enum(type_name.to_owned())
            }
            None if self.is_builtin => ColumnType::builtin(type_name),
            None => ColumnType::Other(type_name.to_owned()),
        };
        Some(Column::new(self.name.as_deref()?, column_type))
    }
}

/// A table could not be introspected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntrospectionError {
    /// There is no such schema.
    #[error("schema {0} does not exist in this database")]
    NoSuchSchema(String),
    /// There is no such table.
    #[error("table {0} does not exist in this database")]
    NoSuchTable(TableName),
    /// The relation is not a table that can be captured: a view, a foreign table, a sequence, a temporary table, a system catalog.
    #[error("{name} is {kind}, so its rows cannot be captured: {advice}")]
    NotATable {
        /// The relation.
        name: TableName,
        /// The kind of relation: `a view`.
        kind: String,
        /// What to audit instead.
        advice: &'static str,
    },
    /// The table is a partition, which is captured with its root.
    #[error(
        "table {name} is a partition of {root}: audit {root}, its partitions are captured with it"
    )]
    IsPartition {
        /// The relation.
        name: TableName,
        /// The partitioned table, as SQL writes it.
        root: String,
    },
    /// The table has no columns.
    #[error("table {0} has no columns, so there is nothing to capture")]
    NoColumns(TableName),
    /// The table cannot be captured.
    #[error(transparent)]
    Invalid(#[from] InvalidTable),
    /// The database reported an error.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

/// The declaration of a table from the rows of the catalog.
pub(crate) fn from_catalog(
    name: &TableName,
    columns: &[CatalogColumn],
) -> Result<AuditedTable, IntrospectionError> {
    let Some(first) = columns.first() else {
        return Err(IntrospectionError::NoSuchTable(name.clone()));
    };
    if first.kind != "a table" {
        return Err(IntrospectionError::NotATable {
            name: name.clone(),
            kind: first.kind.clone(),
            advice: instead_of(&first.kind),
        });
    }
    if let Some(root) = &first.root {
        return Err(IntrospectionError::IsPartition {
            name: name.clone(),
            root: root.clone(),
        });
    }
    let described: Vec<_> = columns.iter().filter_map(CatalogColumn::column).collect();
    if described.is_empty() {
        return Err(IntrospectionError::NoColumns(name.clone()));
    }
    let key = first.key.clone();
    let builder = AuditedTable::builder(name.clone()).columns(described);
    // Triggers do not see the values of virtual generated columns.
    let builder = builder.exclude(
        columns
            .iter()
            .filter(|column| column.is_virtual)
            .filter_map(|column| column.name.as_deref()),
    );
    let builder = if key.is_empty() {
        builder.without_key()
    } else {
        builder.key(key)
    };
    Ok(builder.build()?)
}

/// What to audit instead of a relation that is not a table.
fn instead_of(kind: &str) -> &'static str {
    match kind {
        "a view" | "a materialized view" => "audit the tables behind the view",
        "a foreign table" => "audit it in the database that keeps its rows",
        "a temporary table" => "it belongs to one session and ends with it",
        _ => "name a table of your own",
    }
}

/// Reads a table's columns, types and key from the catalog.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// let table = threadline_diesel::introspect(conn, &"billing.invoices".parse()?).await?;
/// println!("{} columns", table.columns().len());
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`IntrospectionError`] when there is no such table, or it cannot be captured.
#[cfg(feature = "async")]
pub async fn introspect<C>(
    conn: &mut C,
    name: &TableName,
) -> Result<AuditedTable, IntrospectionError>
where
    C: diesel_async::AsyncConnection<Backend = diesel::pg::Pg>,
{
    use diesel_async::RunQueryDsl;

    let columns = describe(name).load::<CatalogColumn>(conn).await?;
    from_catalog(name, &columns)
}

/// Lists the tables of these schemas, or of all schemas if there are none, each of which is captured under its
/// own name: without partitions and inheritance children, and without the tables of the trail, of extensions
/// and of Diesel's migrations. Foreign tables are listed, although they cannot be captured.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// for name in threadline_diesel::list_tables(conn, &["billing".to_owned()]).await? {
///     println!("{name}");
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`IntrospectionError`] when a schema does not exist, or the database reports an error.
#[cfg(feature = "async")]
pub async fn list_tables<C>(
    conn: &mut C,
    schemas: &[String],
) -> Result<Vec<TableName>, IntrospectionError>
where
    C: diesel_async::AsyncConnection<Backend = diesel::pg::Pg>,
{
    use diesel_async::RunQueryDsl;
    use threadline_core::expected_gap::DIESEL_MIGRATIONS_TABLE;
    use threadline_core::storage::STORAGE_SCHEMA;

    use crate::coverage::queries::{self, NameRow};

    let found = queries::schemas(schemas).load::<NameRow>(conn).await?;
    let missing = |schema: &&String| !found.iter().any(|row| &row.name == *schema);
    if let Some(schema) = schemas.iter().find(missing) {
        return Err(IntrospectionError::NoSuchSchema(schema.clone()));
    }
    let tables = diesel::sql_query(LIST)
        .bind::<Array<Text>, _>(schemas.to_vec())
        .bind::<Text, _>(STORAGE_SCHEMA)
        .bind::<Text, _>(DIESEL_MIGRATIONS_TABLE)
        .load::<CatalogName>(conn)
        .await?;
    Ok(tables
        .into_iter()
        .map(|table| TableName::new(table.schema, table.name))
        .collect())
}
