//! The sealer: appends the settled records of the trail to a Merkle log, signs checkpoints of it, publishes them,
//! and writes sealed exports, which `threadline-verify` verifies without the database.
//!
//! Nothing is on the write path: the sealer is a consumer of the feed and reads records whose transactions have
//! ended. Formats are those of `threadline-seal`. Erasure of a sealed value keeps its commitment (schema migration
//! 0003), and retention waits for the sealer as for every consumer of the feed.

mod append;
mod checkpoints;
mod continuation;
mod error;
mod export;
pub(crate) mod fields;
mod leaves;
mod prove;
mod publication;
mod publish;
pub(crate) mod rows;
mod signer;
mod worker;

use diesel::sql_types::Text;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use threadline_diesel::feed::{self, ConsumerName, FeedError, Start};
use threadline_seal::field::Fields;
use threadline_seal::key::VerifierKey;
use threadline_seal::record::RecordKind;

pub use checkpoints::sign_checkpoint;
pub use continuation::{Continuation, continue_log};
pub use error::SealError;
pub use export::write_sealed_export;
pub use prove::{InvalidSealedRecord, SealedRecord, add_seals, prove};
pub use publication::Publication;
pub use publish::{check_published, publish_checkpoints};
pub use rows::SealStatus;
pub use signer::{SignCommand, Signer, read_key_file, read_key_variable};
pub use worker::{Round, SealWorker, run_round};

use append::Append;
use rows::{FieldsRow, TextRow, query};

/// The greatest number of ids that one step seals.
const STEP_IDS: i64 = 4_096;

/// The consumer of the feed.
fn consumer() -> Result<ConsumerName, SealError> {
    "threadline.seal".parse().map_err(|_| SealError::Consumer)
}

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Records were sealed, and more may be settled.
    Sealed {
        /// The number of new leaves.
        leaves: u64,
        /// The id up to which all records are sealed.
        sealed_to: i64,
    },
    /// All settled records are sealed.
    Idle,
}

/// Begins the log. All records of the trail are sealed, from the first one.
///
/// The origin is the name of the log and of its keys, such as `example.com/trail`.
///
/// # Errors
/// [`SealError::AlreadyBegun`]; [`SealError::Key`] if the origin cannot be the name of a key; or when the database
/// reports an error.
pub async fn begin(conn: &mut AsyncPgConnection, origin: &str) -> Result<(), SealError> {
    VerifierKey::check_name(origin)?;
    let consumer = consumer()?;
    conn.transaction(async |conn| {
        let inserted: Option<FieldsRow> = query(include_str!("seal/sql/init.sql"))
            .bind::<Text, _>(origin)
            .load(conn)
            .await?
            .pop();
        let fields = inserted.ok_or(SealError::AlreadyBegun)?.fields()?;
        feed::create(conn, &consumer, Start::Beginning).await?;
        let mut append = Append::lock(conn).await?;
        append.push(RecordKind::Genesis, 1, &fields)?;
        append.store(conn, 0).await
    })
    .await
}

/// Seals the next settled records, at most 4,096 and their transactions, in one transaction. While another sealer is
/// at work, it waits or returns [`Step::Idle`].
///
/// # Errors
/// [`SealError::NotBegun`]; an error of the feed if a step could skip records; or when the database reports an error.
pub async fn seal_next(conn: &mut AsyncPgConnection) -> Result<Step, SealError> {
    let consumer = consumer()?;
    conn.transaction(async |conn| {
        let settled = match feed::settled_id(conn, &consumer).await {
            Ok(Some(settled)) => settled,
            Ok(None) => return Ok(Step::Idle),
            Err(FeedError::NoSuchConsumer(_)) => return Err(SealError::NotBegun),
            Err(error) => return Err(error.into()),
        };
        let mut append = Append::lock(conn).await?;
        let after = append.sealed_to();
        let to = settled.min(after.saturating_add(STEP_IDS));
        // Another sealer was faster, or the consumer was created again.
        if after >= settled {
            feed::acknowledge_to(conn, &consumer, settled).await?;
            return Ok(Step::Sealed {
                leaves: 0,
                sealed_to: after,
            });
        }
        append.push_records(conn, after, to).await?;
        let leaves = append.new_leaves();
        append.store(conn, to).await?;
        feed::acknowledge_to(conn, &consumer, to).await?;
        Ok(Step::Sealed {
            leaves,
            sealed_to: to,
        })
    })
    .await
}

/// The state of the log; none if it has not begun.
///
/// # Errors
/// When the database reports an error.
pub async fn status(conn: &mut AsyncPgConnection) -> Result<Option<SealStatus>, SealError> {
    conn.transaction(async |conn| {
        let mut rows: Vec<SealStatus> = query(include_str!("seal/sql/status.sql"))
            .load(conn)
            .await?;
        Ok(rows.pop())
    })
    .await
}

/// The origin of the log.
async fn read_origin(conn: &mut AsyncPgConnection) -> Result<String, SealError> {
    let mut rows: Vec<TextRow> = query("SELECT origin AS value FROM @threadline@.audit_seal_logs")
        .load(conn)
        .await?;
    Ok(rows.pop().ok_or(SealError::NotBegun)?.value)
}

/// Parses the fields of a record, which the database returns as a JSON object.
fn parse_fields(json: &str) -> Result<Fields, SealError> {
    serde_json::from_str(json).map_err(|_| SealError::Fields)
}
