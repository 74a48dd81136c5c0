//! The rows of the trail as Rust types.

mod client_addr;

use std::fmt;

use chrono::{DateTime, Utc};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::prelude::{Queryable, Selectable};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{Jsonb, Nullable, Text};
use serde::{Deserialize, Serialize};
use threadline_core::actor::ActorRef;
use threadline_core::transaction::AuditTransactionId;
use uuid::Uuid;

pub use self::client_addr::ClientAddr;
pub use crate::json::StoredJson;
use crate::schema::{audit_actions, audit_changes, audit_transactions};

/// The operation of a change.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, FromSqlRow, AsExpression,
)]
#[serde(rename_all = "lowercase")]
#[diesel(sql_type = Text)]
#[non_exhaustive]
pub enum Op {
    /// A row was inserted.
    Insert,
    /// A row was updated.
    Update,
    /// A row was deleted.
    Delete,
    /// A table was truncated.
    Truncate,
    /// A row that existed before capture began was recorded. Not a change.
    Baseline,
    /// None of these: a row of the trail that capture did not write.
    Other,
}

impl Op {
    /// The operations that capture writes.
    pub const ALL: [Self; 5] = [
        Self::Insert,
        Self::Update,
        Self::Delete,
        Self::Truncate,
        Self::Baseline,
    ];

    /// The name used in SQL, JSON and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Truncate => "truncate",
            Self::Baseline => "baseline",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is not an operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an operation: use insert, update, delete, truncate or baseline")]
pub struct UnknownOp(pub String);

impl std::str::FromStr for Op {
    type Err = UnknownOp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|op| op.as_str() == text)
            .ok_or_else(|| UnknownOp(text.to_owned()))
    }
}

impl FromSql<Text, Pg> for Op {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let text = std::str::from_utf8(value.as_bytes())?;
        Ok(text.parse().unwrap_or(Self::Other))
    }
}

impl ToSql<Text, Pg> for Op {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        use std::io::Write;
        out.write_all(self.as_str().as_bytes())?;
        Ok(IsNull::No)
    }
}

/// An actor as the trail stores it: `type:id`, or `anonymous`.
///
/// Any role can store any text as an actor by its own SQL, so a text that is not an actor is kept as it is
/// stored.
///
/// In JSON an actor is `{"type": "user", "id": "42"}`, and a text that is not an actor is
/// `{"type": null, "text": "robot:7"}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, FromSqlRow)]
pub enum RecordedActor {
    /// An actor.
    Known(ActorRef),
    /// A text that is not an actor: of an unknown type, too long, or without an id.
    Odd(String),
}

impl RecordedActor {
    /// The actor, if the stored text is one.
    #[must_use]
    pub fn known(&self) -> Option<&ActorRef> {
        match self {
            Self::Known(actor) => Some(actor),
            Self::Odd(_) => None,
        }
    }
}

impl From<String> for RecordedActor {
    fn from(text: String) -> Self {
        match text.parse() {
            Ok(actor) => Self::Known(actor),
            Err(_) => Self::Odd(text),
        }
    }
}

impl fmt::Display for RecordedActor {
    /// Writes the text as it is stored.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(actor) => actor.fmt(f),
            Self::Odd(text) => f.write_str(text),
        }
    }
}

impl Serialize for RecordedActor {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct OddActor<'a> {
            #[serde(rename = "type")]
            actor_type: Option<()>,
            text: &'a str,
        }
        match self {
            Self::Known(actor) => actor.serialize(out),
            Self::Odd(text) => OddActor {
                actor_type: None,
                text,
            }
            .serialize(out),
        }
    }
}

impl FromSql<Text, Pg> for RecordedActor {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(<String as FromSql<Text, Pg>>::from_sql(value)?.into())
    }
}

/// The part of a transaction's context that has no column of its own, as the writer set it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, FromSqlRow)]
#[non_exhaustive]
pub struct RecordedContext {
    /// The entry point of the work, for example `web`.
    pub source: Option<String>,
    /// The address of the client, as the application set it.
    pub remote_addr: Option<String>,
    /// The host's own fields.
    pub meta: Option<StoredJson>,
    /// The malformed part of the context; the whole context if it is not an object.
    pub context_error: Option<String>,
}

impl From<StoredJson> for RecordedContext {
    fn from(context: StoredJson) -> Self {
        if !context.as_str().starts_with('{') {
            return Self {
                context_error: Some(context.to_text()),
                ..Self::default()
            };
        }
        let field = |name: &str| context.field(name).filter(|value| !value.is_null());
        let text = |name: &str| field(name).as_ref().map(StoredJson::to_text);
        Self {
            source: text("source"),
            remote_addr: text("remote_addr"),
            meta: field("meta"),
            context_error: text("context_error"),
        }
    }
}

impl FromSql<Nullable<Jsonb>, Pg> for RecordedContext {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(<StoredJson as FromSql<Jsonb, Pg>>::from_sql(value)?.into())
    }

    fn from_nullable_sql(value: Option<PgValue<'_>>) -> deserialize::Result<Self> {
        value.map_or_else(|| Ok(Self::default()), Self::from_sql)
    }
}

