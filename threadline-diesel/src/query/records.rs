//! Records about the trail: suspensions of capture, removals, deployed policies.

mod record;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::sql_types::{Array, BigInt, Bool, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, RunQueryDsl};
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;
use uuid::Uuid;

pub use self::record::{Enrolment, Removal, RemovalTarget, Suspension, TableCutoff};
use super::error::{InvalidQuery, ReadError};
use super::pagination::PageSize;
use super::scope::Scope;
use super::sql_fragment::{FragmentQuery, SqlFragment};
use crate::json::StoredJson;

/// A query for records about the trail, newest first, read by [`suspensions`](crate::suspensions()),
/// [`removals`](crate::removals()) and [`enrolments`](crate::enrolments()).
///
/// ```
/// use threadline_diesel::query::TrailRecords;
///
/// let query = TrailRecords::new()
///     .table("invoices".parse()?)
///     .from("2026-01-01T00:00:00Z".parse()?);
/// # let _ = query;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrailRecords {
    table: Option<TableName>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    before: Option<i64>,
    page_size: PageSize,
    scope: Option<Scope>,
}

impl TrailRecords {
    /// All records.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only records that concern a table.
    #[must_use]
    pub fn table(mut self, table: TableName) -> Self {
        self.table = Some(table);
        self
    }

    /// Only records of this instant or later.
    #[must_use]
    pub fn from(mut self, instant: DateTime<Utc>) -> Self {
        self.from = Some(instant);
        self
    }

    /// Only records of this instant or earlier.
    #[must_use]
    pub fn to(mut self, instant: DateTime<Utc>) -> Self {
        self.to = Some(instant);
        self
    }

    /// Only records with a smaller `order_id`: the page after a record.
    #[must_use]
    pub fn before(mut self, order_id: i64) -> Self {
        self.before = Some(order_id);
        self
    }

    /// The largest number of records; 50 unless set.
    #[must_use]
    pub fn page_size(mut self, size: PageSize) -> Self {
        self.page_size = size;
        self
    }

    /// Restricts the records to the tables of a scope. These records belong to no change, so the scope must
    /// be one of [`Scope::tables`] alone.
    #[must_use]
    pub fn scope(mut self, scope: &Scope) -> Self {
        self.scope = Some(scope.clone());
        self
    }

    /// The tables that the scope shows; none without a scope.
    fn visible(&self) -> Result<Option<&BTreeSet<TableName>>, InvalidQuery> {
        let tables = self.scope.as_ref().map(Scope::only_tables);
        Ok(tables.transpose()?)
    }

    /// The statement of a table of the trail: its columns, and how its rows name tables.
    fn statement<ST>(
        &self,
        select: &str,
        at: &str,
        concerns: fn(&[TableName]) -> SqlFragment,
    ) -> Result<FragmentQuery<ST>, InvalidQuery> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from > to
        {
            return Err(InvalidQuery::EmptyWindow { from, to });
        }
        let select = select.replace("@threadline@", STORAGE_SCHEMA);
        let mut sql = SqlFragment::sql(format!("{select} WHERE true"));
        if let Some(table) = &self.table {
            sql = sql
                .push_sql(" AND ")
                .push_group(&concerns(std::slice::from_ref(table)));
        }
        if let Some(tables) = self.visible()? {
            let tables: Vec<_> = match &self.table {
                Some(table) => tables.get(table).cloned().into_iter().collect(),
                None => tables.iter().cloned().collect(),
            };
            sql = sql.push_sql(" AND ").push_group(&concerns(&tables));
        }
        if let Some(from) = self.from {
            sql = sql.push_sql(format!(" AND {at} >= ")).bind_instant(from);
        }
        if let Some(to) = self.to {
            sql = sql.push_sql(format!(" AND {at} <= ")).bind_instant(to);
        }
        if let Some(before) = self.before {
            sql = sql.push_sql(" AND order_id < ").bind_number(before);
        }
        let limit = self.page_size.limit() - 1;
        Ok(FragmentQuery::new(sql.push_sql(format!(
            " ORDER BY order_id DESC LIMIT {limit}"
        ))))
    }
}

