//! Reads the plan of a restoration.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Duration, Utc};
use diesel::QueryResult;
use diesel::pg::Pg;
use diesel_async::{AsyncConnection, RunQueryDsl, TransactionManager};
use threadline_core::table::TableName;

use super::catalog::Catalog;
use super::children::order_by_references;
use super::image::{ImageOfRow, deleted_with};
use super::plan::{RestorePlan, RestoreStatement, SkipReason, SkippedRow};
use super::row_statement::{insert_all, restore_present};
use super::{Restore, RestoreError};
use crate::json::StoredJson;
use crate::models::{AuditChange, Op};
use crate::query::gaps::{CaptureGap, GapsRow, select_gaps};
use crate::query::timeline::page_query::select_change;
use crate::query::{AsOf, ChangeRef, RecordedState};

/// Settings under which the output functions write every value exactly, and names with their schema.
const SETTINGS: &str = "SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL DateStyle = 'ISO, MDY'; \
    SET LOCAL IntervalStyle = 'postgres'; SET LOCAL TimeZone = 'UTC'; SET LOCAL bytea_output = 'hex'; \
    SET LOCAL extra_float_digits = 1; SET LOCAL lc_monetary = 'C'; SET LOCAL xmloption = 'content'; \
    SET LOCAL quote_all_identifiers = off";

/// An instant after every record.
const NOW: DateTime<Utc> = DateTime::<Utc>::MAX_UTC;

/// Reads the statements that restore a row, and with it the rows that were deleted together. Nothing is
/// written. The role needs SELECT on the table of a row that is not deleted.
///
/// ```
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_core::row_key::RowKeyText;
/// use threadline_diesel::{Restore, restore_plan};
///
/// let key = RowKeyText::from_values(vec!["42".to_owned()]);
/// let plan = restore_plan(conn, &Restore::new("invoices".parse()?, &key)).await?;
/// println!("{plan}");
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`RestoreError`] when the trail does not know the state to restore, the row is not deleted and no
/// instant is named, or the database reports an error.
pub async fn restore_plan<C>(conn: &mut C, query: &Restore) -> Result<RestorePlan, RestoreError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let outer = C::TransactionManager::transaction_manager_status_mut(conn).transaction_depth()?;
    C::TransactionManager::begin_transaction(conn).await?;
    let plan = read_plan(conn, query, outer.is_none()).await;
    // Nothing was written. The rollback also restores the settings of an outer transaction.
    let ended = C::TransactionManager::rollback_transaction(conn).await;
    let plan = plan?;
    ended?;
    Ok(plan)
}

async fn read_plan<C>(
    conn: &mut C,
    query: &Restore,
    is_outermost: bool,
) -> Result<RestorePlan, RestoreError>
where
    C: AsyncConnection<Backend = Pg>,
{
    if is_outermost {
        conn.batch_execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
    }
    conn.batch_execute(SETTINGS).await?;
    let catalog = Catalog::read(conn, &query.table, query.with_children).await?;
    let table = catalog
        .table(&query.table)
        .ok_or_else(|| RestoreError::NoSuchTable(query.table.clone()))?;
    let mut plan = RestorePlan {
        table: query.table.clone(),
        row_key: query.key.as_str().to_owned(),
        as_of: query.instant,
        removed_by: None,
        with_children: query.with_children,
        statements: Vec::new(),
        skipped: Vec::new(),
        uncaptured_tables: Vec::new(),
    };
    match query.state_at(conn, NOW).await? {
        AsOf::Row(present) => {
            let row = query.image_at_instant(conn).await?;
            let present_key = load_change(conn, present.change.id).await?.table_pk;
            plan.statements = restore_present(conn, table, row, present_key.as_ref()).await?;
        }
        AsOf::Deleted(removal) => {
            let row = query.image_before(conn, &removal).await?;
            let mut rows = vec![row];
            if query.with_children && removal.op == Op::Delete {
                rows.extend(deleted_with(conn, &query.table, &catalog, &removal).await?);
                rows = query
                    .select_children(conn, &catalog, rows, &mut plan)
                    .await?;
                let uncaptured = catalog.tables.iter().filter(|table| !table.is_captured);
                plan.uncaptured_tables = uncaptured.map(|table| table.name.clone()).collect();
            }
            plan.statements = insert_all(conn, &catalog, rows).await?;
            plan.removed_by = Some(removal);
        }
        AsOf::Absent(absent) => {
            let instant = query.instant.unwrap_or(absent.change.captured_at);
            let row = query.image_at(conn, instant).await?;
            plan.statements = insert_all(conn, &catalog, vec![row]).await?;
        }
        AsOf::NotYetKnown(_) | AsOf::Uncertain(_) => {
            return Err(RestoreError::NotRecorded {
                table: query.table.clone(),
                row_key: query.key.as_str().to_owned(),
            });
        }
    }
    add_gaps(conn, &mut plan.statements).await?;
    Ok(plan)
}

/// Adds the gaps after the records that the statements restore.
async fn add_gaps<C>(conn: &mut C, statements: &mut [RestoreStatement]) -> QueryResult<()>
where
    C: AsyncConnection<Backend = Pg>,
{
    let now = Utc::now();
    let mut gaps_of_table: HashMap<TableName, Vec<CaptureGap>> = HashMap::new();
    for statement in statements {
        let gaps = match gaps_of_table.entry(statement.table.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let gaps = select_gaps(&statement.table, None).get_result::<GapsRow>(conn);
                place.insert(gaps.await?.read()?)
            }
        };
        let record = Some(statement.source.id);
        let after = gaps.iter().filter(|gap| gap.separates(record, false, now));
        statement.gaps = after.cloned().collect();
    }
    Ok(())
}

