//! Diffs of two stored images of a row.

use serde::{Deserialize, Serialize};
use threadline_core::table::{AuditedTable, ColumnRule, TableName};

use super::{DIFF_SCHEMA_VERSION, FieldDiff, Images, RulesSource, image_fields};
use crate::json::StoredJson;
use crate::models::Op;

/// The differences between two stored images of a row, by field: of a row as of two instants, for example.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_core::row_key::RowKeyText;
/// use threadline_core::table::TableName;
/// use threadline_diesel::query::diff::RowDiff;
/// use threadline_diesel::{DocumentAsOf, deployed_tables, document_as_of};
///
/// let table: TableName = "invoices".parse()?;
/// let key = RowKeyText::from_values(vec!["42".to_owned()]);
/// let as_of = |instant| DocumentAsOf::new(table.clone(), &key, instant);
/// let january = document_as_of(conn, &as_of("2026-01-31T00:00:00Z".parse()?)).await?.row();
/// let march = document_as_of(conn, &as_of("2026-03-31T00:00:00Z".parse()?)).await?.row();
/// let rules = deployed_tables(conn).await?;
/// let diff = RowDiff::between(&table, january.as_ref(), march.as_ref(), &rules);
/// println!("{} fields differ", diff.fields.len());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RowDiff {
    /// The version of the document: [`DIFF_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The table's schema.
    pub table_schema: String,
    /// The table's name.
    pub table_name: String,
    /// Whether redaction rules were applied to the states of fields.
    pub rules: RulesSource,
    /// The fields that differ, sorted by name; all fields if one image is missing. With rules, excluded
    /// columns and masked columns, whose values cannot be compared, are included.
    pub fields: Vec<FieldDiff>,
}

impl RowDiff {
    /// The diff of two images of a row of a table; none means that there was no row. The rules of the
    /// table are applied if it is one of `tables`.
    #[must_use]
    pub fn between(
        table: &TableName,
        before: Option<&StoredJson>,
        after: Option<&StoredJson>,
        tables: &[AuditedTable],
    ) -> Self {
        let op = match (before, after) {
            (None, Some(_)) => Op::Insert,
            (Some(_), None) => Op::Delete,
            _ => Op::Update,
        };
        let images = Images {
            op,
            table: tables.iter().find(|declared| declared.name() == table),
            before: image_fields(before),
            after: image_fields(after),
            with_details: true,
        };
        let has_row = before.is_some() || after.is_some();
        Self {
            schema_version: DIFF_SCHEMA_VERSION,
            table_schema: table.schema().to_owned(),
            table_name: table.name().to_owned(),
            rules: images.rules(),
            fields: if has_row {
                images.differences()
            } else {
                Vec::new()
            },
        }
    }
}

impl Images<'_> {
    /// The fields that differ or cannot be compared.
    fn differences(&self) -> Vec<FieldDiff> {
        let stored = self.before.keys().chain(self.after.keys());
        let declared = self.table.into_iter().flat_map(AuditedTable::columns);
        let declared = declared.map(|column| &column.name);
        let mut names: Vec<_> = stored.chain(declared).collect();
        names.sort_unstable();
        names.dedup();
        let is_shown = |name: &&String| {
            let rule = self.column(name).map(|column| column.rule);
            self.op != Op::Update
                || self.before.get(*name) != self.after.get(*name)
                || matches!(rule, Some(ColumnRule::Exclude | ColumnRule::Mask))
        };
        let fields = names.into_iter().filter(is_shown);
        fields.map(|name| self.field(name)).collect()
    }
}
