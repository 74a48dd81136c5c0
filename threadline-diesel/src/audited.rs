//! Running audited writes, on sync and on async connections: one body, expanded twice.
//!
//! The outermost call begins its transaction and publishes the context in one round trip. Nested calls
//! are savepoints. How those begin, and how work ends, each kind of connection has its own way.

/// The statements around a piece of work, on connections of a kind.
///
/// Needs two functions beside it: `begin_nested`, which makes a savepoint, opens the work and says what
/// was in force before, and `close`, which sends the statement that ends the work.
macro_rules! audited_work {
    ($connection:ty, $manager:ty, $dsl:path $(, $asyncness:ident, $await:ident)?) => {
        use serde_json::Value;
        use threadline_core::action::{Action, ActionId};
        use threadline_core::context::AuditContext;
        use threadline_core::telemetry;
        use $dsl;

        use crate::write::{
            AuditError, AuditedOutcome, AuditedWrite, Closing, Opening, action_alone,
        };

        /// How deep in transactions the connection is.
        fn is_in_transaction(conn: &mut $connection) -> Result<bool, AuditError> {
            let status = <$manager>::transaction_manager_status_mut(conn);
            Ok(status.transaction_depth()?.is_some())
        }

        /// Begins the work. Returns what was in force before, for nested work.
        $($asyncness)? fn begin(
            conn: &mut $connection,
            opening: &Opening<'_>,
        ) -> Result<Option<Value>, AuditError> {
            if is_in_transaction(conn)? {
                let before = begin_nested(conn, opening)$(.$await)??;
                return Ok(Some(before));
            }
            let begun = <$manager>::begin_transaction_sql(conn, &opening.begin_sql())$(.$await)?;
            if let Err(error) = begun {
                // BEGIN may have succeeded where the rest failed; leave nothing open.
                let _ = conn.batch_execute("ROLLBACK")$(.$await)?;
                return Err(error.into());
            }
            Ok(None)
        }

        /// Closes, looks at what was captured, and then commits or rolls back.
        $($asyncness)? fn close_and_commit<T>(
            conn: &mut $connection,
            opening: &Opening<'_>,
            before: Option<Value>,
            value: T,
        ) -> Result<AuditedOutcome<T>, AuditError> {
            let outermost = before.is_none();
            let closed = close(conn, opening.closing(before))$(.$await)?;
            let checked = closed.map_err(AuditError::from).and_then(|closing| {
                opening.outcome(value, &closing).map(|outcome| (outcome, closing))
            });
            let (outcome, closing) = match checked {
                Ok(checked) => checked,
                Err(error) => {
                    abandon(conn, opening, error.reason())$(.$await)?;
                    return Err(error);
                }
            };
            // A failed commit has rolled back already.
            if let Err(error) = <$manager>::commit_transaction(conn)$(.$await)? {
                record_failure(conn, opening, "commit_failed")$(.$await)?;
                return Err(error.into());
            }
            opening.report_done(&closing, outermost);
            Ok(outcome)
        }

        /// Rolls back, and records the failed action where that is asked for. What goes wrong on
        /// the way is not allowed to hide why the work failed.
        $($asyncness)? fn abandon(
            conn: &mut $connection,
            opening: &Opening<'_>,
            reason: &'static str,
        ) {
            match <$manager>::rollback_transaction(conn)$(.$await)? {
                Ok(()) => record_failure(conn, opening, reason)$(.$await)?,
                Err(_) => telemetry::failure_unrecorded("rollback"),
            }
        }

        /// Records that the action failed, where that is asked for.
        $($asyncness)? fn record_failure(
            conn: &mut $connection,
            opening: &Opening<'_>,
            reason: &'static str,
        ) {
            let Some(failed) = opening.failed_action(reason) else {
                return;
            };
            match failed.get_result::<uuid::Uuid>(conn)$(.$await)? {
                Ok(_) => telemetry::action_recorded("error"),
                Err(_) => telemetry::failure_unrecorded("action"),
            }
        }

        /// Records an action alone, for things that change no row: a login, an export, a read.
        /// Inside a transaction it is part of it, otherwise it is recorded at once.
        ///
        /// # Errors
        /// [`AuditError`] when the context names nobody, or the database says no.
        pub $($asyncness)? fn record_action(
            conn: &mut $connection,
            context: &AuditContext,
            action: &Action,
        ) -> Result<ActionId, AuditError> {
            let (id, document) = action_alone(context, action)?;
            document.get_result::<uuid::Uuid>(conn)$(.$await)??;
            telemetry::action_recorded(action.ended_as().as_str());
            Ok(id)
        }
    };
}

pub(crate) use audited_work;
