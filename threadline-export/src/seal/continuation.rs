//! Continuing a log after a restore of the database.

use diesel::sql_types::Text;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use threadline_diesel::evidence::{Attestation, EvidenceSubject, record_attestation};
use threadline_seal::key::VerifierKey;

use super::append::Append;
use super::publish::{is_known, read_published};
use super::rows::query;
use super::{Publication, SealError};

/// What a continuation recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Continuation {
    /// The origin of the published log.
    pub earlier_origin: String,
    /// The size of its newest published checkpoint.
    pub published_size: u64,
    /// The number of leaves that the database has.
    pub size: u64,
}

/// Continues the log under another origin, after the database was restored from a copy that is older than the newest
/// published checkpoint. The tree stays; new checkpoints are signed with a key of the new name, and published to
/// another place. Evidence about the published checkpoint, the size of the log and the reason is recorded, and sealed
/// with the next records. Needs EXECUTE on `record_evidence`.
///
/// `published` is the place of the earlier checkpoints.
///
/// # Errors
/// [`SealError::NothingToContinue`] if the published checkpoint is one of the database's; [`SealError::NotPublished`] if
/// there is none; [`SealError::SameOrigin`]; [`SealError::Key`] if the origin cannot be the name of a key; or when the
/// database reports an error.
pub async fn continue_log(
    conn: &mut AsyncPgConnection,
    origin: &str,
    published: &Publication,
    reason: &str,
) -> Result<Continuation, SealError> {
    VerifierKey::check_name(origin)?;
    let (checkpoint, note) = read_published(published)
        .await?
        .ok_or(SealError::NotPublished)?;
    conn.transaction(async |conn| {
        let log = Append::lock(conn).await?;
        if is_known(conn, &checkpoint).await? {
            return Err(SealError::NothingToContinue {
                size: checkpoint.size,
            });
        }
        if origin == log.origin() || origin == checkpoint.origin {
            return Err(SealError::SameOrigin(origin.to_owned()));
        }
        let evidence = Attestation::new("log continued after a restore")
            .subject_ref("origin", origin)
            .detail("earlier_origin", log.origin())
            .detail("published_size", checkpoint.size)
            .detail("published_root", checkpoint.root.to_string())
            .detail("published_checkpoint", note.as_str())
            .detail("size", log.size())
            .detail("sealed_to", log.sealed_to())
            .detail("reason", reason);
        record_attestation(conn, &EvidenceSubject::SealVerification, &evidence).await?;
        query("UPDATE @threadline@.audit_seal_logs SET origin = $1")
            .bind::<Text, _>(origin)
            .execute(conn)
            .await?;
        Ok(Continuation {
            earlier_origin: log.origin().to_owned(),
            published_size: checkpoint.size,
            size: log.size(),
        })
    })
    .await
}