/// One captured change of one row, or of one table.
#[derive(Debug, Clone, PartialEq, Serialize, Queryable, Selectable)]
#[diesel(table_name = audit_changes, check_for_backend(Pg))]
#[non_exhaustive]
pub struct AuditChange {
    /// The id of the change, in the order of capture.
    pub id: i64,
    /// When it was captured, not when it was committed.
    pub captured_at: DateTime<Utc>,
    /// The transaction that made it.
    pub transaction_id: Uuid,
    /// The action in force.
    pub action_id: Option<Uuid>,
    /// The operation.
    pub op: Op,
    /// The table's schema.
    pub table_schema: String,
    /// The table's name; for a partition, the name of its root.
    pub table_name: String,
    /// The key after the change, for a delete the key before it: column name to value as text.
    pub table_pk: Option<StoredJson>,
    /// The image of the row after the change.
    pub data_after: Option<StoredJson>,
    /// For an update, the old values of the changed columns; for a delete, the last image of the row.
    pub changed_from: Option<StoredJson>,
    /// The actor in force; none if the change is unattributed.
    #[serde(rename = "actor_ref")]
    pub actor: Option<RecordedActor>,
    /// The partition, if a truncate emptied one partition only.
    pub partition_name: Option<String>,
}

impl AuditChange {
    /// The columns that an update changed, sorted by name; empty for other operations.
    #[must_use]
    pub fn changed_fields(&self) -> Vec<String> {
        if self.op != Op::Update {
            return Vec::new();
        }
        let mut names: Vec<_> = self
            .changed_from
            .iter()
            .flat_map(StoredJson::fields)
            .map(|(name, _)| name)
            .collect();
        names.sort();
        names
    }

    /// The key for display: the value of a key of one column, otherwise `column=value` pairs.
    #[must_use]
    pub fn shown_key(&self) -> String {
        let Some(key) = &self.table_pk else {
            return String::new();
        };
        match key.fields().as_slice() {
            [(_, value)] => value.to_text(),
            several => several
                .iter()
                .map(|(name, value)| format!("{name}={}", value.to_text()))
                .collect::<Vec<_>>()
                .join(","),
        }
    }
}

/// One database transaction that changed audited rows.
#[derive(Debug, Clone, PartialEq, Serialize, Queryable, Selectable)]
#[diesel(table_name = audit_transactions, check_for_backend(Pg))]
#[non_exhaustive]
pub struct AuditTransaction {
    /// The id, computed from the transaction's start and its xid.
    pub id: Uuid,
    /// When its first change was captured.
    pub occurred_at: DateTime<Utc>,
    /// The first actor in force; none if the application set none.
    #[serde(rename = "actor_ref")]
    pub actor: Option<RecordedActor>,
    /// The actor on whose behalf it was made.
    pub on_behalf_of: Option<RecordedActor>,
    /// The outermost action.
    pub action_id: Option<Uuid>,
    /// The request id.
    pub request_id: Option<String>,
    /// The correlation id, which connects work across requests, jobs and services.
    pub correlation_id: Option<String>,
    /// The job id.
    pub job_id: Option<String>,
    /// The rest of the context.
    #[serde(flatten)]
    pub context: RecordedContext,
    /// The session user (`session_user`).
    pub db_user: String,
    /// The session's `application_name`.
    pub application_name: Option<String>,
    /// The address of the session's client, as PostgreSQL sees it: of a pooler, if there is one. None for
    /// a Unix socket.
    pub client_addr: Option<ClientAddr>,
    /// The process id of the session's backend.
    pub backend_pid: i32,
}

impl AuditTransaction {
    /// The transaction's xid, which is part of its id and unique only in its cluster.
    #[must_use]
    pub fn xid(&self) -> u64 {
        AuditTransactionId::from(self.id).xid()
    }
}

/// An action that the application recorded: its name, status and reason.
#[derive(Debug, Clone, PartialEq, Serialize, Queryable, Selectable)]
#[diesel(table_name = audit_actions, check_for_backend(Pg))]
#[non_exhaustive]
pub struct AuditAction {
    /// The id, a version 7 UUID.
    pub id: Uuid,
    /// The position in the order of capture, from the same sequence as the ids of changes.
    pub order_id: i64,
    /// The database transaction it was recorded in.
    pub transaction_id: Uuid,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
    /// The name of the action.
    pub name: String,
    /// `ok` or `error`, unless the writer stored another text by its own SQL.
    pub status: String,
    /// The actor.
    #[serde(rename = "actor_ref")]
    pub actor: Option<RecordedActor>,
    /// The actor on whose behalf it was made.
    pub on_behalf_of: Option<RecordedActor>,
    /// The kind of action.
    pub verb: Option<String>,
    /// The category.
    pub category: Option<String>,
    /// The reason, as a code.
    pub reason: Option<String>,
    /// The reason, as free text.
    pub comment: Option<String>,
    /// The correlation id, which connects work across requests, jobs and services.
    pub correlation_id: Option<String>,
    /// The request id.
    pub request_id: Option<String>,
    /// The job id.
    pub job_id: Option<String>,
    /// The host's own fields.
    pub meta: Option<StoredJson>,
}

/// A change with its transaction and its action.
#[derive(Debug, Clone, PartialEq, Serialize, Queryable)]
#[diesel(check_for_backend(Pg))]
#[non_exhaustive]
pub struct TimelineEntry {
    /// The change.
    pub change: AuditChange,
    /// Its transaction; none only if that row was removed.
    pub transaction: Option<AuditTransaction>,
    /// The action in force; none if there was none.
    pub action: Option<AuditAction>,
}

impl TimelineEntry {
    /// The actor in force when the change was made.
    #[must_use]
    pub fn actor(&self) -> Option<&RecordedActor> {
        self.change.actor.as_ref()
    }

    /// The represented actor: that of the action, else that of the transaction if its actor made the
    /// change.
    #[must_use]
    pub fn on_behalf_of(&self) -> Option<&RecordedActor> {
        let action = self.action.as_ref();
        let transaction = self.transaction.as_ref();
        action
            .and_then(|action| action.on_behalf_of.as_ref())
            .or_else(|| {
                let transaction = transaction.filter(|one| one.actor == self.change.actor)?;
                transaction.on_behalf_of.as_ref()
            })
    }
}
