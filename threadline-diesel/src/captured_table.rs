//! A captured table in the database: its deployed policy, its current columns, and which of its rows are in
//! the trail.

use chrono::{DateTime, Duration, Utc};
use diesel::pg::Pg;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Oid, Text, Timestamptz};
use serde_json::{Value, json};
use threadline_core::capture::RowExpressions;
use threadline_core::identifier::quote_literal;
use threadline_core::table::{AuditedTable, TableName};

/// The settings under which capture writes values, for the running transaction. With `row_security` off, a query
/// fails if a policy would hide rows.
pub(crate) const CANONICAL_SETTINGS: &str = "\
    SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL row_security = off; \
    SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, MDY'; \
    SET LOCAL intervalstyle = 'postgres'; SET LOCAL bytea_output = 'hex'; \
    SET LOCAL extra_float_digits = 1; SET LOCAL lc_monetary = 'C'; \
    SET LOCAL quote_all_identifiers = off";

/// The expressions by which capture stores a row `r`, under [`CANONICAL_SETTINGS`].
#[derive(Debug)]
pub(crate) struct StoredRow {
    /// Its image, a `jsonb`.
    pub(crate) image: String,
    /// Its key, a `jsonb`.
    pub(crate) table_pk: String,
    /// Its key as one text, under the collation of the trail.
    pub(crate) row_key: String,
}

/// A table that is or was captured.
#[derive(Debug, diesel::QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(crate) struct CapturedTable {
    #[diesel(sql_type = Text)]
    table_schema: String,
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Oid)]
    pub(crate) relation: u32,
    /// Whether its capture trigger exists and is enabled.
    #[diesel(sql_type = Bool)]
    pub(crate) captured: bool,
    /// The comment of its capture function.
    #[diesel(sql_type = Nullable<Text>)]
    policy: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(crate) captured_since: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(crate) purged_before: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(crate) first_recorded_at: Option<DateTime<Utc>>,
    /// Only changes with greater ids can be of rows that are in the table now.
    #[diesel(sql_type = BigInt)]
    known_after: i64,
    #[diesel(sql_type = Array<Text>)]
    columns: Vec<String>,
    /// The current names of the key's columns, in declared order.
    #[diesel(sql_type = Array<Text>)]
    pub(crate) key_columns: Vec<String>,
}

/// The statement that reads all tables that were ever captured, or one of them.
pub(crate) fn captured_tables(table: Option<&TableName>) -> BoxedSqlQuery<'static, Pg, SqlQuery> {
    let (schema, name) = table
        .map(|table| (table.schema().to_owned(), table.name().to_owned()))
        .unzip();
    diesel::sql_query(include_str!("captured_table/tables.sql"))
        .into_boxed::<Pg>()
        .bind::<Nullable<Text>, _>(schema)
        .bind::<Nullable<Text>, _>(name)
}

impl CapturedTable {
    pub(crate) fn name(&self) -> TableName {
        TableName::new(&self.table_schema, &self.table_name)
    }

    /// Whether the table has a key.
    pub(crate) fn has_key(&self) -> bool {
        !self.key_columns.is_empty()
            && self
                .key_columns
                .iter()
                .all(|key| self.columns.contains(key))
    }

    /// The expressions by which capture stores a row `r`. Like capture, they omit declared columns that were dropped
    /// and columns without a rule.
    pub(crate) fn stored_row(&self) -> Result<StoredRow, diesel::result::Error> {
        let policy = self.policy.as_deref().unwrap_or_default();
        let table = serde_json::from_str(policy)
            .and_then(|policy| self.present_table(policy))
            .map_err(|error| diesel::result::Error::DeserializationError(error.into()))?;
        let row = RowExpressions::new(&table, "r");
        let key_text = row.row_key().unwrap_or_else(|| "NULL::text".to_owned());
        Ok(StoredRow {
            image: row.image(0),
            table_pk: row.table_pk().unwrap_or_else(|| "NULL::jsonb".to_owned()),
            row_key: format!("({key_text}) COLLATE \"C\""),
        })
    }

