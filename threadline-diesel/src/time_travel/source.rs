//! The SQL that computes a table as of an instant from the trail.

use std::fmt::Write as _;

use threadline_core::identifier::{quote_identifier, quote_literal};
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

use super::facts::{ColumnFacts, Facts, ImageValue, Records};
use super::{TimeTravel, TimeTravelError, UnknownColumns};
use crate::query::as_of::{UnknownColumn, UnknownReason};

/// The prefix of a text that no integer type can read; the rest names the column that is not known.
const UNKNOWN: &str = "not known as of the instant: ";

/// A table as of an instant.
#[derive(Debug)]
pub(crate) struct Source {
    table: TableName,
    facts: Facts,
    records: Records,
    keys: Option<Vec<String>>,
    instant: String,
    allow_unknown: bool,
}

impl Source {
    pub(crate) fn new(
        travel: &TimeTravel,
        table: &TableName,
        facts: Facts,
    ) -> Result<Self, TimeTravelError> {
        Ok(Self {
            records: facts.records(travel, table)?,
            facts,
            keys: travel.keys_of(table),
            table: table.clone(),
            instant: format!(
                "{}::timestamptz",
                quote_literal(&travel.instant.to_rfc3339())
            ),
            allow_unknown: travel.unknown == UnknownColumns::Allowed,
        })
    }

    pub(crate) fn table(&self) -> &TableName {
        &self.table
    }

    /// The partitions that were truncated separately.
    pub(crate) fn truncated_partitions(&self) -> Vec<String> {
        self.records
            .truncated_partitions
            .iter()
            .filter_map(|one| one.partition.clone())
            .collect()
    }

    /// The common table expression. `bounds` are the constraints of the truncated partitions, in their order.
    pub(crate) fn expression(&self, bounds: &[Option<String>]) -> Result<String, TimeTravelError> {
        let images = if self.records.by_key {
            self.images_by_key()
        } else {
            self.images_by_counting()
        };
        let columns: Vec<_> = self.facts.columns.iter().map(|c| self.column(c)).collect();
        let names: Vec<_> = self
            .facts
            .columns
            .iter()
            .map(|column| quote_identifier(&column.name))
            .collect();
        let mut conditions = String::new();
        for (truncated, bounds) in self.records.truncated_partitions.iter().zip(bounds) {
            let (Some(bounds), true) = (bounds, self.records.by_key) else {
                return Err(TimeTravelError::Inexact {
                    table: self.table.clone(),
                    detail: format!(
                        "{} was truncated separately, and the rows that it had are not known now",
                        truncated.partition.as_deref().unwrap_or_default()
                    ),
                });
            };
            let _ = write!(
                conditions,
                " AND NOT (\"change id\" < {} AND ({bounds}) IS NOT FALSE)",
                truncated.id
            );
        }
        Ok(format!(
            "{} AS NOT MATERIALIZED (SELECT {} FROM (SELECT \"change id\"{}{} FROM ({images}) AS images) AS \
             past WHERE true{conditions})",
            quote_identifier(self.table.name()),
            names.join(", "),
            if columns.is_empty() { "" } else { ", " },
            columns.join(", "),
        ))
    }

    /// The condition on an alias of `audit_changes` or `audit_key_changes`.
    fn of_table(&self, alias: &str) -> String {
        format!(
            "{alias}.table_name = {} AND {alias}.table_schema = {}",
            quote_literal(self.table.name()),
            quote_literal(self.table.schema())
        )
    }

    /// The condition on ids of changes.
    fn in_range(&self, id: &str) -> String {
        let mut condition = format!("{id} > {}", self.records.after);
        if let Some(before) = self.records.before {
            let _ = write!(condition, " AND {id} < {before}");
        }
        condition
    }

    /// The condition on row keys that restricts the table.
    fn of_keys(&self, key: &str) -> String {
        self.keys.as_ref().map_or_else(String::new, |keys| {
            let keys: Vec<_> = keys.iter().map(|key| quote_literal(key)).collect();
            format!(" AND {key} = ANY (ARRAY[{}]::text[])", keys.join(", "))
        })
    }

