//! The record of a change, common to all formats.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};
use threadline_diesel::json::StoredJson;
use threadline_diesel::models::RecordedActor;
use threadline_diesel::{AuditAction, Op, TimelineEntry};
use uuid::Uuid;

use crate::format::ActionColumns;

/// The columns of all exports, in order.
pub const COLUMNS: [&str; 22] = [
    "id",
    "captured_at",
    "op",
    "table_schema",
    "table_name",
    "table_pk",
    "changed_fields",
    "changed_from",
    "data_after",
    "actor_ref",
    "on_behalf_of",
    "transaction_id",
    "occurred_at",
    "request_id",
    "correlation_id",
    "job_id",
    "source",
    "remote_addr",
    "meta",
    "db_user",
    "application_name",
    "partition_name",
];

/// The further columns of exports with [`ActionColumns::With`].
pub const ACTION_COLUMNS: [&str; 7] = [
    "action_id",
    "action_name",
    "action_status",
    "verb",
    "category",
    "reason",
    "comment",
];

/// The columns of an export, in order.
pub(crate) fn column_names(actions: ActionColumns) -> impl Iterator<Item = &'static str> {
    let more: &[&str] = match actions {
        ActionColumns::Without => &[],
        ActionColumns::With => &ACTION_COLUMNS,
    };
    COLUMNS.iter().chain(more).copied()
}

/// The record of a change. Its fields are in the order of [`COLUMNS`].
#[derive(Debug, Serialize)]
pub(crate) struct Record<'a> {
    pub(crate) id: i64,
    #[serde(serialize_with = "as_instant")]
    pub(crate) captured_at: DateTime<Utc>,
    pub(crate) op: Op,
    pub(crate) table_schema: &'a str,
    pub(crate) table_name: &'a str,
    pub(crate) table_pk: Option<&'a StoredJson>,
    /// `None` unless the change is an update.
    pub(crate) changed_fields: Option<Vec<String>>,
    pub(crate) changed_from: Option<&'a StoredJson>,
    pub(crate) data_after: Option<&'a StoredJson>,
    /// The actor in force.
    pub(crate) actor_ref: Option<&'a RecordedActor>,
    pub(crate) on_behalf_of: Option<&'a RecordedActor>,
    pub(crate) transaction_id: Uuid,
    #[serde(serialize_with = "as_optional_instant")]
    pub(crate) occurred_at: Option<DateTime<Utc>>,
    pub(crate) request_id: Option<&'a str>,
    pub(crate) correlation_id: Option<&'a str>,
    pub(crate) job_id: Option<&'a str>,
    pub(crate) source: Option<&'a str>,
    pub(crate) remote_addr: Option<&'a str>,
    pub(crate) meta: Option<&'a StoredJson>,
    pub(crate) db_user: Option<&'a str>,
    pub(crate) application_name: Option<&'a str>,
    pub(crate) partition_name: Option<&'a str>,
    #[serde(flatten)]
    pub(crate) action: Option<ActionRecord<'a>>,
}

/// The action in force. Its fields are in the order of [`ACTION_COLUMNS`].
#[derive(Debug, Serialize)]
pub(crate) struct ActionRecord<'a> {
    pub(crate) action_id: Option<Uuid>,
    pub(crate) action_name: Option<&'a str>,
    pub(crate) action_status: Option<&'a str>,
    pub(crate) verb: Option<&'a str>,
    pub(crate) category: Option<&'a str>,
    pub(crate) reason: Option<&'a str>,
    pub(crate) comment: Option<&'a str>,
}

