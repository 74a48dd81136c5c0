//! The archived changes of one row, read from the storage without a database.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;

use arrow_array::RecordBatch;
use chrono::{DateTime, NaiveDate};
use futures_util::TryStreamExt;
use object_store::path::Path;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use threadline_core::table::TableName;
use uuid::Uuid;

use super::columns::{position, value};
use super::layout::{ArchiveFile, ArchiveKind, ArchiveManifest, read_manifests};
use super::range_reader::RangeReader;
use super::read::{ArchivedRecord, check_schema, decode_row, text_of};
use super::row_json::write_change;
use super::{ArchiveError, FileFault};
use crate::storage::Storage;

/// The number of changes whose transactions are looked up at once.
const CHANGES_AT_ONCE: usize = 200;

const BATCH_ROWS: usize = 256;

/// A row whose archived changes are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedRow {
    table: TableName,
    key: String,
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
}

impl ArchivedRow {
    /// A row of a table. The key is the text of `row_key`: the value itself, or a JSON array of the values of several
    /// columns.
    #[must_use]
    pub fn new(table: TableName, key: impl Into<String>) -> Self {
        Self {
            table,
            key: key.into(),
            from: None,
            to: None,
        }
    }

    /// Only changes of this day and later ones.
    #[must_use]
    pub fn from(mut self, day: NaiveDate) -> Self {
        self.from = Some(day);
        self
    }

    /// Only changes of this day and earlier ones.
    #[must_use]
    pub fn to(mut self, day: NaiveDate) -> Self {
        self.to = Some(day);
        self
    }

    fn includes(&self, day: NaiveDate) -> bool {
        self.from.is_none_or(|from| day >= from) && self.to.is_none_or(|to| day <= to)
    }

    /// The row groups that can have changes of the row.
    async fn row_groups(&self, builder: &mut Builder) -> parquet::errors::Result<Vec<usize>> {
        let mut groups = Vec::new();
        for group in 0..builder.metadata().num_row_groups() {
            if may_have(builder, group, "table_name", self.table.name())
                && (may_have(builder, group, "previous_key", &self.key)
                    || may_have(builder, group, "row_key", &self.key)
                        && filter_has(builder, group, ArchiveKind::Changes, "row_key", &self.key)
                            .await?)
            {
                groups.push(group);
            }
        }
        Ok(groups)
    }

    fn matches(&self, batch: &RecordBatch, row: usize) -> bool {
        let is = |name, wanted: &str| {
            position(ArchiveKind::Changes, name)
                .and_then(|column| text_of(batch.column(column), row))
                .is_some_and(|text| text == wanted)
        };
        (is("row_key", &self.key) || is("previous_key", &self.key))
            && is("table_name", self.table.name())
            && is("table_schema", self.table.schema())
    }
}

type Builder = ParquetRecordBatchStreamBuilder<RangeReader>;

/// Writes the archived changes of a row, also those that gave it another key: one JSON object a line with the columns of
/// the change, and its transaction under `transaction` (null if it is not archived). Returns their number.
///
/// Only the parts of files that can have changes of the row are read. Their digests are not compared: [`verify`] does.
///
/// [`verify`]: fn@super::verify
///
/// # Errors
/// [`ArchiveError`] if a file or a manifest cannot be read, or the answer not be written.
pub async fn fetch(
    storage: &Storage,
    query: &ArchivedRow,
    out: &mut (impl Write + Send),
) -> Result<u64, ArchiveError> {
    let manifests: BTreeMap<NaiveDate, ArchiveManifest> = read_manifests(storage)
        .await?
        .into_iter()
        .map(|manifest| (manifest.day, manifest))
        .collect();
    let mut answer = Answer {
        storage,
        manifests: &manifests,
        transactions: HashMap::new(),
        written: 0,
    };
    for manifest in manifests.values().filter(|it| query.includes(it.day)) {
        for file in manifest.files_of(ArchiveKind::Changes) {
            answer.add_file(query, file, out).await?;
        }
    }
    out.flush().map_err(ArchiveError::Write)?;
    Ok(answer.written)
}

struct Answer<'a> {
    storage: &'a Storage,
    manifests: &'a BTreeMap<NaiveDate, ArchiveManifest>,
    /// The transactions of the last changes, by id.
    transactions: HashMap<String, ArchivedRecord>,
    written: u64,
}