/// Rows of schema and name.
fn table_rows(tables: &[TableName]) -> SqlFragment {
    let part = |of: fn(&TableName) -> &str| tables.iter().map(move |table| of(table).to_owned());
    SqlFragment::sql("unnest(")
        .bind_texts(part(TableName::schema).collect())
        .push_sql(", ")
        .bind_texts(part(TableName::name).collect())
        .push_sql(") AS named (table_schema, table_name)")
}

/// An array of the names of tables, as suspensions and removals store them.
fn quoted_names(tables: &[TableName]) -> SqlFragment {
    SqlFragment::sql("ARRAY(SELECT format('%I.%I', named.table_schema, named.table_name) FROM ")
        .append(&table_rows(tables))
        .push_sql(")")
}

/// The stored name of a table; a text that is none is kept as a name without schema.
fn parse_table(stored: &str) -> TableName {
    stored
        .parse()
        .unwrap_or_else(|_| TableName::new("", stored))
}

type SuspensionColumns = (BigInt, SqlUuid, Timestamptz, Text, Text, Array<Text>);
type SuspensionRow = (i64, Uuid, DateTime<Utc>, String, String, Vec<String>);

/// Reads suspensions of capture, newest first.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::query::TrailRecords;
/// use threadline_diesel::suspensions;
///
/// for suspension in suspensions(conn, &TrailRecords::new()).await? {
///     println!("{}: {}", suspension.suspended_by, suspension.reason);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ReadError`] when the window is empty, the scope cannot be applied, or the database reports an error.
pub async fn suspensions<C>(
    conn: &mut C,
    query: &TrailRecords,
) -> Result<Vec<Suspension>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let select = "SELECT order_id, transaction_id, suspended_at, suspended_by, reason, tables \
                  FROM @threadline@.audit_suspensions";
    let concerns =
        |tables: &[TableName]| SqlFragment::sql("tables && ").append(&quoted_names(tables));
    let statement = query.statement::<SuspensionColumns>(select, "suspended_at", concerns)?;
    let rows: Vec<SuspensionRow> = statement.load(conn).await?;
    let visible = query.visible().map_err(ReadError::from)?;
    let suspension = |(order_id, transaction, at, by, reason, tables): SuspensionRow| {
        let mut tables: Vec<_> = tables.iter().map(|table| parse_table(table)).collect();
        tables.retain(|table| visible.is_none_or(|visible| visible.contains(table)));
        Suspension {
            order_id,
            transaction_id: transaction.into(),
            suspended_at: at,
            suspended_by: by,
            reason,
            tables,
        }
    };
    Ok(rows.into_iter().map(suspension).collect())
}

type RemovalColumns = (
    BigInt,
    SqlUuid,
    Timestamptz,
    Text,
    Text,
    Text,
    Jsonb,
    BigInt,
);
type RemovalRow = (
    i64,
    Uuid,
    DateTime<Utc>,
    String,
    String,
    String,
    StoredJson,
    i64,
);

/// Reads removals by retention and erasures of values, newest first.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::query::TrailRecords;
/// use threadline_diesel::removals;
///
/// for removal in removals(conn, &TrailRecords::new().table("invoices".parse()?)).await? {
///     println!("{}: {:?}", removal.removed_by, removal.target);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`suspensions`].
pub async fn removals<C>(conn: &mut C, query: &TrailRecords) -> Result<Vec<Removal>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let select = "SELECT order_id, transaction_id, removed_at, removed_by, reason, kind, scope, \
                  change_count FROM @threadline@.audit_removals";
    let concerns = |tables: &[TableName]| {
        SqlFragment::sql("scope -> 'cutoffs' ?| ")
            .append(&quoted_names(tables))
            .push_sql(
                " OR (scope ->> 'table_schema', scope ->> 'table_name') IN \
                 (SELECT named.table_schema, named.table_name FROM ",
            )
            .append(&table_rows(tables))
            .push_sql(")")
    };
    let statement = query.statement::<RemovalColumns>(select, "removed_at", concerns)?;
    let rows: Vec<RemovalRow> = statement.load(conn).await?;
    let visible = query.visible().map_err(ReadError::from)?;
    Ok(rows
        .into_iter()
        .map(|row| read_removal(row, visible))
        .collect())
}

