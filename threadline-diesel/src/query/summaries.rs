//! Summaries of transactions: the numbers of their changes by table and operation.

use std::collections::BTreeMap;

use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Text, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::Serialize;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;
use threadline_core::transaction::AuditTransactionId;
use uuid::Uuid;

use super::error::{InvalidQuery, ReadError};
use super::scope::Scope;
use super::sql_fragment::{FragmentQuery, SqlFragment};
use super::timeline::earliest_change;
use crate::models::Op;

/// How many changes of a transaction a summary counts.
pub const MAX_SUMMARIZED_CHANGES: u64 = 10_000;

/// A query for summaries of transactions, read by
/// [`transaction_summaries`](crate::transaction_summaries()).
///
/// ```
/// use threadline_diesel::query::TransactionSummaries;
///
/// let query = TransactionSummaries::new(["000303c2-476f-25e9-0000-0000000002f8".parse()?]);
/// # let _ = query;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct TransactionSummaries {
    ids: Vec<AuditTransactionId>,
    scope: Option<Scope>,
}

/// The changes of a transaction by table and operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TransactionSummary {
    /// The transaction.
    pub transaction_id: AuditTransactionId,
    /// The numbers of changes, sorted by table.
    pub counts: Vec<OpCount>,
    /// Whether the transaction has more than [`MAX_SUMMARIZED_CHANGES`] changes. The numbers then are
    /// those of some of them.
    pub truncated: bool,
}

/// The number of changes of a table by an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OpCount {
    /// The table.
    pub table: TableName,
    /// The operation.
    pub op: Op,
    /// The number of changes.
    pub count: u64,
}

type SummaryColumns = (SqlUuid, Text, Text, Text, BigInt);
/// Transaction, schema, table, operation and number of changes.
type SummaryRow = (Uuid, String, String, Op, i64);

impl TransactionSummaries {
    /// The summaries of the transactions with these ids.
    #[must_use]
    pub fn new(ids: impl IntoIterator<Item = AuditTransactionId>) -> Self {
        Self {
            ids: ids.into_iter().collect(),
            scope: None,
        }
    }

    /// Restricts the counted changes to a scope.
    #[must_use]
    pub fn scope(mut self, scope: &Scope) -> Self {
        self.scope = Some(scope.clone());
        self
    }

    fn statement(&self) -> Result<FragmentQuery<SummaryColumns>, InvalidQuery> {
        let ids: Vec<_> = self.ids.iter().map(|id| id.as_uuid()).collect();
        let began_at = ids.iter().copied().map(earliest_change).collect();
        let visible = match &self.scope {
            Some(scope) => scope.change_condition()?,
            None => SqlFragment::sql("true"),
        };
        let limit = MAX_SUMMARIZED_CHANGES + 1;
        let rows = SqlFragment::sql("SELECT wanted.id, found.* FROM unnest(")
            .bind_uuids(ids)
            .push_sql(", ")
            .bind_instants(began_at)
            .push_sql(format!(
                ") AS wanted (id, began_at) CROSS JOIN LATERAL (\
                 SELECT changes.table_schema, changes.table_name, changes.op, count(*) FROM (\
                 SELECT audit_changes.table_schema, audit_changes.table_name, audit_changes.op \
                 FROM {STORAGE_SCHEMA}.audit_changes \
                 WHERE audit_changes.transaction_id = wanted.id \
                 AND audit_changes.captured_at >= wanted.began_at AND "
            ))
            .append(&visible.into_filter_only())
            .push_sql(format!(
                " LIMIT {limit}) AS changes GROUP BY 1, 2, 3) AS found ORDER BY 1, 2, 3, 4"
            ));
        Ok(FragmentQuery::new(rows.hide_from_planner()))
    }

    /// Groups rows by transaction, in the order of the ids.
    fn group(&self, rows: Vec<SummaryRow>) -> Vec<TransactionSummary> {
        let mut counts: BTreeMap<Uuid, Vec<OpCount>> = BTreeMap::new();
        for (id, schema, table, op, count) in rows {
            counts.entry(id).or_default().push(OpCount {
                table: TableName::new(schema, table),
                op,
                count: count.unsigned_abs(),
            });
        }
        let summary = |id: &AuditTransactionId| {
            let counts = counts.remove(&id.as_uuid())?;
            let total: u64 = counts.iter().map(|one| one.count).sum();
            Some(TransactionSummary {
                transaction_id: *id,
                counts,
                truncated: total > MAX_SUMMARIZED_CHANGES,
            })
        };
        self.ids.iter().filter_map(summary).collect()
    }
}

/// Reads summaries of transactions in one statement, in the order of their ids in the query. A transaction
/// without visible changes has none.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::query::TransactionSummaries;
/// use threadline_diesel::{Transactions, transaction_summaries, transactions};
///
/// let page = transactions(conn, &Transactions::new()).await?;
/// let ids = page.entries.iter().map(|transaction| transaction.id.into());
/// for summary in transaction_summaries(conn, &TransactionSummaries::new(ids)).await? {
///     println!("{}: {:?}", summary.transaction_id, summary.counts);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ReadError`] when the scope cannot be applied, or the database reports an error.
pub async fn transaction_summaries<C>(
    conn: &mut C,
    query: &TransactionSummaries,
) -> Result<Vec<TransactionSummary>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let rows = query.statement()?.load::<SummaryRow>(conn).await?;
    Ok(query.group(rows))
}
