//! The names of tables and actions in the trail, for selection lists.

use diesel::pg::Pg;
use diesel::sql_types::Text;
use diesel_async::{AsyncConnection, RunQueryDsl};
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

use super::error::{InvalidQuery, ReadError};
use super::scope::Scope;
use super::sql_fragment::{FragmentQuery, SqlFragment};
use super::table_query::{TableQuery, TableVisibility};

/// The largest number of names in a list.
pub const MAX_NAMES: usize = 1_000;

/// Each step of the scan skips the other changes of a table in the index.
const TABLES: &str = "WITH RECURSIVE found AS (
        (SELECT table_name, table_schema FROM @threadline@.audit_changes
            ORDER BY table_name, table_schema LIMIT 1)
        UNION ALL
        SELECT next.* FROM found CROSS JOIN LATERAL (
            SELECT change.table_name, change.table_schema FROM @threadline@.audit_changes AS change
            WHERE (change.table_name, change.table_schema) > (found.table_name, found.table_schema)
            ORDER BY change.table_name, change.table_schema LIMIT 1
        ) AS next
    )
    SELECT table_schema, table_name FROM found LIMIT ";

/// Each step of the scan skips the other actions of a name in the index.
const ACTIONS: &str = "WITH RECURSIVE found AS (
        (SELECT name FROM @threadline@.audit_actions ORDER BY name LIMIT 1)
        UNION ALL
        SELECT next.* FROM found CROSS JOIN LATERAL (
            SELECT action.name FROM @threadline@.audit_actions AS action
            WHERE action.name > found.name ORDER BY action.name LIMIT 1
        ) AS next
    )
    SELECT name FROM found WHERE ";

/// Reads the names of the tables of which the trail has changes, sorted, at most [`MAX_NAMES`]. A scope
/// shows a table if it names it or shows a change of it.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// for table in threadline_diesel::recorded_tables(conn, None).await? {
///     println!("{table}");
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ReadError`] when the scope cannot be applied, or the database reports an error.
pub async fn recorded_tables<C>(
    conn: &mut C,
    scope: Option<&Scope>,
) -> Result<Vec<TableName>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let tables = TABLES.replace("@threadline@", STORAGE_SCHEMA);
    let tables = SqlFragment::sql(format!("{tables}{MAX_NAMES}"));
    let rows: Vec<(String, String)> = FragmentQuery::<(Text, Text)>::new(tables)
        .load(conn)
        .await?;
    let mut names = Vec::new();
    for (schema, name) in rows {
        let table = TableName::new(schema, name);
        if let Some(scope) = scope {
            let query = TableQuery::new(table.clone()).scope(scope);
            if query.visibility(conn).await? == TableVisibility::Hidden {
                continue;
            }
        }
        names.push(table);
    }
    names.sort_unstable();
    Ok(names)
}

/// Reads the names of the recorded actions, sorted, at most [`MAX_NAMES`]. A scope must define which actions
/// are visible.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// for name in threadline_diesel::recorded_actions(conn, None).await? {
///     println!("{name}");
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`recorded_tables`].
pub async fn recorded_actions<C>(
    conn: &mut C,
    scope: Option<&Scope>,
) -> Result<Vec<String>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let visible = match scope {
        None => SqlFragment::sql("true"),
        Some(scope) => SqlFragment::sql(format!(
            "(SELECT true FROM {STORAGE_SCHEMA}.audit_actions \
             WHERE audit_actions.name = found.name AND "
        ))
        .push_group(&scope.action_condition().map_err(InvalidQuery::from)?)
        .push_sql(" LIMIT 1)"),
    };
    let actions = ACTIONS.replace("@threadline@", STORAGE_SCHEMA);
    let actions = SqlFragment::sql(actions)
        .append(&visible)
        .push_sql(format!(" LIMIT {MAX_NAMES}"));
    Ok(FragmentQuery::<Text>::new(actions).load(conn).await?)
}
