//! Where the trail has data of a person.

use std::fmt;
use std::str::FromStr;

use threadline_core::actor::{ActorRef, ActorType, MAX_ACTOR_ID_BYTES};
use threadline_core::table::TableName;

/// The id of a person in the host's application, as it is in actors, keys and columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectId(String);

/// A text is not the id of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a subject has 1 to {MAX_ACTOR_ID_BYTES} bytes without NUL")]
pub struct InvalidSubject;

impl SubjectId {
    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SubjectId {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        // An id that no actor can have is not an id of a person either.
        match ActorRef::user(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(InvalidSubject),
        }
    }
}

impl fmt::Display for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the trail has data of a person: declared once, in code.
///
/// ```
/// use threadline_core::actor::ActorType;
/// use threadline_diesel::erasure::SubjectMap;
///
/// let map = SubjectMap::new()
///     .actor(ActorType::User)
///     .row("members".parse()?, ["email", "display_name"])
///     .rows_where("invoices".parse()?, "customer_id", ["note"])
///     .remote_addresses()
///     .meta_keys(["ip"])
///     .action_texts();
/// # let _ = map;
/// # Ok::<(), threadline_core::table::InvalidTableName>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubjectMap {
    pub(super) actor_types: Vec<ActorType>,
    pub(super) rows: Vec<SubjectRows>,
    pub(super) meta_keys: Vec<String>,
    /// The fields of the context that are erased beside actors.
    pub(super) fields: Vec<&'static str>,
}

/// Rows of a person, and the columns to erase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SubjectRows {
    pub(super) table: TableName,
    /// The column with the id; none if the key is the id.
    pub(super) column: Option<String>,
    pub(super) erased: Vec<String>,
}

impl SubjectMap {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The person is an actor of this type. The actor, also as the represented one, becomes a pseudonym.
    #[must_use]
    pub fn actor(mut self, actor_type: ActorType) -> Self {
        self.actor_types.push(actor_type);
        self
    }

    /// The person is the row of this table whose key is the id. Its columns are erased.
    #[must_use]
    pub fn row<C: Into<String>>(
        mut self,
        table: TableName,
        columns: impl IntoIterator<Item = C>,
    ) -> Self {
        self.rows.push(SubjectRows {
            table,
            column: None,
            erased: columns.into_iter().map(Into::into).collect(),
        });
        self
    }

    /// Rows of this table belong to the person if the column had the id in any stored image. Their columns are
    /// erased in all images.
    #[must_use]
    pub fn rows_where<C: Into<String>>(
        mut self,
        table: TableName,
        column: impl Into<String>,
        columns: impl IntoIterator<Item = C>,
    ) -> Self {
        self.rows.push(SubjectRows {
            table,
            column: Some(column.into()),
            erased: columns.into_iter().map(Into::into).collect(),
        });
        self
    }

    /// Erases remote and client addresses, and malformed context, of transactions by the person.
    #[must_use]
    pub fn remote_addresses(mut self) -> Self {
        self.fields.push("remote_addr");
        self
    }

    /// Erases these keys of the `meta` of transactions and actions by the person or on their behalf.
    #[must_use]
    pub fn meta_keys<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.meta_keys.extend(keys.into_iter().map(Into::into));
        self
    }

    /// Erases reason and comment of actions by the person or on their behalf.
    #[must_use]
    pub fn action_texts(mut self) -> Self {
        self.fields.extend(["reason", "comment"]);
        self
    }

    /// The actors that are the person.
    pub(super) fn actors(&self, subject: &SubjectId) -> Vec<String> {
        self.actor_types
            .iter()
            .filter_map(|kind| ActorRef::new(*kind, subject.as_str()).ok())
            .map(|actor| actor.to_string())
            .collect()
    }
}
