//! Loads archived records, and compares each with the log of seals.

use std::collections::{BTreeMap, HashSet};

use chrono::NaiveDate;
use diesel::QueryableByName;
use diesel::sql_types::{Array, Date, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::partition::{PartitionRow, parent_name, relation};
use super::{RestoreError, RestoreProgress, SpanRow};
use crate::archive::check::{SeenLeaves, check_records};
use crate::archive::columns::{ArchiveColumn, ColumnType, columns};
use crate::archive::layout::{ArchiveFile, ArchiveKind, ArchiveManifest};
use crate::archive::read::{ArchivedRecord, FileRecords};
use crate::archive::{ArchiveError, FileFault};
use crate::seal::rows::query;
use crate::storage::Storage;

/// The kinds of records that a purge removes.
const KINDS: [ArchiveKind; 3] = [
    ArchiveKind::Transactions,
    ArchiveKind::Changes,
    ArchiveKind::Actions,
];

/// The number of records in memory.
const BATCH: usize = 2_000;

/// What was loaded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loaded {
    pub(super) changes: u64,
    pub(super) transactions: u64,
    pub(super) actions: u64,
    pub(super) unerased: u64,
    /// The smallest and the greatest id of the changes.
    pub(super) ids: (i64, i64),
}

pub(super) struct Loader<'a> {
    conn: &'a mut AsyncPgConnection,
    storage: &'a Storage,
    partitions: &'a [PartitionRow],
    progress: &'a mut (dyn FnMut(RestoreProgress) + Send),
    seen: SeenLeaves,
    loaded: Loaded,
}

/// A record outside the span that restored changes refer to.
#[derive(Debug, QueryableByName)]
struct OutsideRow {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Date)]
    day: NaiveDate,
}

impl<'a> Loader<'a> {
    pub(super) fn new(
        conn: &'a mut AsyncPgConnection,
        storage: &'a Storage,
        partitions: &'a [PartitionRow],
        progress: &'a mut (dyn FnMut(RestoreProgress) + Send),
    ) -> Self {
        Self {
            conn,
            storage,
            partitions,
            progress,
            seen: SeenLeaves::default(),
            loaded: Loaded {
                changes: 0,
                transactions: 0,
                actions: 0,
                unerased: 0,
                ids: (i64::MAX, 0),
            },
        }
    }

    pub(super) const fn loaded(&self) -> Loaded {
        self.loaded
    }

    /// Loads all records of a day.
    pub(super) async fn load_day(
        &mut self,
        manifest: &ArchiveManifest,
    ) -> Result<(), RestoreError> {
        for kind in KINDS {
            let target = self.target(kind);
            for file in manifest.files_of(kind) {
                let rows = self.load_file(manifest.day, file, &target, None).await?;
                if rows != file.rows {
                    return Err(RestoreError::Archive(ArchiveError::BadFile {
                        object: file.object.clone(),
                        fault: FileFault::OtherRows {
                            rows,
                            expected: file.rows,
                        },
                    }));
                }
            }
        }
        Ok(())
    }

    /// Loads the transactions and actions of restored changes that are archived with days outside the span.
    pub(super) async fn load_outside(
        &mut self,
        span: &SpanRow,
        manifests: &[ArchiveManifest],
    ) -> Result<(), RestoreError> {
        for (kind, sql) in [
            (
                ArchiveKind::Transactions,
                include_str!("../sql/restore_outside_transactions.sql"),
            ),
            (
                ArchiveKind::Actions,
                include_str!("../sql/restore_outside_actions.sql"),
            ),
        ] {
            let sql = sql.replace("@table@", &self.target(ArchiveKind::Changes));
            let rows: Vec<OutsideRow> = query(&sql)
                .bind::<Timestamptz, _>(span.from_instant)
                .bind::<Timestamptz, _>(span.to_instant)
                .load(self.conn)
                .await?;
            let mut by_day: BTreeMap<NaiveDate, HashSet<String>> = BTreeMap::new();
            for row in rows {
                by_day.entry(row.day).or_default().insert(row.id);
            }
            let target = relation(&parent_name(kind));
            for manifest in manifests {
                let Some(ids) = by_day.get(&manifest.day) else {
                    continue;
                };
                for file in manifest.files_of(kind) {
                    self.load_file(manifest.day, file, &target, Some(ids))
                        .await?;
                }
            }
        }
        Ok(())
    }