    /// The last change of each key at or before the instant, unless the row left the key since.
    fn images_by_key(&self) -> String {
        let instant = &self.instant;
        let mut sql = format!(
            // Hashing the ids of the last changes is faster than sorting images, as DISTINCT ON does.
            // OFFSET 0 prevents the query's conditions from being evaluated on outdated images.
            "(SELECT change.id AS \"change id\", change.data_after AS image \
             FROM {STORAGE_SCHEMA}.audit_changes AS change \
             WHERE {of_change}{of_keys} AND change.captured_at <= {instant} AND change.op <> 'delete' \
             AND change.id = ANY (\
                 SELECT max(visible.id) FROM {STORAGE_SCHEMA}.audit_changes AS visible \
                 WHERE {of_visible}{of_visible_keys} AND visible.captured_at <= {instant} AND {in_range} \
                 AND visible.row_key IS NOT NULL GROUP BY visible.row_key) \
             AND NOT EXISTS (\
                 SELECT FROM {STORAGE_SCHEMA}.audit_key_changes AS departure \
                 WHERE {of_departure} AND departure.captured_at <= {instant} \
                 AND departure.previous_key = change.row_key AND departure.change_id > change.id) \
             OFFSET 0)",
            of_change = self.of_table("change"),
            of_keys = self.of_keys("change.row_key"),
            of_visible = self.of_table("visible"),
            of_visible_keys = self.of_keys("visible.row_key"),
            in_range = self.in_range("visible.id"),
            of_departure = self.of_table("departure"),
        );
        if self.records.with_later {
            sql.push_str(" UNION ALL ");
            sql.push_str(&self.images_from_later_records());
        }
        sql
    }

    /// Rows without a record at or before the instant: the first record after it shows the row before it.
    fn images_from_later_records(&self) -> String {
        let instant = &self.instant;
        format!(
            "(SELECT change.id, CASE \
                 WHEN change.op = 'baseline' THEN change.data_after \
                 WHEN change.op = 'delete' THEN change.changed_from \
                 WHEN change.op = 'update' THEN change.data_after || change.changed_from END \
             FROM (\
                 SELECT event.row_key, min(event.id) AS id FROM (\
                     SELECT later.row_key, later.id FROM {STORAGE_SCHEMA}.audit_changes AS later \
                     WHERE {of_later}{of_later_keys} AND later.captured_at > {instant} AND {in_later} \
                     AND later.row_key IS NOT NULL \
                     UNION ALL \
                     SELECT left_key.previous_key, left_key.change_id \
                     FROM {STORAGE_SCHEMA}.audit_key_changes AS left_key \
                     WHERE {of_left}{of_left_keys} AND left_key.captured_at > {instant} AND {in_left}\
                 ) AS event GROUP BY event.row_key\
             ) AS first \
             JOIN {STORAGE_SCHEMA}.audit_changes AS change ON change.id = first.id \
             WHERE {of_change} AND change.captured_at > {instant} AND change.op <> 'insert' \
             AND COALESCE(change.previous_key, change.row_key) = first.row_key \
             AND NOT EXISTS (\
                 SELECT FROM {STORAGE_SCHEMA}.audit_changes AS known \
                 WHERE {of_known} AND known.row_key = first.row_key AND known.captured_at <= {instant} \
                 AND {in_known}) \
             OFFSET 0)",
            of_later = self.of_table("later"),
            of_later_keys = self.of_keys("later.row_key"),
            in_later = self.in_range("later.id"),
            of_left = self.of_table("left_key"),
            of_left_keys = self.of_keys("left_key.previous_key"),
            in_left = self.in_range("left_key.change_id"),
            of_change = self.of_table("change"),
            of_known = self.of_table("known"),
            in_known = self.in_range("known.id"),
        )
    }

    /// For keys that are not unique at every instant: each change adds the image after it and subtracts the image
    /// before it, and the remaining images are the rows. A negative count means that a row is not in the trail,
    /// and raises an error.
    fn images_by_counting(&self) -> String {
        let instant = &self.instant;
        let visible = format!(
            "{} AND change.captured_at <= {instant} AND {}",
            self.of_table("change"),
            self.in_range("change.id")
        );
        let inexact = quote_literal(&format!(
            "the rows of {} are not known exactly as of the instant: ",
            self.table
        ));
        format!(
            "SELECT counted.id AS \"change id\", counted.image FROM (\
                 SELECT max(step.id) FILTER (WHERE step.n = 1) AS id, \
                     (array_agg(step.image) FILTER (WHERE step.n = 1))[1] AS image, sum(step.n) AS copies \
                 FROM (\
                     SELECT change.id, 1 AS n, change.data_after AS image \
                     FROM {STORAGE_SCHEMA}.audit_changes AS change \
                     WHERE {visible}{of_keys} AND change.data_after IS NOT NULL \
                     UNION ALL \
                     SELECT change.id, -1, COALESCE(change.data_after || change.changed_from, change.changed_from) \
                     FROM {STORAGE_SCHEMA}.audit_changes AS change \
                     WHERE {visible}{of_previous_keys} AND change.changed_from IS NOT NULL\
                 ) AS step \
                 GROUP BY (\
                     SELECT jsonb_object_agg(field.key, field.value)::text \
                     FROM jsonb_each(step.image) AS field WHERE field.value <> 'null') \
                 HAVING sum(step.n) <> 0\
             ) AS counted \
             CROSS JOIN LATERAL generate_series(1, CASE WHEN counted.copies > 0 THEN counted.copies::int \
                 ELSE ({inexact} || counted.copies)::int END) OFFSET 0",
            of_keys = self.of_keys("change.row_key"),
            of_previous_keys = self.of_keys("COALESCE(change.previous_key, change.row_key)"),
        )
    }

