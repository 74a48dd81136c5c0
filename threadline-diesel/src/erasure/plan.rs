//! Finds and counts the data of a person.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::Serialize;
use threadline_core::actor::ActorRef;
use threadline_core::row_key::{RowKeyInput, RowKeyText};
use threadline_core::table::TableName;

use super::statements::{
    self, Answer, ArchiveRow, ContextCountsRow, KeyRow, StoredNamesRow, SubjectChangeRow,
};
use super::subject_map::{SubjectId, SubjectMap, SubjectRows};
use super::{ErasureError, MAX_SUBJECT_CHANGES};
use crate::query::Timeline;
use crate::query::typed_text::resolve_key;

/// What an erasure would change. Records that are erased already are not counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ErasurePlan {
    /// The subject.
    #[serde(serialize_with = "subject_text")]
    pub subject: SubjectId,
    /// The tables of the subject map.
    pub tables: Vec<TablePlan>,
    /// The actors that become a pseudonym.
    pub actors: Vec<String>,
    /// Changes by these actors.
    pub changes: i64,
    /// Transactions by them or on their behalf.
    pub transactions: i64,
    /// Actions by them or on their behalf.
    pub actions: i64,
    /// Background jobs of them.
    pub jobs: i64,
    /// Schedules of them, which are paused.
    pub schedules: i64,
    /// Saved views of them, which are removed.
    pub views: i64,
    /// The storages with an archive of the trail. An erasure reaches them by the next run of the archive.
    pub archives: Vec<String>,
    #[serde(skip)]
    pub(super) map: SubjectMap,
}

/// The part of a plan that concerns a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TablePlan {
    /// The table.
    pub table: TableName,
    /// The columns that are erased, under all names that they had.
    pub columns: Vec<String>,
    /// Rows with values that are not erased.
    pub rows: i64,
    /// Changes with such values.
    pub changes: i64,
    /// The keys of the rows.
    #[serde(skip)]
    keys: Vec<String>,
    /// The changes, by id and time.
    #[serde(skip)]
    pub(super) places: Vec<(i64, DateTime<Utc>)>,
}

impl ErasurePlan {
    /// Whether nothing is left to erase.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let rows: i64 = self.tables.iter().map(|table| table.rows).sum();
        let trail = rows + self.changes + self.transactions + self.actions;
        trail + self.jobs + self.schedules + self.views == 0
    }

    /// The timelines of the person, for the answer to an access request: changes by them, on their behalf, and of
    /// their rows. A change can be in several.
    pub fn timelines(&self) -> impl Iterator<Item = Timeline> {
        let actors = self
            .actors
            .iter()
            .filter_map(|actor| actor.parse::<ActorRef>().ok());
        let actors = actors.flat_map(|actor| {
            let represented = Timeline::new().on_behalf_of(actor.clone());
            [Timeline::new().actor(actor), represented]
        });
        let rows = self.tables.iter().flat_map(|table| {
            let row = |key: &String| {
                let key = RowKeyText::from_stored(key.clone());
                Timeline::new().row(table.table.clone(), &key)
            };
            table.keys.iter().map(row)
        });
        actors.chain(rows)
    }
}

fn subject_text<S: serde::Serializer>(subject: &SubjectId, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(subject.as_str())
}

/// Finds and counts the data of a person that a map declares. Nothing is changed.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_core::actor::ActorType;
/// use threadline_diesel::erasure::{SubjectMap, plan_erasure};
///
/// let map = SubjectMap::new().actor(ActorType::User).row("members".parse()?, ["email"]);
/// let plan = plan_erasure(conn, &map, &"42".parse()?).await?;
/// println!("{} changes by {:?}", plan.changes, plan.actors);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ErasureError`] if the map does not fit the trail.
pub async fn plan_erasure<C>(
    conn: &mut C,
    map: &SubjectMap,
    subject: &SubjectId,
) -> Result<ErasurePlan, ErasureError>
where
    C: AsyncConnection<Backend = Pg>,
{
    check_installed(conn).await?;
    let mut tables = Vec::with_capacity(map.rows.len());
    for rows in &map.rows {
        tables.push(plan_table(conn, rows, subject).await?);
    }
    let actors = map.actors(subject);
    let counts: ContextCountsRow = statements::count_context(actors.clone())
        .get_result(conn)
        .await?;
    let archives: Vec<ArchiveRow> = statements::archives().load(conn).await?;
    Ok(ErasurePlan {
        subject: subject.clone(),
        tables,
        actors,
        changes: counts.changes,
        transactions: counts.transactions,
        actions: counts.actions,
        jobs: counts.jobs,
        schedules: counts.schedules,
        views: counts.views,
        archives: archives.into_iter().map(|one| one.storage).collect(),
        map: map.clone(),
    })
}

