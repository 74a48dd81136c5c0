//! Reading the records of a day from the trail.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Date, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use threadline_seal::record::RecordKind;
use uuid::Uuid;

use super::ArchiveError;
use super::columns::values_sql;
use super::layout::{ArchiveKind, day_span};
use crate::seal::rows::query;

/// The number of records whose entries are in memory.
pub(super) const FETCH_ROWS: usize = 1_000;

/// Reads indexes in order, so that the first record is written before the last one is read. Uploads and downloads take
/// time in which the transaction is idle.
const SETTINGS: &str = "
    SET LOCAL jit = off;
    SET LOCAL enable_seqscan = off;
    SET LOCAL enable_hashjoin = off;
    SET LOCAL enable_mergejoin = off;
    SET LOCAL enable_sort = off;
    SET LOCAL cursor_tuple_fraction = 0.01;
    SET LOCAL statement_timeout = 0;
    SET LOCAL idle_in_transaction_session_timeout = 0;";

/// The lock of a run, which its transactions take one after the other.
const LOCK: &str = "SELECT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtext('threadline archive')) AS value";

/// Takes the lock of a run until the end of the transaction.
pub(super) async fn lock(conn: &mut AsyncPgConnection) -> Result<(), ArchiveError> {
    let free: BoolRow = query(LOCK).get_result(conn).await?;
    if free.value {
        Ok(())
    } else {
        Err(ArchiveError::AtWork)
    }
}

#[derive(Debug, QueryableByName)]
struct BoolRow {
    #[diesel(sql_type = diesel::sql_types::Bool)]
    value: bool,
}

/// The state of the log of seals.
#[derive(Debug, QueryableByName)]
pub(super) struct SealState {
    #[diesel(sql_type = Text)]
    pub(super) origin: String,
    /// The id up to which records are sealed.
    #[diesel(sql_type = BigInt)]
    pub(super) sealed_to: i64,
    /// The id up to which records are sealed and in a signed checkpoint.
    #[diesel(sql_type = BigInt)]
    pub(super) checkpointed_to: i64,
    /// The last assigned id.
    #[diesel(sql_type = BigInt)]
    pub(super) last_id: i64,
    /// The newest checkpoint.
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) note: Option<String>,
    /// The day of the server's clock.
    #[diesel(sql_type = Date)]
    pub(super) today: NaiveDate,
    /// The server's clock.
    #[diesel(sql_type = Timestamptz)]
    pub(super) read_at: DateTime<Utc>,
}

/// Reads the state of the log of seals.
pub(super) async fn seal_state(conn: &mut AsyncPgConnection) -> Result<SealState, ArchiveError> {
    let installed =
        "SELECT pg_catalog.to_regclass('@threadline@.audit_seal_logs') IS NOT NULL AS value";
    let installed: BoolRow = query(installed).get_result(conn).await?;
    if !installed.value {
        return Err(ArchiveError::NotBegun);
    }
    let mut states: Vec<SealState> = query(include_str!("sql/seal_state.sql")).load(conn).await?;
    states.pop().ok_or(ArchiveError::NotBegun)
}

/// When the first record at an instant or later was made.
pub(super) async fn next_record(
    conn: &mut AsyncPgConnection,
    from: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, ArchiveError> {
    conn.batch_execute(SETTINGS).await?;
    let next: InstantRow = query(include_str!("sql/next_record.sql"))
        .bind::<Timestamptz, _>(from)
        .bind::<SqlUuid, _>(transaction_id_from(from))
        .bind::<SqlUuid, _>(action_id_from(from))
        .get_result(conn)
        .await?;
    Ok(next.instant)
}

#[derive(Debug, QueryableByName)]
struct InstantRow {
    #[diesel(sql_type = Nullable<Timestamptz>)]
    instant: Option<DateTime<Utc>>,
}

/// The key that finds the entry of a record: its id, or the leaf of a transaction.
#[derive(Debug, QueryableByName)]
pub(super) struct KeyRow {
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) key: Option<i64>,
}

/// The texts of the columns of a record.
#[derive(Debug, QueryableByName)]
pub(super) struct ValuesRow {
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) key: Option<i64>,
    #[diesel(sql_type = Array<Nullable<Text>>)]
    pub(super) row: Vec<Option<String>>,
}

/// Opens the cursors over the records of a day with ids up to one: `archive_keys` and `archive_rows`, in the same order.
pub(super) async fn open_cursors(
    conn: &mut AsyncPgConnection,
    kind: ArchiveKind,
    day: NaiveDate,
    sealed_to: i64,
) -> Result<(), ArchiveError> {
    conn.batch_execute(SETTINGS).await?;
    let select = match kind {
        ArchiveKind::Changes => include_str!("sql/changes.sql"),
        ArchiveKind::Transactions => include_str!("sql/transactions.sql"),
        ArchiveKind::Actions => include_str!("sql/actions.sql"),
        ArchiveKind::Records => include_str!("sql/records.sql"),
    };
    let row = format!(", {} AS row", values_sql(kind));
    for (cursor, values) in [("archive_keys", ""), ("archive_rows", row.as_str())] {
        let select = select.replace("@values@", values);
        let declare = query(&format!("DECLARE {cursor} NO SCROLL CURSOR FOR {select}"));
        let (from, to) = day_span(day);
        let declare = match kind {
            ArchiveKind::Changes | ArchiveKind::Records => declare
                .bind::<Timestamptz, _>(from)
                .bind::<Timestamptz, _>(to),
            ArchiveKind::Transactions => declare
                .bind::<SqlUuid, _>(transaction_id_from(from))
                .bind::<SqlUuid, _>(transaction_id_from(to)),
            ArchiveKind::Actions => declare
                .bind::<SqlUuid, _>(action_id_from(from))
                .bind::<SqlUuid, _>(action_id_from(to)),
        };
        declare.bind::<BigInt, _>(sealed_to).execute(conn).await?;
    }
    Ok(())
}

pub(super) async fn close_cursors(conn: &mut AsyncPgConnection) -> Result<(), ArchiveError> {
    Ok(conn
        .batch_execute("CLOSE archive_keys; CLOSE archive_rows")
        .await?)
}

/// The kinds of the records in files of a kind, of which [`KeyRow::key`] is the id; none if it is the leaf.
pub(super) fn kinds_by_id(kind: ArchiveKind) -> Option<&'static [RecordKind]> {
    match kind {
        ArchiveKind::Changes => Some(&[RecordKind::Change]),
        ArchiveKind::Transactions => None,
        ArchiveKind::Actions => Some(&[RecordKind::Action]),
        ArchiveKind::Records => Some(&[
            RecordKind::Removal,
            RecordKind::Suspension,
            RecordKind::Evidence,
            RecordKind::Enrolment,
        ]),
    }
}

/// The smallest id of transactions that start at an instant or later: `transaction_id_from` in the database.
fn transaction_id_from(instant: DateTime<Utc>) -> Uuid {
    let micros = instant.timestamp_micros() - 946_684_800_000_000;
    Uuid::from_u64_pair(micros.cast_unsigned(), 0)
}

/// The smallest version 7 uuid of an instant: `action_id_from` in the database.
fn action_id_from(instant: DateTime<Utc>) -> Uuid {
    let millis = instant.timestamp_millis().clamp(0, (1 << 48) - 1);
    Uuid::from_u64_pair(millis.cast_unsigned() << 16, 0)
}
