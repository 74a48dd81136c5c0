//! Evidence as it is stored.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde::Serialize;
use uuid::Uuid;

use super::subject::{Basis, EvidenceSubject, Outcome};
use crate::json::StoredJson;
use crate::models::RecordedActor;

/// One record of evidence: the result of a check, or a statement of the host.
#[derive(Debug, Clone, PartialEq, Serialize, QueryableByName)]
#[diesel(check_for_backend(Pg))]
#[non_exhaustive]
pub struct Evidence {
    /// The position in the order of capture; also the id of the record.
    #[diesel(sql_type = BigInt)]
    pub order_id: i64,
    /// The transaction that recorded it.
    #[diesel(sql_type = SqlUuid)]
    pub transaction_id: Uuid,
    /// When it was recorded, by the clock of the database.
    #[diesel(sql_type = Timestamptz)]
    pub recorded_at: DateTime<Utc>,
    /// The session user that recorded it.
    #[diesel(sql_type = Text)]
    pub recorded_by: String,
    /// What it is based on.
    #[diesel(sql_type = Text)]
    pub basis: Basis,
    /// The subject.
    #[diesel(sql_type = Text)]
    pub subject: EvidenceSubject,
    /// Which object of the subject, for example an export job.
    #[diesel(sql_type = Jsonb)]
    pub subject_ref: StoredJson,
    /// The outcome.
    #[diesel(sql_type = Text)]
    pub outcome: Outcome,
    /// The outcome in a few words.
    #[diesel(sql_type = Text)]
    pub summary_status: String,
    /// The check; none if the host states it.
    #[diesel(sql_type = Nullable<Text>)]
    pub check_name: Option<String>,
    /// The version of the check, which changes when the check does.
    #[diesel(sql_type = Nullable<Integer>)]
    pub check_version: Option<i32>,
    /// The version of the library that ran the check.
    #[diesel(sql_type = Nullable<Text>)]
    pub library_version: Option<String>,
    /// The start of the time whose records were read; none if only settings were read.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub observed_from: Option<DateTime<Utc>>,
    /// The end of the time whose records were read.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub observed_to: Option<DateTime<Utc>>,
    /// When it becomes out of date; none if it does not.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub valid_until: Option<DateTime<Utc>>,
    /// The actor that asked for the check, or makes the statement.
    #[diesel(sql_type = Nullable<Text>)]
    #[serde(rename = "actor_ref")]
    pub actor: Option<RecordedActor>,
    /// The findings: codes, numbers, names of tables and columns.
    #[diesel(sql_type = Jsonb)]
    pub detail: StoredJson,
}
