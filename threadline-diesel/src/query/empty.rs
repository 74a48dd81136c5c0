//! Why an answer is empty.

mod reason;

use std::collections::BTreeSet;

use diesel::pg::Pg;
use diesel_async::AsyncConnection;
use threadline_core::actor::ActorRef;
use threadline_core::context::ContextId;
use threadline_core::row_key::RowKeyText;
use threadline_core::table::{AuditedTable, ColumnRule, TableName};

pub use self::reason::{ContextIdKind, EmptyReason};
use super::actions::Actions;
use super::correlation::Correlation;
use super::error::ReadError;
use super::field_history::FieldHistory;
use super::filter_values::ColumnName;
use super::filters::ContextFilter;
use super::names::recorded_actions;
use super::nearest::{nearest_actions, nearest_changes, nearest_transactions};
use super::pagination::{Order, PageSize};
use super::timeline::Timeline;
use super::transactions::Transactions;
use crate::capture_status::{CaptureStatus, capture_status};
use crate::models::AuditChange;

/// How many of the newest changes are searched for an example of a key.
const EXAMPLE_CHANGES: u32 = 20;

/// How many transactions and actions are searched for similar actors and ids.
const RECENT: u32 = 1_000;

/// How many changes are searched for values of a column.
const VALUE_CHANGES: u32 = 50;

/// How many values of a column are given.
const VALUES: usize = 5;

/// How many similar names are given.
const SUGGESTIONS: usize = 3;

/// The least similarity of a suggested name, from 0 to 1.
const MIN_SIMILARITY: f64 = 0.5;

/// A query whose answer is empty.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EmptyQuery {
    /// A timeline, a history of a row or of a field.
    Timeline(Box<Timeline>),
    /// Actions.
    Actions(Box<Actions>),
    /// Transactions.
    Transactions(Box<Transactions>),
}

impl From<&Timeline> for EmptyQuery {
    fn from(query: &Timeline) -> Self {
        Self::Timeline(Box::new(query.clone()))
    }
}

impl From<&Actions> for EmptyQuery {
    fn from(query: &Actions) -> Self {
        Self::Actions(Box::new(query.clone()))
    }
}

impl From<&Transactions> for EmptyQuery {
    fn from(query: &Transactions) -> Self {
        Self::Transactions(Box::new(query.clone()))
    }
}

impl From<&Correlation> for EmptyQuery {
    fn from(query: &Correlation) -> Self {
        Self::Transactions(Box::new(query.transactions()))
    }
}

