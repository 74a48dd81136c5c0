//! Publishing checkpoints and tiles.

use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use threadline_seal::checkpoint::{Checkpoint, CheckpointError};
use threadline_seal::note::Note;
use threadline_seal::tile_builder::TileBuilder;
use threadline_seal::tiles::{TILE_WIDTH, Tile, decode_hashes, top_tile};

use super::leaves::read_entries;
use super::rows::{BoolRow, CheckpointRow, as_bigint, digest, from_bigint, query};
use super::{Publication, SealError, read_origin};

/// The file with the newest checkpoint.
const NEWEST: &str = "checkpoint";

/// Reads the newest published checkpoint. No key is needed: its root is compared with the database's. So a key can be
/// replaced by another one.
pub(super) async fn read_published(
    publication: &Publication,
) -> Result<Option<(Checkpoint, String)>, SealError> {
    let Some(bytes) = publication.read(NEWEST).await? else {
        return Ok(None);
    };
    let note = Note::parse(&bytes)
        .map_err(CheckpointError::from)
        .map_err(SealError::Published)?;
    let checkpoint = Checkpoint::parse(note.text())
        .ok_or(CheckpointError::Malformed)
        .map_err(SealError::Published)?;
    Ok(Some((checkpoint, note.to_string())))
}

/// Whether the database has a checkpoint with this size and root.
pub(super) async fn is_known(
    conn: &mut AsyncPgConnection,
    checkpoint: &Checkpoint,
) -> Result<bool, SealError> {
    let sql = "SELECT size, root, note, clock::text AS clock \
               FROM @threadline@.audit_seal_checkpoints WHERE size = $1";
    let known: Vec<CheckpointRow> = query(sql)
        .bind::<BigInt, _>(as_bigint(checkpoint.size))
        .load(conn)
        .await?;
    match known.as_slice().first() {
        Some(known) => Ok(digest(&known.root)? == checkpoint.root),
        None => Ok(false),
    }
}

/// The newest published checkpoint must be one of the database's: otherwise the database was restored from an older
/// copy, or its seals were changed. Call it before [`sign_checkpoint`](super::sign_checkpoint); a place without
/// checkpoints is accepted.
///
/// # Errors
/// [`SealError::PublishedDiffers`]; [`SealError::PublishedOrigin`] if it is of another log; [`SealError::Published`] if
/// the file is not a checkpoint; or if the place or the database cannot be read.
pub async fn check_published(
    conn: &mut AsyncPgConnection,
    publication: &Publication,
) -> Result<(), SealError> {
    let Some((published, _)) = read_published(publication).await? else {
        return Ok(());
    };
    conn.transaction(async |conn| {
        let origin = read_origin(conn).await?;
        if published.origin != origin {
            return Err(SealError::PublishedOrigin {
                published: published.origin.clone(),
                origin,
            });
        }
        if is_known(conn, &published).await? {
            Ok(())
        } else {
            Err(SealError::PublishedDiffers {
                size: published.size,
            })
        }
    })
    .await
}