fn read_removal(row: RemovalRow, visible: Option<&BTreeSet<TableName>>) -> Removal {
    let (order_id, transaction, removed_at, removed_by, reason, kind, scope, count) = row;
    let mut change_count = Some(count);
    let target = if kind == "erasure" {
        let text = |name: &str| {
            let field = scope.field(name);
            field.map(|value| value.to_text()).unwrap_or_default()
        };
        match scope.field("records") {
            Some(records) => person_erasure(&records, &scope),
            None => RemovalTarget::Erasure {
                table: TableName::new(text("table_schema"), text("table_name")),
                row_key: text("row_key"),
                columns: scope
                    .field("columns")
                    .and_then(|columns| columns.read().ok())
                    .unwrap_or_default(),
            },
        }
    } else {
        let cutoffs = scope.field("cutoffs");
        let cutoffs = cutoffs.iter().flat_map(StoredJson::fields);
        let mut cutoffs: Vec<_> = cutoffs
            .filter_map(|(table, before)| {
                Some(TableCutoff {
                    table: parse_table(&table),
                    before: before.read().ok()?,
                })
            })
            .collect();
        if let Some(visible) = visible {
            let all = cutoffs.len();
            cutoffs.retain(|cutoff| visible.contains(&cutoff.table));
            change_count.take_if(|_| cutoffs.len() < all);
        }
        RemovalTarget::Retention { cutoffs }
    };
    Removal {
        order_id,
        transaction_id: transaction.into(),
        removed_at,
        removed_by,
        reason,
        target,
        change_count,
    }
}

fn person_erasure(records: &StoredJson, scope: &StoredJson) -> RemovalTarget {
    let names = |name: &str| -> Vec<String> {
        let names = scope.field(name);
        names
            .and_then(|names| names.read().ok())
            .unwrap_or_default()
    };
    let mut fields = names("fields");
    fields.extend(names("columns"));
    fields.extend(names("meta").iter().map(|key| format!("meta.{key}")));
    RemovalTarget::PersonErasure {
        records: records.to_text(),
        fields,
    }
}

type EnrolmentColumns = (
    (BigInt, SqlUuid, Text, Text, Bool, Timestamptz, Text),
    (
        Nullable<Text>,
        Nullable<Array<Text>>,
        Nullable<Jsonb>,
        Nullable<Bool>,
        Nullable<Bool>,
    ),
);
type EnrolmentRow = (
    (i64, Uuid, String, String, bool, DateTime<Utc>, String),
    (
        Option<String>,
        Option<Vec<String>>,
        Option<StoredJson>,
        Option<bool>,
        Option<bool>,
    ),
);

/// Reads deployments of policies and ends of capture, newest first.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::enrolments;
/// use threadline_diesel::query::TrailRecords;
///
/// for enrolment in enrolments(conn, &TrailRecords::new().table("invoices".parse()?)).await? {
///     println!("{} by {}", enrolment.recorded_at, enrolment.recorded_by);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`suspensions`].
pub async fn enrolments<C>(conn: &mut C, query: &TrailRecords) -> Result<Vec<Enrolment>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let select = "SELECT order_id, transaction_id, table_schema, table_name, event = 'enabled', \
                  recorded_at, recorded_by, policy_hash, key_columns, columns, was_captured, \
                  table_was_empty FROM @threadline@.audit_enrolments";
    let concerns = |tables: &[TableName]| {
        SqlFragment::sql(
            "(table_schema, table_name) IN (SELECT named.table_schema, named.table_name FROM ",
        )
        .append(&table_rows(tables))
        .push_sql(")")
    };
    let statement = query.statement::<EnrolmentColumns>(select, "recorded_at", concerns)?;
    let rows: Vec<EnrolmentRow> = statement.load(conn).await?;
    Ok(rows.into_iter().map(read_enrolment).collect())
}

fn read_enrolment((record, policy): EnrolmentRow) -> Enrolment {
    let (order_id, transaction, schema, name, enabled, recorded_at, recorded_by) = record;
    let (policy_hash, key_columns, columns, was_captured, table_was_empty) = policy;
    Enrolment {
        order_id,
        transaction_id: transaction.into(),
        table: TableName::new(schema, name),
        enabled,
        recorded_at,
        recorded_by,
        policy_hash,
        key_columns,
        columns,
        was_captured,
        table_was_empty,
    }
}