/// Reads why the answer to a query is empty: names that the trail does not have, with similar ones; columns
/// whose values are not stored; and the records nearest to the window. None if the filters exclude each
/// other, and none under a scope, which must not reveal what it hides. If the table or the column of a query
/// is the reason, there is no other.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{Timeline, explain_empty, timeline};
///
/// let query = Timeline::new().table("invoicse".parse()?);
/// if timeline(conn, &query).await?.entries.is_empty() {
///     for reason in explain_empty(conn, &query).await? {
///         println!("{}", reason.lines().join("\n"));
///     }
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ReadError`] when the query is invalid, or the database reports an error.
pub async fn explain_empty<C>(
    conn: &mut C,
    query: impl Into<EmptyQuery> + Send,
) -> Result<Vec<EmptyReason>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    match query.into() {
        EmptyQuery::Timeline(query) if !query.is_scoped() => explain_timeline(conn, &query).await,
        EmptyQuery::Actions(query) if !query.is_scoped() => explain_actions(conn, &query).await,
        EmptyQuery::Transactions(query) if !query.is_scoped() => {
            let mut reasons = explain_context(conn, query.context()).await?;
            let nearest = nearest_transactions(conn, &query).await?;
            if !nearest.is_empty() {
                reasons.push(EmptyReason::NearestTransactions(Box::new(nearest)));
            }
            Ok(reasons)
        }
        _ => Ok(Vec::new()),
    }
}

async fn explain_actions<C>(conn: &mut C, query: &Actions) -> Result<Vec<EmptyReason>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let mut reasons = explain_context(conn, query.context()).await?;
    if let Some(name) = query.action_name() {
        reasons.extend(explain_action(conn, name).await?);
    }
    let nearest = nearest_actions(conn, query).await?;
    if !nearest.is_empty() {
        reasons.push(EmptyReason::NearestActions(Box::new(nearest)));
    }
    Ok(reasons)
}

async fn explain_timeline<C>(conn: &mut C, query: &Timeline) -> Result<Vec<EmptyReason>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let filters = query.filters();
    let row = filters.row.as_ref();
    let mut reasons = Vec::new();
    if let Some(table) = filters.table.as_ref().or(row.map(|(table, _)| table)) {
        if let Some(reason) = explain_table(conn, table).await? {
            return Ok(vec![reason]);
        }
        if let Some(reason) = explain_column(conn, table, query).await {
            return Ok(vec![reason]);
        }
    }
    if let Some((table, key)) = row {
        reasons.extend(explain_row(conn, table, key).await?);
    }
    reasons.extend(explain_context(conn, &filters.context).await?);
    if let Some(name) = &filters.action.name {
        reasons.extend(explain_action(conn, name).await?);
    }
    let nearest = nearest_changes(conn, query).await?;
    if !nearest.is_empty() {
        reasons.push(EmptyReason::NearestChanges(Box::new(nearest)));
    }
    if let (Some((table, key)), Some(set)) = (row, &filters.field_set)
        && set.value.is_some()
    {
        let row = Timeline::new().row(table.clone(), &RowKeyText::from_stored(key.clone()));
        reasons.extend(explain_value(conn, row, &set.field).await?);
    }
    Ok(reasons)
}

/// Whether the table is unknown or not captured.
async fn explain_table<C>(conn: &mut C, table: &TableName) -> Result<Option<EmptyReason>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    Ok(match capture_status(conn, table).await? {
        CaptureStatus::Unknown => {
            let captured = captured_tables(conn).await;
            let names = captured.iter().map(AuditedTable::name);
            let names = names.map(|name| (name.name().to_owned(), name.clone()));
            Some(EmptyReason::UnknownTable {
                table: table.clone(),
                similar: similar_names(table.name(), names),
            })
        }
        CaptureStatus::NotCaptured => Some(EmptyReason::NotCaptured {
            table: table.clone(),
        }),
        _ => None,
    })
}

/// Whether the filtered column is unknown, or its values are not stored.
async fn explain_column<C>(conn: &mut C, table: &TableName, query: &Timeline) -> Option<EmptyReason>
where
    C: AsyncConnection<Backend = Pg>,
{
    let filters = query.filters();
    let set = filters.field_set.as_ref();
    let column = filters.changed_field.as_ref();
    let column = column.or(set.map(|set| &set.field))?.as_str().to_owned();
    let has_value = set.is_some_and(|set| set.value.is_some());
    let captured = captured_tables(conn).await;
    let columns = captured.iter().find(|one| one.name() == table)?.columns();
    let table = table.clone();
    let Some(declared) = columns.iter().find(|known| known.name == column) else {
        let columns = columns.iter().map(|known| known.name.clone()).collect();
        return Some(EmptyReason::UnknownColumn {
            table,
            column,
            columns,
        });
    };
    match declared.rule {
        ColumnRule::Exclude => Some(EmptyReason::ExcludedColumn { table, column }),
        rule if rule.is_masked() && has_value => Some(EmptyReason::MaskedColumn { table, column }),
        _ => None,
    }
}

/// Whether no change of the row is recorded.
async fn explain_row<C>(
    conn: &mut C,
    table: &TableName,
    key: &str,
) -> Result<Option<EmptyReason>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let row = Timeline::new().row(table.clone(), &RowKeyText::from_stored(key.to_owned()));
    let newest = row.one_entry(Order::NewestFirst);
    if !crate::timeline(conn, &newest).await?.entries.is_empty() {
        return Ok(None);
    }
    let of_table = Timeline::new().table(table.clone());
    let newest = crate::timeline(conn, &of_table.page_size(PageSize::cap(EXAMPLE_CHANGES))).await?;
    let changes = newest.entries.iter().map(|entry| &entry.change);
    Ok(Some(EmptyReason::RowNotRecorded {
        table: table.clone(),
        example_key: changes
            .map(AuditChange::shown_key)
            .find(|key| !key.is_empty()),
    }))
}

/// Whether nothing is recorded of the actor or of the ids of a query.
async fn explain_context<C>(
    conn: &mut C,
    context: &ContextFilter,
) -> Result<Vec<EmptyReason>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let mut reasons = Vec::new();
    if let Some(actor) = &context.actor {
        reasons.extend(explain_actor(conn, actor).await?);
    }
    for kind in ContextIdKind::ALL {
        if let Some(id) = kind.filter(context) {
            reasons.extend(explain_context_id(conn, kind, id).await?);
        }
    }
    Ok(reasons)
}

async fn explain_actor<C>(conn: &mut C, actor: &ActorRef) -> Result<Option<EmptyReason>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let changes = Timeline::new().actor(actor.clone());
    let actions = Actions::new().actor(actor.clone());
    let changes = crate::timeline(conn, &changes.one_entry(Order::NewestFirst)).await?;
    let actions = crate::actions(conn, &actions.page_size(PageSize::ONE)).await?;
    if !changes.entries.is_empty() || !actions.entries.is_empty() {
        return Ok(None);
    }
    let recent = Transactions::new().page_size(PageSize::cap(RECENT));
    let recent = crate::transactions(conn, &recent).await?.entries;
    let actors = recent
        .into_iter()
        .filter_map(|transaction| transaction.actor);
    Ok(Some(EmptyReason::ActorNotRecorded {
        actor: actor.clone(),
        similar: similar_texts(&actor.to_string(), actors.map(|actor| actor.to_string())),
    }))
}

async fn explain_context_id<C>(
    conn: &mut C,
    kind: ContextIdKind,
    id: &ContextId,
) -> Result<Option<EmptyReason>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let transactions = kind.transactions(id.clone()).page_size(PageSize::ONE);
    let actions = kind.actions(id.clone()).page_size(PageSize::ONE);
    if !crate::transactions(conn, &transactions)
        .await?
        .entries
        .is_empty()
        || !crate::actions(conn, &actions).await?.entries.is_empty()
    {
        return Ok(None);
    }
    let recent = Transactions::new().page_size(PageSize::cap(RECENT));
    let recent = crate::transactions(conn, &recent).await?.entries;
    let ids = recent.into_iter().filter_map(|one| kind.recorded_id(one));
    Ok(Some(EmptyReason::ContextIdNotRecorded {
        kind,
        similar: similar_texts(id.as_str(), ids),
        id: id.clone(),
    }))
}

async fn explain_action<C>(conn: &mut C, name: &str) -> Result<Option<EmptyReason>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let of_name = Actions::new().name(name).page_size(PageSize::ONE);
    if !crate::actions(conn, &of_name).await?.entries.is_empty() {
        return Ok(None);
    }
    let names = recorded_actions(conn, None).await?;
    Ok(Some(EmptyReason::ActionNotRecorded {
        name: name.to_owned(),
        similar: similar_texts(name, names),
    }))
}

/// The newest values of a column, if there are any: none of them is the filtered one.
async fn explain_value<C>(
    conn: &mut C,
    row: Timeline,
    column: &ColumnName,
) -> Result<Option<EmptyReason>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let history = FieldHistory::new(row, column.clone()).timeline();
    let history = history.page_size(PageSize::cap(VALUE_CHANGES));
    let mut values = Vec::new();
    for entry in crate::timeline(conn, &history).await?.entries {
        let image = entry.change.data_after;
        let value = image.and_then(|image| image.field(column.as_str()));
        values.extend(value.filter(|value| !value.is_null() && !values.contains(value)));
    }
    values.truncate(VALUES);
    Ok((!values.is_empty()).then(|| EmptyReason::ValueNeverSet {
        column: column.as_str().to_owned(),
        values,
    }))
}

/// The captured tables; none if they cannot be read, because they only explain.
async fn captured_tables<C>(conn: &mut C) -> Vec<AuditedTable>
where
    C: AsyncConnection<Backend = Pg>,
{
    crate::deployed_tables(conn).await.unwrap_or_default()
}

fn similar_texts(given: &str, known: impl IntoIterator<Item = String>) -> Vec<String> {
    let known: BTreeSet<_> = known.into_iter().collect();
    similar_names(given, known.into_iter().map(|name| (name.clone(), name)))
}

/// The names that are similar to a given one, the most similar first. Each is compared by its first part.
fn similar_names<T>(given: &str, known: impl Iterator<Item = (String, T)>) -> Vec<T> {
    let given = given.to_lowercase();
    let mut similar: Vec<_> = known
        .map(|(name, value)| {
            let name = name.to_lowercase();
            (strsim::normalized_damerau_levenshtein(&given, &name), value)
        })
        .filter(|(similarity, _)| *similarity >= MIN_SIMILARITY)
        .collect();
    similar.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let most_similar = similar.into_iter().take(SUGGESTIONS);
    most_similar.map(|(_, value)| value).collect()
}
