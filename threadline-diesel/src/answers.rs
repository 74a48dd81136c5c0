//! Answers to questions, for sync and for async connections: one body, expanded twice.

/// The functions that load answers, on connections of a kind.
macro_rules! answers {
    ($connection:path, $dsl:path $(, $asyncness:ident, $await:ident)?) => {
        use diesel::pg::Pg;
        use diesel::prelude::*;
        use threadline_core::table::{AuditedTable, TableName};
        use threadline_core::transaction::AuditTransactionId;
        use $dsl;

        use crate::actions::Actions;
        use crate::change::{AuditAction, AuditTransaction, TimelineEntry};
        use crate::deployed::{Declaration, declarations};
        use crate::error::ReadError;
        use crate::introspection::{CatalogColumn, IntrospectionError, describe, from_catalog};
        use crate::history::History;
        use crate::incident::{IncidentBundle, MAX_INCIDENT_CHANGES};
        use crate::page::Page;
        use crate::schema::{audit_actions, audit_transactions};
        use crate::timeline::{Timeline, change_with_id, changes_of_transaction};

        /// A page of a timeline.
        ///
        /// # Errors
        /// [`ReadError`] when the cursor belongs to another question, or the database says no.
        pub $($asyncness)? fn timeline<C>(
            conn: &mut C,
            question: &Timeline,
        ) -> Result<Page<TimelineEntry>, ReadError>
        where
            C: $connection,
        {
            let rows = question.query()?.load::<TimelineEntry>(conn)$(.$await)??;
            Ok(question.page(rows))
        }

        /// A page of actions.
        ///
        /// # Errors
        /// As [`timeline`].
        pub $($asyncness)? fn actions<C>(
            conn: &mut C,
            question: &Actions,
        ) -> Result<Page<AuditAction>, ReadError>
        where
            C: $connection,
        {
            let rows = question.query()?.load::<AuditAction>(conn)$(.$await)??;
            Ok(question.page(rows))
        }

        /// A page of a row's history.
        ///
        /// # Errors
        /// As [`timeline`].
        pub $($asyncness)? fn history<C, M>(
            conn: &mut C,
            question: &History<M>,
        ) -> Result<Page<TimelineEntry>, ReadError>
        where
            C: $connection,
        {
            timeline(conn, question.timeline())$(.$await)?
        }

        /// A table as the database describes it: columns, types and key.
        ///
        /// # Errors
        /// [`IntrospectionError`] when there is no such table, or it cannot be captured.
        pub $($asyncness)? fn introspect<C>(
            conn: &mut C,
            name: &TableName,
        ) -> Result<AuditedTable, IntrospectionError>
        where
            C: $connection,
        {
            let columns = describe(name).load::<CatalogColumn>(conn)$(.$await)??;
            from_catalog(name, &columns)
        }

        /// One change by its id; none if there is no such change.
        ///
        /// # Errors
        /// [`ReadError`] when the database says no.
        pub $($asyncness)? fn change<C>(
            conn: &mut C,
            id: i64,
        ) -> Result<Option<TimelineEntry>, ReadError>
        where
            C: $connection,
        {
            Ok(change_with_id(id).first::<TimelineEntry>(conn)$(.$await)?.optional()?)
        }

        /// The captured tables with their rules, as they are deployed in the database.
        ///
        /// # Errors
        /// [`ReadError`] when the database says no, or a newer release deployed what this one
        /// cannot read.
        pub $($asyncness)? fn deployed_tables<C>(conn: &mut C) -> Result<Vec<AuditedTable>, ReadError>
        where
            C: $connection,
        {
            let found = declarations().load::<Declaration>(conn)$(.$await)??;
            Ok(found.iter().map(Declaration::read).collect::<Result<_, _>>()?)
        }

        /// Everything about a transaction; none if there is no such transaction.
        ///
        /// # Errors
        /// [`ReadError`] when the database says no.
        pub $($asyncness)? fn incident_bundle<C>(
            conn: &mut C,
            id: AuditTransactionId,
        ) -> Result<Option<IncidentBundle>, ReadError>
        where
            C: $connection,
        {
            let transaction = audit_transactions::table
                .find(id.as_uuid())
                .select(AuditTransaction::as_select())
                .first::<AuditTransaction>(conn)$(.$await)?
                .optional()?;
            let Some(transaction) = transaction else {
                return Ok(None);
            };
            let actions = audit_actions::table
                .filter(audit_actions::transaction_id.eq(id.as_uuid()))
                .order(audit_actions::id.asc())
                .select(AuditAction::as_select())
                .load::<AuditAction>(conn)$(.$await)??;
            let mut entries = changes_of_transaction(id.as_uuid())
                .limit(MAX_INCIDENT_CHANGES + 1)
                .load::<TimelineEntry>(conn)$(.$await)??;
            let shown = usize::try_from(MAX_INCIDENT_CHANGES).unwrap_or(usize::MAX);
            let truncated = entries.len() > shown;
            entries.truncate(shown);
            Ok(Some(IncidentBundle {
                transaction,
                actions,
                changes: entries.into_iter().map(|entry| entry.change).collect(),
                truncated,
            }))
        }
    };
}

pub(crate) use answers;
