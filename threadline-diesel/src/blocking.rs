//! Everything on sync connections.

crate::answers::answers!(
    diesel::connection::LoadConnection<Backend = Pg>,
    diesel::RunQueryDsl
);

pub use operations::{coverage, deployed_policies, doctor};

mod operations {
    crate::operations::operations!(
        diesel::connection::LoadConnection,
        diesel::connection::TransactionManager,
        diesel::RunQueryDsl
    );
}

pub use past::{as_of, document_as_of};

/// Rows as of an instant.
pub mod past {
    crate::past::past!(
        diesel::connection::LoadConnection<Backend = Pg>,
        diesel::query_dsl::methods::LoadQuery,
        diesel::RunQueryDsl
    );
}

/// The audited write on `PgConnection`.
#[cfg(feature = "sync")]
pub mod write {
    use diesel::QueryResult;
    use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
    use diesel::pg::PgConnection;

    use crate::write::CloseStatement;

    crate::audited::audited_work!(PgConnection, AnsiTransactionManager, diesel::RunQueryDsl);

    /// Makes a savepoint and opens the work in it. Returns what was in force before.
    fn begin_nested(conn: &mut PgConnection, opening: &Opening<'_>) -> QueryResult<Value> {
        AnsiTransactionManager::begin_transaction(conn)?;
        let opened = opening.statement().get_result::<Value>(conn);
        if opened.is_err() {
            AnsiTransactionManager::rollback_transaction(conn)?;
        }
        opened
    }

    /// Ends the work. Libpq sends nothing more before the answer is there, so this is a round trip
    /// of its own.
    fn close(conn: &mut PgConnection, closing: CloseStatement) -> QueryResult<Closing> {
        match closing {
            CloseStatement::Leaving(leave) => leave
                .get_result::<Option<uuid::Uuid>>(conn)
                .map(Closing::from),
            CloseStatement::Counting(close) => close
                .get_result::<(Option<uuid::Uuid>, i64, i64)>(conn)
                .map(Closing::from),
        }
    }

    /// Runs a closure in a database transaction whose changes are attributed to the write's
    /// context and action. A pooled connection is passed as `&mut conn`.
    ///
    /// Inside a transaction it is a savepoint with a context and action of its own; afterwards the
    /// outer ones are in force again.
    ///
    /// # Errors
    /// The closure's error, after everything was rolled back; or [`AuditError`] as the closure's
    /// error type.
    pub fn audited<T, E, F>(
        conn: &mut PgConnection,
        write: &AuditedWrite,
        work: F,
    ) -> Result<AuditedOutcome<T>, E>
    where
        F: FnOnce(&mut PgConnection) -> Result<T, E>,
        E: From<AuditError>,
    {
        let opening = write.opening()?;
        let before = begin(conn, &opening)?;
        match work(conn) {
            Ok(value) => Ok(close_and_commit(conn, &opening, before, value)?),
            Err(error) => {
                abandon(conn, &opening, "work_failed");
                Err(error)
            }
        }
    }
}

#[cfg(feature = "sync")]
pub use write::{audited, record_action};
