//! Checks that the roles of the application cannot write the trail.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::pg::Pg;
use diesel::sql_types::{Array, Jsonb, Text, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, RunQueryDsl};
use threadline_core::transaction::AuditTransactionId;

use super::list;
use crate::evidence::EvidenceError;
use crate::evidence::check::{Check, CheckOptions};
use crate::evidence::recording::CheckResult;
use crate::evidence::statements::query;
use crate::evidence::subject::Outcome;
use crate::json::StoredJson;

/// How far back the roles of transactions are read.
const RECENT: TimeDelta = TimeDelta::days(1);

pub(in crate::evidence) async fn check<C>(
    conn: &mut C,
    options: &CheckOptions,
) -> Result<CheckResult, EvidenceError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let since: DateTime<Utc> = Utc::now() - RECENT;
    let roles = query(include_str!("../sql/roles.sql"))
        .bind::<Array<Text>, _>(options.application_roles.clone())
        .bind::<SqlUuid, _>(AuditTransactionId::first_after(since).as_uuid())
        .load::<RoleRow>(conn)
        .await?;
    let is_found = |name: &&String| roles.iter().any(|role| role.name == **name);
    if let Some(missing) = options
        .application_roles
        .iter()
        .find(|name| !is_found(name))
    {
        return Err(EvidenceError::NoSuchRole(missing.clone()));
    }
    if roles.is_empty() {
        return Err(EvidenceError::NoApplicationRole);
    }
    let mut privileges = Vec::new();
    for role in &roles {
        let found: Vec<String> = role.privileges.read().unwrap_or_default();
        privileges.extend(
            found
                .into_iter()
                .map(|privilege| serde_json::json!({"role": role.name, "may": privilege})),
        );
    }
    let names = roles.iter().map(|role| role.name.clone().into());
    Ok(Check::Roles
        .result(Outcome::pass_if(privileges.is_empty()))
        .detail("roles", list(names))
        .detail("privilege_count", privileges.len())
        .detail("privileges", list(privileges)))
}

/// A role of the application.
#[derive(Debug, QueryableByName)]
struct RoleRow {
    #[diesel(sql_type = Text)]
    name: String,
    /// What it may do to the trail and should not, as texts.
    #[diesel(sql_type = Jsonb)]
    privileges: StoredJson,
}
