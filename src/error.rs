//! One error type for functions that use several parts of this crate.

use threadline_core::action::InvalidActionName;
use threadline_core::actor::InvalidActor;
use threadline_core::context::InvalidContextId;
use threadline_core::registry::RegistryError;
use threadline_core::retention::InvalidRetention;
use threadline_core::row_key::InvalidRowKey;
use threadline_core::table::{InvalidTable, InvalidTableName};

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error of this crate.
///
/// Every function of this crate returns an error type of its own, which names what went wrong there. All of
/// them convert into this type by `?`; so does Diesel's error, which makes it an error type for the closures
/// of audited writes.
///
/// ```
/// use threadline::{Action, ActorRef, AuditContext, AuditedWrite};
///
/// fn payment(user: &str) -> threadline::Result<AuditedWrite> {
///     let context = AuditContext::new(ActorRef::user(user)?);
///     Ok(AuditedWrite::new(context).action(Action::new("invoice.pay")?))
/// }
///
/// assert!(payment("42").is_ok());
/// assert!(payment("").is_err());
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name of an action is invalid.
    #[error(transparent)]
    ActionName(#[from] InvalidActionName),
    /// A text is not an actor.
    #[error(transparent)]
    Actor(#[from] InvalidActor),
    /// A request, correlation or job id is invalid.
    #[error(transparent)]
    ContextId(#[from] InvalidContextId),
    /// A text is not the name of a table.
    #[error(transparent)]
    TableName(#[from] InvalidTableName),
    /// A text is not the id of a transaction.
    #[error(transparent)]
    TransactionId(#[from] uuid::Error),
    /// The declaration of a table is wrong.
    #[error(transparent)]
    Table(#[from] InvalidTable),
    /// Declarations of registered models are wrong, or contradict each other.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A key does not fit its table.
    #[error(transparent)]
    RowKey(#[from] InvalidRowKey),
    /// A retention policy is invalid.
    #[error(transparent)]
    RetentionPolicy(#[from] InvalidRetention),
    /// An audited write was rolled back, or an action was not recorded.
    #[cfg(any(feature = "async", feature = "sync"))]
    #[error(transparent)]
    Audit(#[from] threadline_diesel::AuditError),
    /// A model's row cannot be named.
    #[cfg(feature = "diesel")]
    #[error(transparent)]
    History(#[from] threadline_diesel::query::InvalidHistory),
    /// A key that was typed as text cannot be resolved.
    #[cfg(feature = "diesel")]
    #[error(transparent)]
    Key(#[from] threadline_diesel::query::KeyError),
    /// A query is invalid.
    #[cfg(feature = "diesel")]
    #[error(transparent)]
    Query(#[from] threadline_diesel::query::InvalidQuery),
    /// A cursor is malformed, or belongs to another query.
    #[cfg(feature = "diesel")]
    #[error(transparent)]
    Cursor(#[from] threadline_diesel::query::InvalidCursor),
    /// A scope cannot be applied.
    #[cfg(feature = "diesel")]
    #[error(transparent)]
    Scope(#[from] threadline_diesel::query::ScopeError),
    /// A filter has a value that nothing stored can match.
    #[cfg(feature = "diesel")]
    #[error(transparent)]
    FilterValue(#[from] threadline_diesel::query::InvalidFilterValue),
    /// A page size is out of range.
    #[cfg(feature = "diesel")]
    #[error(transparent)]
    PageSize(#[from] threadline_diesel::query::InvalidPageSize),
    /// A text is not an operation.
    #[cfg(feature = "diesel")]
    #[error(transparent)]
    Op(#[from] threadline_diesel::models::UnknownOp),
    /// A query could not be answered.
    #[cfg(feature = "diesel")]
    #[error(transparent)]
    Read(#[from] threadline_diesel::query::ReadError),
    /// A row could not be read as of an instant.
    #[cfg(feature = "diesel")]
    #[error(transparent)]
    AsOf(#[from] threadline_diesel::query::AsOfError),
    /// A diff does not fit the value that it was applied to.
    #[cfg(feature = "diesel")]
    #[error(transparent)]
    Diff(#[from] threadline_diesel::query::diff::DiffMismatch),
    /// A table could not be read from the catalog.
    #[cfg(feature = "diesel")]
    #[error(transparent)]
    Introspection(#[from] threadline_diesel::introspection::IntrospectionError),
    /// Coverage could not be checked, or deployed policies could not be read.
    #[cfg(feature = "diesel")]
    #[error(transparent)]
    Coverage(#[from] threadline_diesel::coverage::CoverageError),
    /// A baseline could not be recorded.
    #[cfg(feature = "diesel")]
    #[error(transparent)]
    Baseline(#[from] threadline_diesel::baseline::BaselineError),
    /// A batch size of a baseline is out of range.
    #[cfg(feature = "diesel")]
    #[error(transparent)]
    BaselineBatchSize(#[from] threadline_diesel::baseline::InvalidBatchSize),
    /// Evidence could not be recorded or read.
    #[cfg(feature = "async")]
    #[error(transparent)]
    Evidence(#[from] threadline_diesel::evidence::EvidenceError),
    /// A text is not a check.
    #[cfg(feature = "async")]
    #[error(transparent)]
    Check(#[from] threadline_diesel::evidence::UnknownCheck),
    /// A text is not a subject of evidence.
    #[cfg(feature = "async")]
    #[error(transparent)]
    EvidenceSubject(#[from] threadline_diesel::evidence::UnknownSubject),
    /// A query could not be run as of an instant.
    #[cfg(feature = "async")]
    #[error(transparent)]
    TimeTravel(#[from] threadline_diesel::time_travel::TimeTravelError),
    /// The feed could not be read.
    #[cfg(feature = "async")]
    #[error(transparent)]
    Feed(#[from] threadline_diesel::feed::FeedError),
    /// The name of a feed consumer is invalid.
    #[cfg(feature = "async")]
    #[error(transparent)]
    ConsumerName(#[from] threadline_diesel::feed::InvalidConsumerName),
    /// A text is not a start position of a feed consumer.
    #[cfg(feature = "async")]
    #[error(transparent)]
    FeedStart(#[from] threadline_diesel::feed::InvalidStart),
    /// A batch size of the feed is out of range.
    #[cfg(feature = "async")]
    #[error(transparent)]
    FeedBatchSize(#[from] threadline_diesel::feed::InvalidBatchSize),
    /// A lease time of the feed is out of range.
    #[cfg(feature = "async")]
    #[error(transparent)]
    LeaseTime(#[from] threadline_diesel::feed::InvalidLeaseTime),
    /// A purge failed.
    #[cfg(feature = "async")]
    #[error(transparent)]
    Retention(#[from] threadline_diesel::retention::RetentionError),
    /// A batch size of a purge is out of range.
    #[cfg(feature = "async")]
    #[error(transparent)]
    PurgeBatchSize(#[from] threadline_diesel::retention::InvalidBatchSize),
    /// An export could not be written.
    #[cfg(feature = "export")]
    #[error(transparent)]
    Export(#[from] threadline_export::ExportError),
    /// The context of a job could not be read.
    #[cfg(feature = "plug")]
    #[error(transparent)]
    JobContext(#[from] threadline_plug::job::InvalidJobContext),
    /// A text is not the address or network of a proxy.
    #[cfg(feature = "plug")]
    #[error(transparent)]
    Proxy(#[from] threadline_plug::remote::InvalidProxy),
    /// The database reported an error.
    #[cfg(feature = "diesel")]
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}