    /// The declared table with its current columns. A renamed key column keeps its identity, but the policy does not
    /// have its new name.
    fn present_table(&self, mut policy: Value) -> serde_json::Result<AuditedTable> {
        let mut table = policy["table"].take();
        let declared = table["key"]["columns"].take();
        if let Value::Array(columns) = &mut table["columns"] {
            let of_name = |name: &Value| columns.iter().find(|col| &col["name"] == name).cloned();
            let renamed: Vec<_> = declared
                .as_array()
                .into_iter()
                .flatten()
                .zip(&self.key_columns)
                .filter(|(declared, present)| declared.as_str() != Some(present))
                .filter_map(|(declared, present)| {
                    let mut column = of_name(declared)?;
                    column["name"] = json!(present);
                    column["rule"] = json!("exclude");
                    Some(column)
                })
                .collect();
            columns.retain(|column| {
                let is_there = |name: &String| column["name"].as_str() == Some(name);
                self.columns.iter().any(is_there)
                    && !renamed.iter().any(|other| other["name"] == column["name"])
            });
            columns.extend(renamed);
        }
        table["key"]["columns"] = json!(self.key_columns);
        serde_json::from_value(table)
    }

    /// The condition that the trail has the row with this key expression: the newest change of the key is not a
    /// delete, and that row's key was not changed since.
    ///
    /// It reads one entry of the index by row for each key and partition.
    pub(crate) fn is_known(&self, row_key: &str) -> String {
        let of_table = |alias: &str| {
            format!(
                "{alias}.table_name = {name} AND {alias}.table_schema = {schema}",
                name = quote_literal(&self.table_name),
                schema = quote_literal(&self.table_schema),
            )
        };
        // One day of tolerance for clocks that are set back.
        let since = self.captured_since.map_or_else(String::new, |since| {
            format!(
                " AND change.captured_at >= '{}'",
                (since - Duration::days(1)).to_rfc3339()
            )
        });
        format!(
            "EXISTS (\
               SELECT FROM (\
                 SELECT change.id, change.op, change.row_key, change.data_after \
                 FROM threadline.audit_changes AS change \
                 WHERE {change} AND change.row_key = {row_key} AND change.id > {known_after}{since} \
                 ORDER BY change.id DESC LIMIT 1\
               ) AS newest \
               WHERE newest.op <> 'delete' AND NOT EXISTS (\
                 SELECT FROM threadline.audit_key_changes AS moved \
                 JOIN threadline.audit_changes AS departed \
                   ON departed.captured_at = moved.captured_at AND departed.id = moved.change_id \
                 WHERE {moved} AND moved.previous_key = newest.row_key AND moved.change_id > newest.id \
                   AND departed.data_after || departed.changed_from = newest.data_after\
               )\
             )",
            change = of_table("change"),
            moved = of_table("moved"),
            known_after = self.known_after,
        )
    }

    /// The condition that a run, or one that it continues, recorded the row with this key expression.
    pub(crate) fn is_recorded_after(&self, row_key: &str, first_change: i64) -> String {
        format!(
            "EXISTS (\
               SELECT FROM threadline.audit_changes AS change \
               WHERE change.table_name = {name} AND change.table_schema = {schema} \
                 AND change.row_key = {row_key} AND change.id > {first_change} \
                 AND change.op = 'baseline'\
             )",
            name = quote_literal(&self.table_name),
            schema = quote_literal(&self.table_schema),
        )
    }

    /// The statement that counts all rows and those without history. Reads the whole table.
    pub(crate) fn row_counts(&self, stored: &StoredRow) -> SqlQuery {
        diesel::sql_query(format!(
            "SELECT count(*) AS row_count, count(*) FILTER (WHERE NOT {known}) AS unknown_count \
             FROM (SELECT {row_key} AS row_key FROM {table} AS r) AS present",
            known = self.is_known("present.row_key"),
            row_key = stored.row_key,
            table = self.name().quoted(),
        ))
    }
}