    /// A column, read from the image. A value that is not known raises an error where it is read.
    fn column(&self, column: &ColumnFacts) -> String {
        let name = quote_literal(&column.name);
        let of_type = &column.type_name;
        let text = format!("image ->> {name}");
        let relation = self.table.quoted();
        let value = match column.form {
            ImageValue::Json => format!("image -> {name}"),
            ImageValue::Money | ImageValue::Array => {
                let read = if column.form == ImageValue::Money {
                    format!("{STORAGE_SCHEMA}.row_from_image")
                } else {
                    "jsonb_populate_record".to_owned()
                };
                let column = quote_identifier(&column.name);
                format!(
                    "({read}(NULL::{relation}, jsonb_build_object({name}, image -> {name}))).{column}::{of_type}"
                )
            }
            ImageValue::Text => format!("({text})::{of_type}"),
        };
        let otherwise = if !self.allow_unknown {
            format!(
                "CASE WHEN (image -> {name} = 'null') IS NOT TRUE \
                 THEN ({} || COALESCE({text}, ''))::int::text::{of_type} END",
                quote_literal(&format!("{UNKNOWN}{} ", self.shown(column)))
            )
        } else if column.is_text {
            format!("({text})::{of_type}")
        } else {
            format!("NULL::{of_type}")
        };
        let mut placeholders = vec!["[ERASED]", "[REDACTED]"];
        placeholders.extend(self.facts.mask_with.as_deref());
        let placeholders: Vec<_> = placeholders.iter().map(|one| quote_literal(one)).collect();
        format!(
            "CASE WHEN {text} <> ALL (ARRAY[{}]::text[]) AND {text} NOT LIKE '[TOO LARGE: % bytes, sha256:%]' \
             THEN {value} ELSE {otherwise} END AS {}",
            placeholders.join(", "),
            quote_identifier(&column.name)
        )
    }

    fn shown(&self, column: &ColumnFacts) -> String {
        format!("{}.{}", self.table, column.name)
    }

    /// The columns whose types may reject stored values: name, type, and the statement that reads all values.
    pub(crate) fn doubtful_columns(
        &self,
        bounds: &[Option<String>],
    ) -> Result<Vec<(String, String, String)>, TimeTravelError> {
        let expression = self.expression(bounds)?;
        let table = quote_identifier(self.table.name());
        let doubtful = self.facts.columns.iter().filter(|column| column.may_reject);
        let statements = doubtful.map(|column| {
            let read_all = format!(
                "WITH {expression} SELECT pg_catalog.count({}) FROM {table}",
                quote_identifier(&column.name)
            );
            (column.name.clone(), column.type_name.clone(), read_all)
        });
        Ok(statements.collect())
    }

    /// The column that an error of PostgreSQL names, if its value is not known.
    pub(crate) fn unknown_column(&self, message: &str) -> Option<UnknownColumn> {
        let (_, about) = message.split_once(UNKNOWN)?;
        self.facts.columns.iter().find_map(|column| {
            let stored = about
                .strip_prefix(&self.shown(column))?
                .strip_prefix(' ')?
                .trim_end_matches('"');
            let reason = match stored {
                "" if column.rule.as_deref() == Some("exclude") => UnknownReason::Excluded,
                "" => UnknownReason::NotCaptured,
                "[ERASED]" => UnknownReason::Erased,
                large if large.starts_with("[TOO LARGE: ") => UnknownReason::TooLarge,
                _ => UnknownReason::Masked,
            };
            Some(UnknownColumn::unknown(column.name.clone(), reason))
        })
    }
}