impl Restore {
    async fn state_at<C>(
        &self,
        conn: &mut C,
        instant: DateTime<Utc>,
    ) -> Result<AsOf<StoredJson>, RestoreError>
    where
        C: AsyncConnection<Backend = Pg>,
    {
        state_at(conn, &self.table, self.key.as_str(), instant).await
    }

    /// The row as of the instant of the query.
    async fn image_at_instant<C>(&self, conn: &mut C) -> Result<ImageOfRow, RestoreError>
    where
        C: AsyncConnection<Backend = Pg>,
    {
        let Some(instant) = self.instant else {
            return Err(RestoreError::NotDeleted {
                table: self.table.clone(),
                row_key: self.key.as_str().to_owned(),
            });
        };
        self.image_at(conn, instant).await
    }

    /// The last state of the row before a change removed it, or the row as of the instant of the query.
    async fn image_before<C>(
        &self,
        conn: &mut C,
        removal: &ChangeRef,
    ) -> Result<ImageOfRow, RestoreError>
    where
        C: AsyncConnection<Backend = Pg>,
    {
        if let Some(instant) = self.instant {
            return self.image_at(conn, instant).await;
        }
        match load_change(conn, removal.id).await?.changed_from {
            Some(image) => Ok(self.row(image, removal.clone())),
            // A truncate stores no rows.
            None => {
                self.image_at(conn, removal.captured_at - Duration::microseconds(1))
                    .await
            }
        }
    }

    async fn image_at<C>(
        &self,
        conn: &mut C,
        instant: DateTime<Utc>,
    ) -> Result<ImageOfRow, RestoreError>
    where
        C: AsyncConnection<Backend = Pg>,
    {
        let (table, row_key) = (self.table.clone(), self.key.as_str().to_owned());
        match self.state_at(conn, instant).await? {
            AsOf::Row(known) => Ok(self.row(known.row, known.change)),
            AsOf::Deleted(change) => Err(RestoreError::RemovedBefore {
                table,
                row_key,
                instant,
                change: Box::new(change),
            }),
            AsOf::NotYetKnown(_) | AsOf::Uncertain(_) | AsOf::Absent(_) => {
                Err(RestoreError::NotKnown {
                    table,
                    row_key,
                    instant,
                })
            }
        }
    }

    fn row(&self, image: StoredJson, source: ChangeRef) -> ImageOfRow {
        ImageOfRow {
            table: self.table.clone(),
            row_key: self.key.as_str().to_owned(),
            image,
            source,
            is_recorded_later: false,
        }
    }

    /// The first row and its children among deleted rows, in the order of foreign keys, as of the instant of
    /// the query. Records in the plan the children that are not restored.
    async fn select_children<C>(
        &self,
        conn: &mut C,
        catalog: &Catalog,
        rows: Vec<ImageOfRow>,
        plan: &mut RestorePlan,
    ) -> Result<Vec<ImageOfRow>, RestoreError>
    where
        C: AsyncConnection<Backend = Pg>,
    {
        let order = order_by_references(catalog, &rows);
        let mut rows: Vec<_> = rows.into_iter().map(Some).collect();
        let mut selected: Vec<ImageOfRow> = Vec::with_capacity(order.len());
        for place in order {
            let Some(mut row) = rows[place].take() else {
                continue;
            };
            let mut skip = row.is_recorded_later.then_some(SkipReason::RecordedLater);
            if let (Some(instant), None, false) = (self.instant, skip, place == 0) {
                match state_at(conn, &row.table, &row.row_key, instant).await? {
                    AsOf::Row(known) => (row.image, row.source) = (known.row, known.change),
                    _ => skip = Some(SkipReason::NotKnownAsOf),
                }
            }
            match skip {
                None => selected.push(row),
                Some(reason) => plan.skipped.push(SkippedRow {
                    table: row.table,
                    row_key: row.row_key,
                    change_id: row.source.id,
                    reason,
                }),
            }
        }
        // A row that was deleted, inserted and deleted again is restored once.
        let restored: HashSet<_> = selected
            .iter()
            .map(|row| (&row.table, &row.row_key))
            .collect();
        plan.skipped
            .retain(|skipped| !restored.contains(&(&skipped.table, &skipped.row_key)));
        Ok(selected)
    }
}

/// A row as of an instant. An uncertain state is given as it was recorded: its statement names the gaps.
async fn state_at<C>(
    conn: &mut C,
    table: &TableName,
    row_key: &str,
    instant: DateTime<Utc>,
) -> Result<AsOf<StoredJson>, RestoreError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let query = crate::DocumentAsOf::with_stored_key(table.clone(), row_key, instant);
    Ok(match crate::document_as_of(conn, &query).await? {
        AsOf::Uncertain(uncertain) => match uncertain.recorded {
            RecordedState::Row(known) => AsOf::Row(known),
            RecordedState::Deleted(change) => AsOf::Deleted(change),
        },
        other => other,
    })
}

async fn load_change<C>(conn: &mut C, id: i64) -> QueryResult<AuditChange>
where
    C: AsyncConnection<Backend = Pg>,
{
    select_change(id, None)
        .get_result::<AuditChange>(conn)
        .await
}
