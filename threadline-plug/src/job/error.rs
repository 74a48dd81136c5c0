use threadline_core::actor::InvalidActor;
use threadline_core::context::InvalidContextId;

/// Why a value is no [`JobContext`](super::JobContext).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidJobContext {
    /// It is neither an object nor null.
    #[error("a job's context is an object")]
    NotAnObject,
    /// A field is of another JSON type.
    #[error("`{field}` of a job's context must be {expected}")]
    WrongType {
        /// The field.
        field: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// A field names no actor.
    #[error("`{field}` of a job's context names no actor")]
    Actor {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        source: InvalidActor,
    },
    /// A field is no id.
    #[error("`{field}` of a job's context is no id")]
    Id {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        source: InvalidContextId,
    },
}