impl Answer<'_> {
    async fn add_file(
        &mut self,
        query: &ArchivedRow,
        file: &ArchiveFile,
        out: &mut (impl Write + Send),
    ) -> Result<(), ArchiveError> {
        let mut builder = open(self.storage, file).await?;
        let groups = query.row_groups(&mut builder).await;
        let groups = groups.map_err(|error| unreadable(file, &error))?;
        if groups.is_empty() {
            return Ok(());
        }
        let mut changes = Vec::new();
        let batches = builder
            .with_row_groups(groups)
            .with_batch_size(BATCH_ROWS)
            .build();
        let mut batches = batches.map_err(|error| unreadable(file, &error))?;
        while let Some(batch) = batches
            .try_next()
            .await
            .map_err(|error| unreadable(file, &error))?
        {
            for row in (0..batch.num_rows()).filter(|row| query.matches(&batch, *row)) {
                let change = decode_row(ArchiveKind::Changes, &batch, row);
                changes.push(change.map_err(|reason| unreadable(file, &reason))?);
                if changes.len() == CHANGES_AT_ONCE {
                    self.write(&changes, out).await?;
                    changes.clear();
                }
            }
        }
        self.write(&changes, out).await
    }

    async fn write(
        &mut self,
        changes: &[ArchivedRecord],
        out: &mut (impl Write + Send),
    ) -> Result<(), ArchiveError> {
        let transaction_of = |change: &ArchivedRecord| {
            value(ArchiveKind::Changes, &change.values, "transaction_id")
                .unwrap_or_default()
                .to_owned()
        };
        self.find_transactions(changes.iter().map(transaction_of).collect())
            .await?;
        for change in changes {
            let transaction = self.transactions.get(&transaction_of(change));
            write_change(out, change, transaction).map_err(ArchiveError::Write)?;
            self.written += 1;
        }
        Ok(())
    }

    /// Finds transactions by the days in their ids.
    async fn find_transactions(&mut self, ids: HashSet<String>) -> Result<(), ArchiveError> {
        self.transactions.retain(|id, _| ids.contains(id));
        let mut by_day: BTreeMap<NaiveDate, Vec<String>> = BTreeMap::new();
        for id in ids {
            if !self.transactions.contains_key(&id)
                && let Some(day) = transaction_day(&id)
            {
                by_day.entry(day).or_default().push(id);
            }
        }
        for (day, ids) in by_day {
            let files = self.manifests.get(&day).into_iter();
            for file in files.flat_map(|it| it.files_of(ArchiveKind::Transactions)) {
                self.read_transactions(file, &ids).await?;
            }
        }
        Ok(())
    }

    async fn read_transactions(
        &mut self,
        file: &ArchiveFile,
        ids: &[String],
    ) -> Result<(), ArchiveError> {
        let failed = |error| unreadable(file, &error);
        let mut builder = open(self.storage, file).await?;
        let mut groups = Vec::new();
        for group in 0..builder.metadata().num_row_groups() {
            for id in ids {
                if may_have(&builder, group, "id", id)
                    && filter_has(&mut builder, group, ArchiveKind::Transactions, "id", id)
                        .await
                        .map_err(failed)?
                {
                    groups.push(group);
                    break;
                }
            }
        }
        let batches = builder
            .with_row_groups(groups)
            .with_batch_size(BATCH_ROWS)
            .build();
        let mut batches = batches.map_err(failed)?;
        while let Some(batch) = batches.try_next().await.map_err(failed)? {
            for row in 0..batch.num_rows() {
                let id = text_of(batch.column(0), row).unwrap_or_default();
                if ids.contains(&id) {
                    let record = decode_row(ArchiveKind::Transactions, &batch, row);
                    let record = record.map_err(|reason| unreadable(file, &reason))?;
                    self.transactions.insert(id, record);
                }
            }
        }
        Ok(())
    }
}

async fn open(storage: &Storage, file: &ArchiveFile) -> Result<Builder, ArchiveError> {
    let reader = RangeReader::new(
        storage.clone(),
        Path::from(file.object.as_str()),
        file.bytes,
    );
    let builder = Builder::new(reader).await;
    let builder = builder.map_err(|error| unreadable(file, &error))?;
    check_schema(file.kind, builder.schema()).map_err(|reason| unreadable(file, &reason))?;
    Ok(builder)
}

fn unreadable(file: &ArchiveFile, error: &dyn std::fmt::Display) -> ArchiveError {
    ArchiveError::BadFile {
        object: file.object.clone(),
        fault: FileFault::Unreadable(error.to_string()),
    }
}

/// The day of the start of a transaction, which is in its id.
fn transaction_day(id: &str) -> Option<NaiveDate> {
    let (start, _) = Uuid::parse_str(id).ok()?.as_u64_pair();
    let micros = start.cast_signed().checked_add(946_684_800_000_000)?;
    Some(DateTime::from_timestamp_micros(micros)?.date_naive())
}

/// Whether a row group can have a text in a column, by the least and the greatest text of the column.
fn may_have(builder: &Builder, group: usize, column: &str, wanted: &str) -> bool {
    let group = builder.metadata().row_group(group);
    let found = group
        .columns()
        .iter()
        .find(|it| it.column_path().string() == column);
    let Some(statistics) = found.and_then(|column| column.statistics()) else {
        return true;
    };
    let is_null = statistics.null_count_opt() == u64::try_from(group.num_rows()).ok();
    let is_below = |max: &[u8]| wanted.as_bytes() > max;
    let is_above = |min: &[u8]| wanted.as_bytes() < min;
    !is_null
        && !statistics.max_bytes_opt().is_some_and(is_below)
        && !statistics.min_bytes_opt().is_some_and(is_above)
}

/// Whether a row group can have a text in a column, by its Bloom filter.
async fn filter_has(
    builder: &mut Builder,
    group: usize,
    kind: ArchiveKind,
    column: &str,
    wanted: &str,
) -> parquet::errors::Result<bool> {
    let Some(index) = position(kind, column) else {
        return Ok(true);
    };
    let filter = builder
        .get_row_group_column_bloom_filter(group, index)
        .await?;
    Ok(filter.is_none_or(|filter| filter.check(wanted)))
}