/// Publishes the checkpoints that are not published yet, each after its tiles: `checkpoints/<size in 20 digits>`, then
/// `checkpoint`. Returns their number; zero also while another process publishes. After a crash, the next call
/// continues.
///
/// The transaction holds no lock on rows of the trail while files are written.
///
/// # Errors
/// [`SealError::PublishedFileDiffers`] if a file that never changes has another content; or if a file or the database
/// cannot be read or written.
pub async fn publish_checkpoints(
    conn: &mut AsyncPgConnection,
    publication: &Publication,
) -> Result<usize, SealError> {
    conn.transaction(async |conn| {
        let lock = "SELECT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtext('threadline.seal.publish')) AS value";
        let lock: BoolRow = query(lock).get_result(conn).await?;
        if !lock.value {
            return Ok(0);
        }
        // Checkpoints of an earlier origin belong to another place.
        let sql = "SELECT checkpoint.size, root, note, clock::text AS clock \
                   FROM @threadline@.audit_seal_checkpoints AS checkpoint, @threadline@.audit_seal_logs AS log \
                   WHERE published_at IS NULL AND starts_with(note, log.origin || E'\\n') ORDER BY checkpoint.size";
        let unpublished: Vec<CheckpointRow> = query(sql).load(conn).await?;
        let Some(newest) = unpublished.last() else {
            return Ok(0);
        };
        let published = read_published(publication).await?;
        let published_size = published.map_or(0, |(checkpoint, _)| checkpoint.size);
        let mut tiles = if publication.has_tiles() {
            Some(continue_tiles(conn, publication, published_size).await?)
        } else {
            None
        };
        for checkpoint in &unpublished {
            // After a crash, checkpoints can be published and not marked as such.
            if let Some(tiles) = &mut tiles
                && tiles.size() <= from_bigint(checkpoint.size)
            {
                write_tiles(conn, publication, tiles, checkpoint).await?;
            }
            let path = format!("checkpoints/{:020}", checkpoint.size);
            publication.create(&path, checkpoint.note.as_bytes()).await?;
        }
        if published_size <= from_bigint(newest.size) {
            publication.replace(NEWEST, newest.note.as_bytes()).await?;
        }
        let sql = "UPDATE @threadline@.audit_seal_checkpoints SET published_at = clock_timestamp() \
                   WHERE published_at IS NULL AND size <= $1 AND starts_with(note, $2)";
        query(sql)
            .bind::<BigInt, _>(newest.size)
            .bind::<Text, _>(newest.note.split_inclusive('\n').next().unwrap_or_default().to_owned())
            .execute(conn)
            .await?;
        Ok(unpublished.len())
    })
    .await
}

/// The tree at the newest published checkpoint, which has a size; an empty one if its tiles are not published. The
/// highest tile is written last.
async fn continue_tiles(
    conn: &mut AsyncPgConnection,
    publication: &Publication,
    size: u64,
) -> Result<TileBuilder, SealError> {
    let Some(top) = top_tile(size) else {
        return Ok(TileBuilder::default());
    };
    if publication.read(&top.path()).await?.is_none() {
        return Ok(TileBuilder::default());
    }
    let mut upper = Vec::new();
    let mut rest = size;
    for level in 1..=top.level {
        rest /= TILE_WIDTH;
        let tile = Tile {
            level,
            index: rest / TILE_WIDTH,
            width: rest % TILE_WIDTH,
        };
        upper.push(if tile.width == 0 {
            Vec::new()
        } else {
            // Sizes share tiles, so the top tile can be that of another one.
            let Some(bytes) = publication.read(&tile.path()).await? else {
                return Ok(TileBuilder::default());
            };
            decode_hashes(&bytes).ok_or_else(|| SealError::PublishedFileDiffers(tile.path()))?
        });
    }
    let first = size - size % TILE_WIDTH;
    let entries = read_entries(conn, first, size).await?;
    TileBuilder::resume(size, entries, upper)
        .ok_or_else(|| SealError::PublishedFileDiffers(top.path()))
}

/// Writes the tiles of a checkpoint that the place does not have yet.
async fn write_tiles(
    conn: &mut AsyncPgConnection,
    publication: &Publication,
    tiles: &mut TileBuilder,
    checkpoint: &CheckpointRow,
) -> Result<(), SealError> {
    let size = from_bigint(checkpoint.size);
    while tiles.size() < size {
        for entry in read_entries(conn, tiles.size(), size).await? {
            for file in tiles.push(entry) {
                publication.create(&file.path, &file.bytes).await?;
            }
        }
    }
    if tiles.root() != digest(&checkpoint.root)? {
        return Err(SealError::State("the tree"));
    }
    for file in tiles.partial_files() {
        publication.create(&file.path, &file.bytes).await?;
    }
    Ok(())
}
