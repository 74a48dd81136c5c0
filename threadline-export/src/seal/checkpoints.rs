//! Signing and publishing checkpoints.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use diesel::sql_types::{BigInt, Bytea, Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use threadline_seal::checkpoint::{Checkpoint, CheckpointError};
use threadline_seal::key::SigningKey;
use threadline_seal::note::{MAX_NOTE_BYTES, Note};
use threadline_seal::record::RecordKind;

use super::SealError;
use super::append::Append;
use super::rows::{CheckpointRow, FieldsRow, as_bigint, digest, from_bigint, query};

/// The newest checkpoint of a directory must be one of the database's: otherwise the database was restored from an
/// older copy, or its seals were changed. Call it before [`sign_checkpoint`]; a directory without checkpoints is
/// accepted.
///
/// # Errors
/// [`SealError::PublishedDiffers`]; [`SealError::Published`] if the file is not a checkpoint; or if a file or
/// the database cannot be read.
pub async fn check_published(
    conn: &mut AsyncPgConnection,
    directory: &Path,
) -> Result<(), SealError> {
    let path = directory.join("checkpoint");
    let note = match fs::read(&path) {
        Ok(note) => note,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SealError::file(&path, error)),
    };
    let note = note.get(..MAX_NOTE_BYTES).unwrap_or(&note);
    // No key is needed: the root is compared with the database's. So a key can be replaced by another one.
    let published = Note::parse(note)
        .map_err(CheckpointError::from)
        .and_then(|note| Checkpoint::parse(note.text()).ok_or(CheckpointError::Malformed))
        .map_err(|source| SealError::Published { path, source })?;
    let sql = "SELECT size, root, note, clock::text AS clock \
               FROM @threadline@.audit_seal_checkpoints WHERE size = $1";
    let known: Vec<CheckpointRow> = query(sql)
        .bind::<BigInt, _>(as_bigint(published.size))
        .load(conn)
        .await?;
    match known.as_slice().first() {
        Some(known) if digest(&known.root)? == published.root => Ok(()),
        _ => Err(SealError::PublishedDiffers {
            size: published.size,
        }),
    }
}

/// Signs a checkpoint if records were sealed since the last one. Its last leaf is a clock record. Returns none if
/// nothing was sealed.
///
/// # Errors
/// [`SealError::OtherKey`] if the key has another name than the log; [`SealError::NotBegun`]; or when the database
/// reports an error.
pub async fn sign_checkpoint(
    conn: &mut AsyncPgConnection,
    key: &SigningKey,
) -> Result<Option<Checkpoint>, SealError> {
    conn.transaction(async |conn| {
        let mut append = Append::lock(conn).await?;
        let name = key.verifier_key().name();
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
        let sql = "INSERT INTO @threadline@.audit_seal_checkpoints (size, clock, root, note) \
                   VALUES ($1, $2::jsonb, $3, $4)";
        query(sql)
            .bind::<BigInt, _>(as_bigint(checkpoint.size))
            .bind::<Text, _>(clock.json().to_owned())
            .bind::<Bytea, _>(checkpoint.root.as_bytes().to_vec())
            .bind::<Text, _>(checkpoint.sign(key).to_string())
            .execute(conn)
            .await?;
        Ok(Some(checkpoint))
    })
    .await
}

/// Writes the checkpoints that are not published yet to a directory: `checkpoints/<size in 20 digits>`, then
/// `checkpoint`. Returns their number. After a crash, the next call continues.
///
/// # Errors
/// If a file or the database cannot be read or written. A published checkpoint is never replaced.
pub async fn publish_checkpoints(
    conn: &mut AsyncPgConnection,
    directory: &Path,
) -> Result<usize, SealError> {
    let sql = "SELECT size, root, note, clock::text AS clock FROM @threadline@.audit_seal_checkpoints \
               WHERE published_at IS NULL ORDER BY size";
    let unpublished: Vec<CheckpointRow> = query(sql).load(conn).await?;
    let Some(newest) = unpublished.last() else {
        return Ok(0);
    };
    let folder = directory.join("checkpoints");
    fs::create_dir_all(&folder).map_err(|error| SealError::file(&folder, error))?;
    for checkpoint in &unpublished {
        let path = folder.join(format!("{:020}", checkpoint.size));
        write_once(&path, &checkpoint.note)?;
    }
    let latest = directory.join("checkpoint");
    write_whole(&latest, &newest.note, |file, path| file.persist(path))?;
    let sql = "UPDATE @threadline@.audit_seal_checkpoints SET published_at = clock_timestamp() \
               WHERE published_at IS NULL AND size <= $1";
    query(sql)
        .bind::<BigInt, _>(newest.size)
        .execute(conn)
        .await?;
    Ok(unpublished.len())
}

/// Writes a file that must not exist, unless with the same text.
fn write_once(path: &Path, text: &str) -> Result<(), SealError> {
    match fs::read(path) {
        Ok(written) if written == text.as_bytes() => Ok(()),
        Ok(_) => Err(SealError::file(path, io::ErrorKind::AlreadyExists.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_whole(path, text, |file, path| file.persist_noclobber(path))
        }
        Err(error) => Err(SealError::file(path, error)),
    }
}

/// Writes a file that is complete or does not exist, also after a crash.
fn write_whole(
    path: &Path,
    text: &str,
    persist: fn(tempfile::NamedTempFile, &Path) -> Result<fs::File, tempfile::PersistError>,
) -> Result<(), SealError> {
    let failed = |error| SealError::file(path, error);
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new();
    // Published files are for everyone; temporary files are private otherwise.
    #[cfg(unix)]
    file.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let mut file = file.tempfile_in(directory).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    persist(file, path).map_err(|error| failed(error.error))?;
    Ok(())
}
