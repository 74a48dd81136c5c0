//! Saved views: filters of a timeline under a name, private or shared.
//!
//! A view stores filters only. It is run with the scope of the actor that opens it, never with that of its owner,
//! and a relative window stays relative. Views are rows of `audit_saved_views`, which the migration
//! `threadline_0002` creates; they are state, not records.

mod name;
mod statements;
mod view;

use diesel::pg::Pg;
use diesel_async::{AsyncConnection, RunQueryDsl};
use threadline_core::actor::{ActorRef, ActorType};
use uuid::Uuid;

pub use self::name::{InvalidViewName, MAX_VIEW_NAME_BYTES, ViewName};
use self::statements::{SupportRow, ViewRow};
pub use self::view::{SavedView, Sharing, UnreadableFilters};
use crate::query::TimelineFilters;

/// The most views of one owner.
pub const MAX_VIEWS: i64 = 100;

/// The most views of a list: those of the actor first, then shared ones by name.
pub const MAX_LISTED_VIEWS: i64 = 500;

/// An error of saved views.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SavedViewError {
    /// The migration that creates the table is not applied.
    #[error("saved views need the migration threadline_0002: run `install` and apply it")]
    MigrationMissing,
    /// The role of the connection cannot read the table.
    #[error("this role cannot read saved views: grant it SELECT on audit_saved_views")]
    NoPrivilege,
    /// The owner is anonymous, and all anonymous visitors would share its views.
    #[error("an anonymous actor cannot own views: name the actor")]
    AnonymousOwner,
    /// The owner has as many views as allowed.
    #[error("{0} has {MAX_VIEWS} views already: remove one first")]
    TooManyViews(ActorRef),
    /// The filters contradict each other.
    #[error(transparent)]
    Filters(#[from] crate::query::InvalidFilters),
    /// The database reported an error.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

/// Saves filters under a name. A view of the same owner and name is replaced and keeps its id.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::query::TimelineFilters;
/// use threadline_diesel::saved_views::{self, Sharing};
///
/// let filters = TimelineFilters::from_pairs([("table", "invoices"), ("op", "delete"), ("from", "-24h")])?;
/// let owner = "user:42".parse()?;
/// saved_views::save(conn, &owner, &"Deleted invoices".parse()?, Sharing::Shared, &filters).await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`SavedViewError`].
pub async fn save<C>(
    conn: &mut C,
    owner: &ActorRef,
    name: &ViewName,
    sharing: Sharing,
    filters: &TimelineFilters,
) -> Result<SavedView, SavedViewError>
where
    C: AsyncConnection<Backend = Pg>,
{
    if owner.actor_type() == ActorType::Anonymous {
        return Err(SavedViewError::AnonymousOwner);
    }
    filters.validate()?;
    check_support(conn).await?;
    let document = serde_json::to_string(filters)
        .map_err(|error| diesel::result::Error::SerializationError(Box::new(error)))?;
    let rows: Vec<ViewRow> = statements::save(owner, name, sharing, document)
        .load(conn)
        .await?;
    let saved = rows.into_iter().next().map(SavedView::from);
    saved.ok_or_else(|| SavedViewError::TooManyViews(owner.clone()))
}

/// The views of an actor and the shared views of others; only shared ones without an actor. At most
/// [`MAX_LISTED_VIEWS`].
///
/// # Errors
/// [`SavedViewError::MigrationMissing`], [`SavedViewError::NoPrivilege`], or when the database reports an error.
pub async fn list<C>(
    conn: &mut C,
    actor: Option<&ActorRef>,
) -> Result<Vec<SavedView>, SavedViewError>
where
    C: AsyncConnection<Backend = Pg>,
{
    check_support(conn).await?;
    let rows: Vec<ViewRow> = statements::list(actor).load(conn).await?;
    Ok(rows.into_iter().map(SavedView::from).collect())
}

/// A view that belongs to an actor or is shared; none if there is none, or it is a private view of another.
///
/// # Errors
/// As [`list`].
pub async fn find<C>(
    conn: &mut C,
    actor: Option<&ActorRef>,
    id: Uuid,
) -> Result<Option<SavedView>, SavedViewError>
where
    C: AsyncConnection<Backend = Pg>,
{
    check_support(conn).await?;
    let rows: Vec<ViewRow> = statements::find(actor, id).load(conn).await?;
    Ok(rows.into_iter().next().map(SavedView::from))
}

/// Removes a view of its owner and returns it; none if the owner has no view with this id.
///
/// # Errors
/// As [`list`].
pub async fn remove<C>(
    conn: &mut C,
    owner: &ActorRef,
    id: Uuid,
) -> Result<Option<SavedView>, SavedViewError>
where
    C: AsyncConnection<Backend = Pg>,
{
    check_support(conn).await?;
    let rows: Vec<ViewRow> = statements::remove(owner, id).load(conn).await?;
    Ok(rows.into_iter().next().map(SavedView::from))
}

/// Rejects a schema without the table, and a role that cannot read it.
async fn check_support<C>(conn: &mut C) -> Result<(), SavedViewError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let support: SupportRow = statements::support().get_result(conn).await?;
    match support.is_readable {
        None => Err(SavedViewError::MigrationMissing),
        Some(false) => Err(SavedViewError::NoPrivilege),
        Some(true) => Ok(()),
    }
}