    /// The table that records of a kind are inserted into.
    fn target(&self, kind: ArchiveKind) -> String {
        let found = self.partitions.iter().find(|one| one.is_of(kind));
        found.map_or_else(|| relation(&parent_name(kind)), PartitionRow::target)
    }

    /// Loads the records of a file, or those of them with some ids. Returns the number of records of the file.
    async fn load_file(
        &mut self,
        day: NaiveDate,
        file: &ArchiveFile,
        target: &str,
        ids: Option<&HashSet<String>>,
    ) -> Result<u64, RestoreError> {
        let insert = insert_sql(file.kind, target);
        let mut records = FileRecords::open(self.storage, file).await?;
        let mut rows = 0;
        loop {
            let mut batch = records.next_batch(BATCH)?;
            if batch.is_empty() {
                return Ok(rows);
            }
            rows += batch.len() as u64;
            if let Some(ids) = ids {
                batch.retain(|record| id_of(record).is_some_and(|id| ids.contains(id)));
            }
            let sealed = check_records(self.conn, day, file, &batch, &mut self.seen).await?;
            let is_erased = |leaf| sealed.get(leaf).is_some_and(|it| it.secret().is_none());
            let unerased = batch
                .iter()
                .filter(|record| record.secret.is_some() && is_erased(&record.leaf));
            self.loaded.unerased += unerased.count() as u64;
            if file.kind == ArchiveKind::Changes {
                self.note_ids(&batch);
            }
            let inserted = self.insert(&insert, file.kind, batch).await?;
            self.count(file.kind, inserted as u64);
            (self.progress)(RestoreProgress {
                day,
                records: self.loaded.changes + self.loaded.transactions + self.loaded.actions,
            });
        }
    }

    async fn insert(
        &mut self,
        sql: &str,
        kind: ArchiveKind,
        batch: Vec<ArchivedRecord>,
    ) -> Result<usize, RestoreError> {
        let mut texts = vec![Vec::with_capacity(batch.len()); columns(kind).len()];
        for record in batch {
            for (column, value) in texts.iter_mut().zip(record.values) {
                column.push(value);
            }
        }
        let insert = texts.into_iter().fold(query(sql), |insert, column| {
            insert.bind::<Array<Nullable<Text>>, _>(column)
        });
        Ok(insert.execute(self.conn).await?)
    }

    fn count(&mut self, kind: ArchiveKind, inserted: u64) {
        match kind {
            ArchiveKind::Transactions => self.loaded.transactions += inserted,
            ArchiveKind::Actions => self.loaded.actions += inserted,
            _ => self.loaded.changes += inserted,
        }
    }

    fn note_ids(&mut self, batch: &[ArchivedRecord]) {
        for id in batch
            .iter()
            .filter_map(|record| id_of(record)?.parse::<i64>().ok())
        {
            let (first, last) = self.loaded.ids;
            self.loaded.ids = (id.min(first), id.max(last));
        }
    }
}

/// The id of a change, transaction or action: its first column.
fn id_of(record: &ArchivedRecord) -> Option<&str> {
    record.values.as_slice().first()?.as_deref()
}

/// Inserts records from arrays of the texts of their columns. Records that a table of the trail has already are left
/// out.
fn insert_sql(kind: ArchiveKind, target: &str) -> String {
    let join = |texts: Vec<String>| texts.join(", ");
    let columns = columns(kind);
    let names = join(
        columns
            .iter()
            .map(|column| column.name.to_owned())
            .collect(),
    );
    let values = join(columns.iter().map(typed_value).collect());
    let arrays = join(
        (1..=columns.len())
            .map(|place| format!("${place}::text[]"))
            .collect(),
    );
    format!(
        "INSERT INTO {target} ({names}) SELECT {values} FROM unnest({arrays}) AS record ({names}) \
         ON CONFLICT DO NOTHING"
    )
}

/// The value of a column from its text.
fn typed_value(column: &ArchiveColumn) -> String {
    let name = column.name;
    let sql_type = match column.column_type {
        ColumnType::Integer => "bigint",
        ColumnType::Instant => "timestamptz",
        ColumnType::Json => "jsonb",
        ColumnType::Address => "inet",
        _ => match name {
            "id" | "transaction_id" | "action_id" => "uuid",
            "xid" => "xid8",
            _ => "text",
        },
    };
    format!("record.{name}::{sql_type}")
}
