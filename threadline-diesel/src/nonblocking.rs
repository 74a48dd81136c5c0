//! Everything on async connections.

crate::answers::answers!(
    diesel_async::AsyncConnection<Backend = Pg>,
    diesel_async::RunQueryDsl,
    async,
    await
);

pub use crate::baseline::record_baseline;
pub use crate::capture_start::capture_start;
pub use operations::{coverage, deployed_policies, doctor};
pub use write::{audited, record_action};

mod operations {
    crate::operations::operations!(
        diesel_async::AsyncConnection,
        diesel_async::TransactionManager,
        diesel_async::RunQueryDsl,
        async,
        await
    );
}

pub use crate::history::notes::history_notes;
pub use crate::time_travel::run::{time_travel, time_travel_first};
pub use past::{as_of, document_as_of};

/// Rows as of an instant.
pub mod past {
    crate::past::past!(
        diesel_async::AsyncConnection<Backend = Pg>,
        diesel_async::methods::LoadQuery,
        diesel_async::RunQueryDsl,
        async,
        await
    );
}

pub use crate::retention::{
    audit_horizon, maintain_partitions, plan_retention, purge, purge_with_progress, retention_runs,
};

/// The audited write on `AsyncPgConnection`.
pub mod write {
    use diesel::QueryResult;
    use diesel_async::{
        AnsiTransactionManager, AsyncPgConnection, SimpleAsyncConnection, TransactionManager,
    };

    use crate::accompanied::{Accompanied, close_on};
    use crate::write::CloseStatement;

    crate::audited::audited_work!(
        AsyncPgConnection,
        AnsiTransactionManager,
        diesel_async::RunQueryDsl,
        async,
        await
    );

    /// Makes a savepoint and opens the work in it, in one round trip. Returns what was in force before.
    async fn begin_nested(
        conn: &mut AsyncPgConnection,
        opening: &Opening<'_>,
    ) -> QueryResult<Value> {
        let mut accompanied = Accompanied::by_opening(conn, opening.statement());
        AnsiTransactionManager::begin_transaction(&mut accompanied).await?;
        let opened = accompanied.opened();
        if opened.is_err() {
            AnsiTransactionManager::rollback_transaction(conn).await?;
        }
        opened
    }

    /// Ends the work.
    async fn close(conn: &mut AsyncPgConnection, closing: CloseStatement) -> QueryResult<Closing> {
        close_on(conn, closing).await
    }

    /// Ends the work and commits: in one round trip, unless what was captured decides on the commit
    /// or the work is nested.
    async fn finish<T>(
        conn: &mut AsyncPgConnection,
        opening: &Opening<'_>,
        before: Option<Value>,
        value: T,
    ) -> Result<AuditedOutcome<T>, AuditError> {
        if before.is_some() || opening.must_check() {
            return close_and_commit(conn, opening, before, value).await;
        }
        let mut accompanied = Accompanied::by_closing(conn, opening.closing(None));
        let committed = AnsiTransactionManager::commit_transaction(&mut accompanied).await;
        // Where the closing fails, COMMIT rolls back and succeeds.
        let closing = match (accompanied.closed(), committed) {
            (Ok(closing), Ok(())) => closing,
            (Ok(_), Err(error)) => {
                record_failure(conn, opening, "commit_failed").await;
                return Err(error.into());
            }
            (Err(error), _) => {
                let error = AuditError::from(error);
                record_failure(conn, opening, error.reason()).await;
                return Err(error);
            }
        };
        let outcome = opening.outcome(value, &closing)?;
        opening.report_done(&closing, true);
        Ok(outcome)
    }

    /// An async closure whose future can be named, so that it can be required to be `Send`.
    ///
    /// Implemented for every `async |conn| { ... }`; the same means diesel-async uses privately.
    pub trait Work<C, R>: AsyncFnOnce(C) -> R + FnOnce(C) -> <Self as Work<C, R>>::Fut {
        /// The closure's future.
        type Fut: Future<Output = R>;
    }

    impl<F, C, Fut, R> Work<C, R> for F
    where
        F: AsyncFnOnce(C) -> R + FnOnce(C) -> Fut,
        Fut: Future<Output = R>,
    {
        type Fut = Fut;
    }

    /// Runs a closure in a database transaction whose changes are attributed to the write's
    /// context and action. A pooled connection is passed as `&mut conn`.
    ///
    /// Inside a transaction it is a savepoint with a context and action of its own; afterwards the
    /// outer ones are in force again. A future that is dropped half-way leaves its transaction
    /// open, as with Diesel's own; pools see that and discard the connection.
    ///
    /// # Errors
    /// The closure's error, after everything was rolled back; or [`AuditError`] as the closure's
    /// error type.
    pub async fn audited<T, E, F>(
        conn: &mut AsyncPgConnection,
        write: &AuditedWrite,
        work: F,
    ) -> Result<AuditedOutcome<T>, E>
    where
        F: for<'r> Work<&'r mut AsyncPgConnection, Result<T, E>, Fut: Send> + Send,
        E: From<AuditError> + Send,
        T: Send,
    {
        let opening = write.opening()?;
        let before = begin(conn, &opening).await?;
        match work(conn).await {
            Ok(value) => Ok(finish(conn, &opening, before, value).await?),
            Err(error) => {
                abandon(conn, &opening, "work_failed").await;
                Err(error)
            }
        }
    }
}
