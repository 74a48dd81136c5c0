//! Signing checkpoints.

use diesel::sql_types::{BigInt, Bytea, Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use threadline_seal::checkpoint::Checkpoint;
use threadline_seal::record::RecordKind;

use super::append::Append;
use super::rows::{CheckpointRow, FieldsRow, as_bigint, from_bigint, query};
use super::{SealError, Signer};

/// Signs a checkpoint if records were sealed since the last one. Its last leaf is a clock record. Returns none if
/// nothing was sealed. While a program signs, at most 30 seconds, other sealers and erasures wait.
///
/// # Errors
/// [`SealError::OtherKey`] if the key has another name than the log; [`SealError::SignCommand`]; [`SealError::NotBegun`]; or when the database
/// reports an error.
pub async fn sign_checkpoint(
    conn: &mut AsyncPgConnection,
    signer: &Signer,
) -> Result<Option<Checkpoint>, SealError> {
    conn.transaction(async |conn| {
        let mut append = Append::lock(conn).await?;
        let name = signer.verifier_key().name();
        if append.origin() != name {
            return Err(SealError::OtherKey {
                origin: append.origin().to_owned(),
                key: name.to_owned(),
            });
        }
        let sql = "SELECT size, root, note, clock::text AS clock FROM @threadline@.audit_seal_checkpoints \
                   ORDER BY size DESC LIMIT 1";
        let last: Vec<CheckpointRow> = query(sql).load(conn).await?;
        if last.as_slice().first().is_some_and(|last| from_bigint(last.size) == append.size()) {
            return Ok(None);
        }
        let clock: FieldsRow = query(include_str!("sql/clock.sql")).get_result(conn).await?;
        let sealed_to = append.sealed_to();
        append.push(RecordKind::Clock, sealed_to, &clock.fields()?)?;
        let checkpoint = Checkpoint::new(name, append.size(), append.root());
        append.store(conn, sealed_to).await?;
        let signature = signer.sign(&checkpoint.to_string()).await?;
        let sql = "INSERT INTO @threadline@.audit_seal_checkpoints (size, clock, root, note) \
                   VALUES ($1, $2::jsonb, $3, $4)";
        query(sql)
            .bind::<BigInt, _>(as_bigint(checkpoint.size))
            .bind::<Text, _>(clock.json().to_owned())
            .bind::<Bytea, _>(checkpoint.root.as_bytes().to_vec())
            .bind::<Text, _>(checkpoint.with_signature(signature).to_string())
            .execute(conn)
            .await?;
        Ok(Some(checkpoint))
    })
    .await
}
