//! The items of the feed.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::{Serialize, Serializer};

use crate::models::{AuditAction, RecordedActor, TimelineEntry};
use crate::query::timeline::entries_query::changes_between;
use crate::schema::audit_actions;

/// A change or an action. Their ids come from one sequence, which orders them.
///
/// Every action is delivered, also one without changes, such as a login. The action of a change is also in
/// the change's [`TimelineEntry`].
///
/// As JSON: `{"kind": "change", "id", "actor_ref", "changed_fields", "change", "transaction", "action"}`
/// or `{"kind": "action", "id", "action"}`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FeedItem {
    /// A change, with its transaction and its action.
    Change(Box<TimelineEntry>),
    /// An action.
    Action(Box<AuditAction>),
}

impl FeedItem {
    /// The position in the order: a change's `id`, an action's `order_id`. It only increases for one consumer.
    #[must_use]
    pub fn id(&self) -> i64 {
        match self {
            Self::Change(entry) => entry.change.id,
            Self::Action(action) => action.order_id,
        }
    }

    /// The change, if it is one.
    #[must_use]
    pub fn change(&self) -> Option<&TimelineEntry> {
        match self {
            Self::Change(entry) => Some(entry),
            Self::Action(_) => None,
        }
    }

    /// The action, if it is one.
    #[must_use]
    pub fn action(&self) -> Option<&AuditAction> {
        match self {
            Self::Change(_) => None,
            Self::Action(action) => Some(action),
        }
    }
}

/// An item as JSON without the values of the row and without texts of the application: `data_after`,
/// `changed_from`, `comment` and `meta` are null. The key of the row and the names of changed columns are kept.
///
/// ```
/// # fn example(item: &threadline_diesel::feed::FeedItem) -> serde_json::Result<String> {
/// use threadline_diesel::feed::WithoutValues;
///
/// serde_json::to_string(&WithoutValues(item))
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct WithoutValues<'a>(pub &'a FeedItem);

impl Serialize for WithoutValues<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            FeedItem::Change(entry) => {
                let mut shown = entry.clone();
                shown.change.data_after = None;
                shown.change.changed_from = None;
                if let Some(transaction) = &mut shown.transaction {
                    transaction.context.meta = None;
                    transaction.context.context_error = None;
                }
                shown.action.as_mut().map(remove_texts);
                Document::Change {
                    id: entry.change.id,
                    actor_ref: entry.actor(),
                    changed_fields: entry.change.changed_fields(),
                    entry: &shown,
                }
                .serialize(out)
            }
            FeedItem::Action(action) => {
                let mut shown = action.clone();
                remove_texts(&mut shown);
                Document::Action {
                    id: action.order_id,
                    action: &shown,
                }
                .serialize(out)
            }
        }
    }
}

fn remove_texts(action: &mut AuditAction) {
    action.comment = None;
    action.meta = None;
}

/// An item as JSON. Stable: fields and kinds may be added.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Document<'a> {
    Change {
        id: i64,
        actor_ref: Option<&'a RecordedActor>,
        changed_fields: Vec<String>,
        #[serde(flatten)]
        entry: &'a TimelineEntry,
    },
    Action {
        id: i64,
        action: &'a AuditAction,
    },
}

impl Serialize for FeedItem {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let id = self.id();
        match self {
            Self::Change(entry) => Document::Change {
                id,
                actor_ref: entry.actor(),
                changed_fields: entry.change.changed_fields(),
                entry,
            },
            Self::Action(action) => Document::Action { id, action },
        }
        .serialize(out)
    }
}

/// Reads the changes and actions with ids after one and up to another, in order.
pub(crate) async fn read_items<C>(
    conn: &mut C,
    after_id: i64,
    to_id: i64,
) -> QueryResult<Vec<FeedItem>>
where
    C: AsyncConnection<Backend = Pg>,
{
    let changes: Vec<TimelineEntry> = changes_between(after_id, to_id).load(conn).await?;
    let actions: Vec<AuditAction> = audit_actions::table
        .filter(audit_actions::order_id.gt(after_id))
        .filter(audit_actions::order_id.le(to_id))
        .select(AuditAction::as_select())
        .load(conn)
        .await?;
    let changes = changes.into_iter().map(Box::new).map(FeedItem::Change);
    let actions = actions.into_iter().map(Box::new).map(FeedItem::Action);
    let mut items: Vec<FeedItem> = changes.chain(actions).collect();
    items.sort_by_key(FeedItem::id);
    Ok(items)
}
