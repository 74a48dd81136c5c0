//! Running audited writes, on sync and on async connections: one body, expanded twice.
//!
//! The outermost call begins its transaction and publishes the context in one round trip, and asks
//! what was captured in another before the commit. Nested calls are savepoints.

/// The statements around a piece of work, on connections of a kind.
macro_rules! audited_work {
    ($connection:ty, $manager:ty, $dsl:path $(, $asyncness:ident, $await:ident)?) => {
        use diesel::sql_types::{Jsonb, Nullable};
        use serde_json::Value;
        use threadline_core::storage::STORAGE_SCHEMA;
        use $dsl;

        use crate::write::{AuditError, AuditedOutcome, AuditedWrite, Before, Closing, Opening};

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
            if !is_in_transaction(conn)? {
                let begun = <$manager>::begin_transaction_sql(conn, &opening.begin_sql())$(.$await)?;
                if let Err(error) = begun {
                    // BEGIN may have succeeded where the rest failed; leave nothing open.
                    let _ = conn.batch_execute("ROLLBACK")$(.$await)?;
                    return Err(error.into());
                }
                return Ok(None);
            }
            <$manager>::begin_transaction(conn)$(.$await)??;
            let opened = diesel::sql_query(format!(
                "SELECT {STORAGE_SCHEMA}.open_audited_work($1) AS before"
            ))
            .bind::<Jsonb, _>(opening.document())
            .get_result::<Before>(conn)$(.$await)?;
            match opened {
                Ok(opened) => Ok(Some(opened.before)),
                Err(error) => {
                    <$manager>::rollback_transaction(conn)$(.$await)??;
                    Err(error.into())
                }
            }
        }

        /// Puts back what was in force before, and asks what was captured.
        $($asyncness)? fn close(
            conn: &mut $connection,
            opening: &Opening<'_>,
            before: Option<Value>,
        ) -> Result<Closing, AuditError> {
            Ok(diesel::sql_query(format!(
                "SELECT transaction_id, changes, tables FROM {STORAGE_SCHEMA}.close_audited_work($1, $2)"
            ))
            .bind::<Nullable<Jsonb>, _>(before)
            .bind::<Nullable<diesel::sql_types::Uuid>, _>(opening.action_id.map(|id| id.as_uuid()))
            .get_result::<Closing>(conn)$(.$await)??)
        }

        /// Closes and commits, or rolls back.
        $($asyncness)? fn finish<T>(
            conn: &mut $connection,
            opening: &Opening<'_>,
            before: Option<Value>,
            value: T,
        ) -> Result<AuditedOutcome<T>, AuditError> {
            let closed = close(conn, opening, before)$(.$await)?;
            let outcome = match closed {
                Ok(closing) => opening.outcome(value, &closing).inspect(|_| {
                    tracing::debug!(
                        target: "threadline",
                        changes = closing.changes,
                        tables = closing.tables,
                        "audited work done"
                    );
                }),
                Err(error) => Err(error),
            };
            match outcome {
                Ok(outcome) => {
                    <$manager>::commit_transaction(conn)$(.$await)??;
                    Ok(outcome)
                }
                Err(error) => {
                    abandon(conn, opening, error.reason())$(.$await)?;
                    Err(error)
                }
            }
        }

        /// Rolls back, and records the failed action where that is asked for. What goes wrong on
        /// the way is not allowed to hide why the work failed.
        $($asyncness)? fn abandon(
            conn: &mut $connection,
            opening: &Opening<'_>,
            reason: &str,
        ) {
            if let Err(error) = <$manager>::rollback_transaction(conn)$(.$await)? {
                tracing::warn!(target: "threadline", %error, "rollback failed");
                return;
            }
            let Some(failed) = opening.failed_action(reason) else {
                return;
            };
            let recorded = diesel::sql_query(format!(
                "SELECT {STORAGE_SCHEMA}.record_action($1, $2, $3)"
            ))
            .bind::<Jsonb, _>(failed.action)
            .bind::<Nullable<Jsonb>, _>(failed.actor)
            .bind::<Jsonb, _>(failed.context)
            .execute(conn)$(.$await)?;
            if let Err(error) = recorded {
                tracing::warn!(target: "threadline", %error, "failed action not recorded");
            }
        }
    };
}

pub(crate) use audited_work;
