//! Removes expired records step by step. Each step is one statement and so one transaction: if a purge is killed,
//! the counts match the removed records, and the next purge continues. Restored spans that are kept stay, with all
//! before them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel_async::AsyncConnection;
use threadline_core::retention::{LastImages, RetentionPolicy};
use threadline_core::table::TableName;
use threadline_core::telemetry;

use super::cutoffs::Cutoffs;
use super::execute::{execute, load, load_one};
use super::partition::Partition;
use super::statements;
use super::steps::{self, StepRow, Work};
use super::{MAX_BATCH_SIZE, PurgeOptions, PurgeStep, RetentionError, StepKind};

/// The target duration of a step that deletes rows; the batch size is adjusted to it.
const STEP_TIME: Duration = Duration::from_millis(50);

/// The size of the first batch, and the minimum size.
const FIRST_BATCH: u32 = 1_000;
const LEAST_BATCH: u32 = 100;

/// Why a purge ends early.
pub(super) enum Halt {
    Stopped,
    Failed(RetentionError),
}

impl From<diesel::result::Error> for Halt {
    fn from(error: diesel::result::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// A running purge.
pub(super) struct Walk<'a, C> {
    conn: &'a mut C,
    run: i64,
    keeps_last_images: bool,
    keeps_transactions: bool,
    cutoffs: Cutoffs,
    options: &'a PurgeOptions,
    progress: &'a mut (dyn FnMut(&PurgeStep) + Send),
    steps: u64,
    batch: u32,
}

impl<'a, C> Walk<'a, C>
where
    C: AsyncConnection<Backend = Pg>,
{
    pub(super) fn new(
        conn: &'a mut C,
        run: i64,
        policy: &RetentionPolicy,
        cutoffs: Cutoffs,
        options: &'a PurgeOptions,
        progress: &'a mut (dyn FnMut(&PurgeStep) + Send),
    ) -> Self {
        Self {
            conn,
            run,
            keeps_last_images: policy.last_images() == LastImages::Kept,
            keeps_transactions: policy.transactions().is_some(),
            cutoffs,
            options,
            progress,
            steps: 0,
            batch: FIRST_BATCH,
        }
    }

    /// Removes all expired records.
    pub(super) async fn work(&mut self) -> Result<(), Halt> {
        if let Some(newest) = self.cutoffs.newest() {
            self.purge_changes(newest).await?;
        }
        if let Some(before) = self.cutoffs.emptied_transactions() {
            self.purge_transactions(before).await?;
        }
        if let Some(before) = self.cutoffs.actions {
            self.purge_actions(before).await?;
        }
        Ok(())
    }

    /// Drops partitions that have expired as a whole, then deletes rows of the others, then drops the emptied ones.
    async fn purge_changes(&mut self, newest: DateTime<Utc>) -> Result<(), Halt> {
        let mut tables = BTreeSet::new();
        let mut left = Vec::new();
        for partition in self.partitions("audit_changes").await? {
            if !partition.begins_before(newest) || self.cutoffs.keep(&partition) {
                continue;
            }
            let found = self.tables_in(&partition).await?;
            if self.cutoffs.cover(&partition, &found)
                && (found.is_empty() || !self.keeps_last_images)
            {
                self.drop(&partition, "changes").await?;
                continue;
            }
            tables.extend(found.into_iter().filter(|table| {
                let cutoff = self.cutoffs.of_table(table);
                cutoff.is_some_and(|before| partition.begins_before(before))
            }));
            left.push(partition);
        }
        let some_removed = !tables.is_empty();
        for table in tables {
            self.remove_changes(&table).await?;
        }
        for partition in left.iter().filter(|_| some_removed) {
            if partition.ends_by(newest) && self.tables_in(partition).await?.is_empty() {
                self.drop(partition, "changes").await?;
            }
        }
        Ok(())
    }

    async fn remove_changes(&mut self, table: &TableName) -> Result<(), Halt> {
        let Some(before) = self.cutoffs.of_table(table) else {
            return Ok(());
        };
        loop {
            let work = Work::Changes {
                table: table.clone(),
                before,
                batch: self.batch(),
                keep_last_images: self.keeps_last_images,
                transactions_before: self.cutoffs.transactions,
            };
            if self.step(&work, None).await?.changes == 0 {
                return Ok(());
            }
        }
    }

    /// Drops partitions of transactions without changes. In other partitions, a transaction is removed with its last
    /// change; those that have a retention of their own, or lost their changes with a partition, are removed here.
    async fn purge_transactions(&mut self, before: DateTime<Utc>) -> Result<(), Halt> {
        let changes = self.partitions("audit_changes").await?;
        for partition in self.partitions("audit_transactions").await? {
            let (Some(from), Some(to)) = (partition.from, partition.to) else {
                continue;
            };
            if to > before || self.cutoffs.keep(&partition) {
                continue;
            }
            let row: statements::Answer =
                load_one(self.conn, statements::have_changes(from, to)).await?;
            if !row.answer {
                self.drop(&partition, "transactions").await?;
            } else if self.keeps_transactions || !changes.iter().any(|one| one.overlaps(&partition))
            {
                self.search_transactions(from, to).await?;
            }
        }
        Ok(())
    }

    async fn search_transactions(
        &mut self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<(), Halt> {
        let mut after = statements::id_before(from);
        loop {
            let work = Work::Transactions {
                after,
                before: to,
                batch: self.batch(),
            };
            match self.step(&work, None).await?.last_id {
                Some(last) => after = last,
                None => return Ok(()),
            }
        }
    }

    async fn purge_actions(&mut self, before: DateTime<Utc>) -> Result<(), Halt> {
        let mut has_rest = false;
        for partition in self.partitions("audit_actions").await? {
            if self.cutoffs.keep(&partition) {
                continue;
            }
            if partition.ends_by(before) {
                self.drop(&partition, "actions").await?;
            } else {
                has_rest |= partition.begins_before(before);
            }
        }
        while has_rest {
            let work = Work::Actions {
                before,
                batch: self.batch(),
            };
            has_rest = self.step(&work, None).await?.actions > 0;
        }
        Ok(())
    }

    /// Drops a partition, or leaves it to the next run if it cannot be locked.
    async fn drop(&mut self, partition: &Partition, counts: &'static str) -> Result<(), Halt> {
        let name = &partition.name;
        let work = Work::Drop {
            partition: name.clone(),
            counts,
        };
        for _ in 0..self.options.lock_attempts {
            if !self.step(&work, Some(name)).await?.is_locked {
                return Ok(());
            }
        }
        execute(self.conn, steps::postpone(self.run, name.clone())).await?;
        self.report(StepKind::Postponed, Some(name), &StepRow::default());
        Ok(())
    }

    /// Executes one step and the pause after it.
    async fn step(&mut self, work: &Work, partition: Option<&String>) -> Result<StepRow, Halt> {
        if self.options.limit_reached(self.steps) {
            return Err(Halt::Stopped);
        }
        let started = Instant::now();
        let mut rows: Vec<StepRow> = load(self.conn, steps::step(self.run, self.options, work))
            .await
            .map_err(|error| {
                Halt::Failed(RetentionError::Failed {
                    run: self.run,
                    place: work.place(),
                    error,
                })
            })?;
        let Some(row) = rows.pop() else {
            return Err(Halt::Failed(RetentionError::Lost { run: self.run }));
        };
        self.steps += 1;
        let (kind, rest) = match work {
            Work::Drop { .. } if row.is_locked => {
                (StepKind::Locked, self.options.rest_after_lock())
            }
            Work::Drop { .. } => (StepKind::Dropped, self.options.pause),
            _ => {
                self.fit_batch(started.elapsed());
                (StepKind::Removed, self.options.pause)
            }
        };
        self.report(kind, partition, &row);
        tokio::time::sleep(rest).await;
        Ok(row)
    }

    fn report(&mut self, kind: StepKind, partition: Option<&String>, row: &StepRow) {
        let step = PurgeStep {
            run: self.run,
            kind,
            partition: partition.cloned(),
            changes: row.changes,
            transactions: row.transactions,
            actions: row.actions,
        };
        telemetry::retention_step(
            step.run,
            kind.as_str(),
            step.changes,
            step.transactions,
            step.actions,
        );
        (self.progress)(&step);
    }

    /// The size of the next batch.
    fn batch(&self) -> i32 {
        self.options.batch_size.rows_up_to(self.batch)
    }

    /// Adjusts the size of the next batch, so that it takes about [`STEP_TIME`].
    fn fit_batch(&mut self, taken: Duration) {
        self.batch = if taken > STEP_TIME {
            (self.batch / 2).max(LEAST_BATCH)
        } else if taken < STEP_TIME / 2 {
            self.batch.saturating_mul(2).min(MAX_BATCH_SIZE)
        } else {
            self.batch
        };
    }

    async fn partitions(&mut self, parent: &'static str) -> diesel::QueryResult<Vec<Partition>> {
        load(self.conn, statements::partitions(parent)).await
    }

    async fn tables_in(&mut self, partition: &Partition) -> diesel::QueryResult<Vec<TableName>> {
        tables_in(self.conn, partition).await
    }
}

/// The tables that have changes in a partition.
pub(super) async fn tables_in<C>(
    conn: &mut C,
    partition: &Partition,
) -> diesel::QueryResult<Vec<TableName>>
where
    C: AsyncConnection<Backend = Pg>,
{
    let rows: Vec<statements::TableRow> = load(conn, statements::tables_in(partition)).await?;
    Ok(rows.into_iter().map(TableName::from).collect())
}