impl<'a> Record<'a> {
    /// Creates the record. Its request, correlation and job ids are those of the action or, if it has
    /// none, of the transaction, as in filters.
    pub(crate) fn new(entry: &'a TimelineEntry, actions: ActionColumns) -> Self {
        let change = &entry.change;
        let transaction = entry.transaction.as_ref();
        let context = transaction.map(|it| &it.context);
        let action = entry.action.as_ref();
        Self {
            id: change.id,
            captured_at: change.captured_at,
            op: change.op,
            table_schema: &change.table_schema,
            table_name: &change.table_name,
            table_pk: change.table_pk.as_ref(),
            changed_fields: (change.op == Op::Update).then(|| change.changed_fields()),
            changed_from: change.changed_from.as_ref(),
            data_after: change.data_after.as_ref(),
            actor_ref: entry.actor(),
            on_behalf_of: entry.on_behalf_of(),
            transaction_id: change.transaction_id,
            occurred_at: transaction.map(|it| it.occurred_at),
            request_id: action
                .and_then(|it| it.request_id.as_deref())
                .or_else(|| transaction.and_then(|it| it.request_id.as_deref())),
            correlation_id: action
                .and_then(|it| it.correlation_id.as_deref())
                .or_else(|| transaction.and_then(|it| it.correlation_id.as_deref())),
            job_id: action
                .and_then(|it| it.job_id.as_deref())
                .or_else(|| transaction.and_then(|it| it.job_id.as_deref())),
            source: context.and_then(|it| it.source.as_deref()),
            remote_addr: context.and_then(|it| it.remote_addr.as_deref()),
            meta: context.and_then(|it| it.meta.as_ref()),
            db_user: transaction.map(|it| it.db_user.as_str()),
            application_name: transaction.and_then(|it| it.application_name.as_deref()),
            partition_name: change.partition_name.as_deref(),
            action: match actions {
                ActionColumns::Without => None,
                ActionColumns::With => Some(ActionRecord::new(change.action_id, action)),
            },
        }
    }

    /// The values as text, in the order of the columns; `None` for NULL.
    pub(crate) fn texts(&self) -> Vec<Option<Cow<'_, str>>> {
        let mut texts = Vec::with_capacity(COLUMNS.len() + ACTION_COLUMNS.len());
        let borrowed = |text: Option<&'a str>| text.map(Cow::Borrowed);
        texts.extend([
            Some(Cow::Owned(self.id.to_string())),
            Some(Cow::Owned(instant(self.captured_at))),
            Some(Cow::Borrowed(self.op.as_str())),
            borrowed(Some(self.table_schema)),
            borrowed(Some(self.table_name)),
            borrowed(self.table_pk.map(StoredJson::as_str)),
            self.changed_fields.as_ref().map(json_text),
            borrowed(self.changed_from.map(StoredJson::as_str)),
            borrowed(self.data_after.map(StoredJson::as_str)),
            self.actor_ref.map(json_text),
            self.on_behalf_of.map(json_text),
            Some(Cow::Owned(self.transaction_id.to_string())),
            self.occurred_at.map(|at| Cow::Owned(instant(at))),
            borrowed(self.request_id),
            borrowed(self.correlation_id),
            borrowed(self.job_id),
            borrowed(self.source),
            borrowed(self.remote_addr),
            borrowed(self.meta.map(StoredJson::as_str)),
            borrowed(self.db_user),
            borrowed(self.application_name),
            borrowed(self.partition_name),
        ]);
        if let Some(action) = &self.action {
            texts.push(action.action_id.map(|id| Cow::Owned(id.to_string())));
            texts.extend(action.texts().map(borrowed));
        }
        texts
    }
}

impl<'a> ActionRecord<'a> {
    fn new(id: Option<Uuid>, action: Option<&'a AuditAction>) -> Self {
        Self {
            action_id: id,
            action_name: action.map(|it| it.name.as_str()),
            action_status: action.map(|it| it.status.as_str()),
            verb: action.and_then(|it| it.verb.as_deref()),
            category: action.and_then(|it| it.category.as_deref()),
            reason: action.and_then(|it| it.reason.as_deref()),
            comment: action.and_then(|it| it.comment.as_deref()),
        }
    }

    /// The values of all fields but the id.
    pub(crate) fn texts(&self) -> [Option<&'a str>; 6] {
        [
            self.action_name,
            self.action_status,
            self.verb,
            self.category,
            self.reason,
            self.comment,
        ]
    }
}

/// Formats an instant for the text formats: UTC, with microseconds.
pub(crate) fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Serializes a value to JSON; for types whose serialization cannot fail.
pub(crate) fn json_text<T: Serialize>(value: &T) -> Cow<'static, str> {
    Cow::Owned(serde_json::to_string(value).unwrap_or_default())
}

pub(crate) fn as_instant<S: Serializer>(at: &DateTime<Utc>, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&instant(*at))
}

#[expect(clippy::ref_option, reason = "serde passes fields by reference")]
fn as_optional_instant<S: Serializer>(
    at: &Option<DateTime<Utc>>,
    out: S,
) -> Result<S::Ok, S::Error> {
    at.map(instant).serialize(out)
}
