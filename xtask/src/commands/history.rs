//! `history`: the changes of one row, or when a field of it came to a value.

use anyhow::Context;
use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use threadline_core::row_key::RowKeyText;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;
use threadline_diesel::history::row_timeline;
use threadline_diesel::moments::{HasMoments, row_moment};
use threadline_diesel::terms::FieldValue;

use super::subject::Subject;
use super::timeline::answer;
use crate::cli::HistoryArgs;
use crate::connection::connect;
use crate::exit::{Answer, Failure};

pub(crate) async fn run(args: HistoryArgs) -> Result<Answer, Failure> {
    let mut conn = connect(&args.database).await?;
    let key = args.key.of(&mut conn, &args.table).await?;
    let question = match args.field.clone() {
        None => row_timeline(args.table.clone(), &key),
        Some(field) => {
            let mut moment = row_moment(args.table.clone(), &key).field(field);
            if let Some(value) = &args.became {
                let value = FieldValue::typed(value);
                moment = moment.became(value.map_err(|wrong| Failure::usage(wrong.to_string()))?);
            }
            moment.timeline()
        }
    };
    let subject = Subject {
        table: args.table,
        key: Some(args.key),
        column: args.field,
        value: args.became,
    };
    let answered = answer(
        &mut conn,
        &question,
        Some(&subject),
        &args.page,
        &args.output,
    )
    .await?;
    for other in earlier_holders(&mut conn, &subject.table, &key).await? {
        eprintln!(
            "until {} this was the key of another row, which became `{}`",
            other.captured_at.format("%Y-%m-%d %H:%M:%S UTC"),
            other.became
        );
    }
    if let Some(emptied) = emptied(&mut conn, &subject.table, &key).await? {
        eprintln!(
            "the table was emptied {}, and this row with it: `diff {}` says by whom",
            emptied.captured_at.format("%Y-%m-%d %H:%M:%S UTC"),
            emptied.change_id
        );
    }
    Ok(answered)
}

/// A row that had a key which another has now.
#[derive(Debug, diesel::QueryableByName)]
struct EarlierHolder {
    #[diesel(sql_type = Timestamptz)]
    captured_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    became: String,
}

/// The rows that left the key behind, and are not the row whose history it names.
async fn earlier_holders(
    conn: &mut AsyncPgConnection,
    table: &TableName,
    key: &RowKeyText,
) -> Result<Vec<EarlierHolder>, Failure> {
    let query = format!(
        "SELECT departure.captured_at, departure.row_key AS became
         FROM {STORAGE_SCHEMA}.audit_renames AS departure
         WHERE departure.table_schema = $1 AND departure.table_name = $2
             AND departure.previous_key = $3
             AND NOT EXISTS (
                 SELECT FROM {STORAGE_SCHEMA}.row_segments($1, $2, $3) AS segment
                 WHERE segment.row_key = departure.row_key
                     AND departure.change_id BETWEEN segment.first_id AND segment.last_id
             )
         ORDER BY departure.change_id"
    );
    let found = diesel::sql_query(query)
        .bind::<Text, _>(table.schema())
        .bind::<Text, _>(table.name())
        .bind::<Text, _>(key.as_str())
        .load(conn)
        .await
        .context("cannot read who had the key")?;
    Ok(found)
}

/// A truncate of the table, which is a change of no row.
#[derive(Debug, diesel::QueryableByName)]
struct Emptied {
    #[diesel(sql_type = BigInt)]
    change_id: i64,
    #[diesel(sql_type = Timestamptz)]
    captured_at: DateTime<Utc>,
}

/// The truncate that took a row away: the first after its last change, which was no delete.
async fn emptied(
    conn: &mut AsyncPgConnection,
    table: &TableName,
    key: &RowKeyText,
) -> Result<Option<Emptied>, Failure> {
    let query = format!(
        "SELECT emptied.id AS change_id, emptied.captured_at
         FROM (
             SELECT known.id, known.op
             FROM {STORAGE_SCHEMA}.row_segments($1, $2, $3) AS segment
             CROSS JOIN LATERAL (
                 SELECT change.id, change.op FROM {STORAGE_SCHEMA}.audit_changes AS change
                 WHERE change.table_schema = $1 AND change.table_name = $2
                     AND change.row_key = segment.row_key
                     AND change.id BETWEEN segment.first_id AND segment.last_id
                 ORDER BY change.id DESC LIMIT 1
             ) AS known
             ORDER BY known.id DESC LIMIT 1
         ) AS last
         JOIN {STORAGE_SCHEMA}.audit_changes AS emptied ON emptied.id > last.id
         WHERE last.op <> 'delete' AND emptied.op = 'truncate' AND emptied.row_key IS NULL
             AND emptied.partition_name IS NULL
             AND emptied.table_schema = $1 AND emptied.table_name = $2
         ORDER BY emptied.id LIMIT 1"
    );
    let mut found: Vec<Emptied> = diesel::sql_query(query)
        .bind::<Text, _>(table.schema())
        .bind::<Text, _>(table.name())
        .bind::<Text, _>(key.as_str())
        .load(conn)
        .await
        .context("cannot read whether the table was emptied")?;
    Ok(found.pop())
}
