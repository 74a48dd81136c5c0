//! The statements of saved views and their rows.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use threadline_core::actor::ActorRef;
use threadline_core::storage::STORAGE_SCHEMA;
use uuid::Uuid;

use super::name::ViewName;
use super::view::Sharing;
use super::{MAX_LISTED_VIEWS, MAX_VIEWS};
use crate::models::RecordedActor;

type Query = BoxedSqlQuery<'static, Pg, SqlQuery>;

/// The columns of a [`ViewRow`].
const COLUMNS: &str =
    "id, owner, name, is_shared, filters::text AS filters, created_at, updated_at";

/// A row of `audit_saved_views`.
#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(super) struct ViewRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
    #[diesel(sql_type = Text)]
    pub(super) owner: RecordedActor,
    #[diesel(sql_type = Text)]
    pub(super) name: String,
    #[diesel(sql_type = Bool)]
    pub(super) is_shared: bool,
    #[diesel(sql_type = Text)]
    pub(super) filters: String,
    #[diesel(sql_type = Timestamptz)]
    pub(super) created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub(super) updated_at: DateTime<Utc>,
}

/// Whether the role can read the table; none if there is no table.
#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(super) struct SupportRow {
    #[diesel(sql_type = Nullable<Bool>)]
    pub(super) is_readable: Option<bool>,
}

fn query(sql: &str) -> Query {
    let sql = sql.replace("@threadline@", STORAGE_SCHEMA);
    diesel::sql_query(sql.replace("@columns@", COLUMNS)).into_boxed()
}

pub(super) fn support() -> Query {
    query(
        "SELECT has_table_privilege(to_regclass('@threadline@.audit_saved_views'), 'SELECT') AS is_readable",
    )
}

pub(super) fn save(owner: &ActorRef, name: &ViewName, sharing: Sharing, filters: String) -> Query {
    query(include_str!("sql/save.sql"))
        .bind::<Text, _>(owner.to_string())
        .bind::<Text, _>(name.to_string())
        .bind::<Bool, _>(sharing == Sharing::Shared)
        .bind::<Text, _>(filters)
        .bind::<BigInt, _>(MAX_VIEWS)
}

pub(super) fn list(actor: Option<&ActorRef>) -> Query {
    query(
        "SELECT @columns@ FROM @threadline@.audit_saved_views
         WHERE is_shared OR owner = $1
         ORDER BY owner IS DISTINCT FROM $1, name, owner LIMIT $2",
    )
    .bind::<Nullable<Text>, _>(actor.map(ToString::to_string))
    .bind::<BigInt, _>(MAX_LISTED_VIEWS)
}

pub(super) fn find(actor: Option<&ActorRef>, id: Uuid) -> Query {
    query(
        "SELECT @columns@ FROM @threadline@.audit_saved_views
         WHERE id = $2 AND (is_shared OR owner = $1)",
    )
    .bind::<Nullable<Text>, _>(actor.map(ToString::to_string))
    .bind::<SqlUuid, _>(id)
}

pub(super) fn remove(owner: &ActorRef, id: Uuid) -> Query {
    query(
        "DELETE FROM @threadline@.audit_saved_views WHERE owner = $1 AND id = $2
         RETURNING @columns@",
    )
    .bind::<Text, _>(owner.to_string())
    .bind::<SqlUuid, _>(id)
}