/// Rejects a schema without the migration.
pub(super) async fn check_installed<C>(conn: &mut C) -> Result<(), ErasureError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let installed: Answer = statements::is_installed().get_result(conn).await?;
    if installed.answer {
        Ok(())
    } else {
        Err(ErasureError::MigrationMissing)
    }
}

async fn plan_table<C>(
    conn: &mut C,
    rows: &SubjectRows,
    subject: &SubjectId,
) -> Result<TablePlan, ErasureError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let table = &rows.table;
    let columns = stored_names(conn, table, &rows.erased, Keys::Refused).await?;
    let limit = MAX_SUBJECT_CHANGES + 1;
    let (keys, match_names) = match &rows.column {
        Some(column) => {
            let column = std::slice::from_ref(column);
            let names = stored_names(conn, table, column, Keys::Allowed).await?;
            let found: Vec<KeyRow> = statements::row_keys(table, names.clone(), subject, limit)
                .load(conn)
                .await?;
            let keys = found.into_iter().map(|row| row.row_key).collect();
            (keys, names)
        }
        None => (vec![own_key(conn, table, subject).await?], Vec::new()),
    };
    let is_too_many = |count: usize| i64::try_from(count).is_ok_and(|count| count >= limit);
    let changes = statements::subject_changes(
        (table, subject),
        keys.clone(),
        match_names,
        columns.clone(),
        limit,
    );
    let changes: Vec<SubjectChangeRow> = changes.load(conn).await?;
    if is_too_many(keys.len()) || is_too_many(changes.len()) {
        return Err(ErasureError::TooManyChanges(table.clone()));
    }
    let row_keys: BTreeSet<_> = changes.iter().map(|change| &change.row_key).collect();
    Ok(TablePlan {
        table: table.clone(),
        columns,
        rows: i64::try_from(row_keys.len()).unwrap_or(i64::MAX),
        changes: i64::try_from(changes.len()).unwrap_or(i64::MAX),
        keys,
        places: changes
            .iter()
            .map(|change| (change.id, change.captured_at))
            .collect(),
    })
}

/// Whether key columns are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keys {
    Allowed,
    Refused,
}

/// The names under which images have columns.
async fn stored_names<C>(
    conn: &mut C,
    table: &TableName,
    columns: &[String],
    keys: Keys,
) -> Result<Vec<String>, ErasureError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let found: Vec<StoredNamesRow> = statements::stored_names(table, columns.to_vec())
        .load(conn)
        .await?;
    if found.is_empty() && !columns.is_empty() {
        return Err(ErasureError::UnknownTable(table.clone()));
    }
    let mut names = Vec::new();
    for row in found {
        let (table, column) = (table.clone(), row.given);
        if row.names.is_empty() {
            return Err(ErasureError::UnknownColumn { table, column });
        }
        if row.is_key && keys == Keys::Refused {
            return Err(ErasureError::KeyColumn { table, column });
        }
        names.extend(row.names);
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// The stored form of the subject's id as a key.
async fn own_key<C>(
    conn: &mut C,
    table: &TableName,
    subject: &SubjectId,
) -> Result<String, ErasureError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let failed = |source| ErasureError::Key {
        table: table.clone(),
        source: Box::new(source),
    };
    let input: RowKeyInput = subject
        .as_str()
        .parse()
        .map_err(|invalid| failed(crate::query::KeyError::Key(invalid)))?;
    let key = resolve_key(conn, table, &input).await.map_err(failed)?;
    Ok(key.as_str().to_owned())
}
