use threadline_core::actor::InvalidActor;
use threadline_core::context::InvalidContextId;

/// The error for a value that is not a [`JobContext`](super::JobContext).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidJobContext {
    /// The value is neither an object nor null.
    #[error("the context of a job must be an object")]
    NotAnObject,
    /// A field has another JSON type.
    #[error("`{field}` in the context of a job must be {expected}")]
    WrongType {
        /// The field.
        field: &'static str,
        /// The expected value.
        expected: &'static str,
    },
    /// A field is not an actor.
    #[error("`{field}` in the context of a job is not an actor")]
    Actor {
        /// The field.
        field: &'static str,
        /// The problem.
        source: InvalidActor,
    },
    /// A field is not an id.
    #[error("`{field}` in the context of a job is not an id")]
    Id {
        /// The field.
        field: &'static str,
        /// The problem.
        source: InvalidContextId,
    },
}
