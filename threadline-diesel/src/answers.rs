//! Answers to questions, for sync and for async connections: one body, expanded twice.

/// The functions that load answers, on connections of a kind.
macro_rules! answers {
    ($connection:path, $dsl:path $(, $asyncness:ident, $await:ident)?) => {
        use diesel::pg::Pg;
        use diesel::prelude::*;
        use threadline_core::row_key::{RowKeyText, TypedKey};
        use threadline_core::table::{AuditedTable, TableName};
        use $dsl;

        use crate::actions::Actions;
        use crate::change::{AuditAction, AuditChange, AuditTransaction, TimelineEntry};
        use crate::deployed::{Declaration, declarations};
        use crate::correlation::{Correlation, CorrelationBundle};
        use crate::error::ReadError;
        use crate::introspection::{CatalogColumn, IntrospectionError, describe, from_catalog};
        use crate::history::History;
        use crate::incident::{Incident, IncidentBundle, TransactionChanges};
        use crate::moments::HasMoments;
        use crate::key_columns::{KeyColumnsRow, KeyError, key_columns_of, resolve};
        use crate::page::Page;
        use crate::standing::{Standing, StandingRow, standing_of};
        use crate::timeline::{
            CandidateIds, CandidateQuery, CandidateRow, LookUpRow, Timeline, TransactionCache,
            change_with_id,
        };
        use crate::transactions::Transactions;

        /// A page of a timeline.
        ///
        /// # Errors
        /// [`ReadError`] when the question cannot be put (its cursor belongs to another, for
        /// instance), or the database says no.
        pub $($asyncness)? fn timeline<C>(
            conn: &mut C,
            question: &Timeline,
        ) -> Result<Page<TimelineEntry>, ReadError>
        where
            C: $connection,
        {
            let candidates = look_for_candidates(conn, question.candidate_query())$(.$await)??;
            page_of(conn, question, &candidates, TransactionCache::default())$(.$await)?
        }

        /// The transactions in which to look.
        $($asyncness)? fn look_for_candidates<C>(
            conn: &mut C,
            query: Option<CandidateQuery>,
        ) -> Result<CandidateIds, ReadError>
        where
            C: $connection,
        {
            let Some(query) = query else {
                return Ok(CandidateIds::default());
            };
            let rows = query.load::<CandidateRow>(conn)$(.$await)??;
            Ok(CandidateIds::from_rows(rows))
        }

        /// A page of a timeline, looked for in these transactions if they are few.
        $($asyncness)? fn page_of<C>(
            conn: &mut C,
            question: &Timeline,
            candidates: &CandidateIds,
            mut cache: TransactionCache,
        ) -> Result<Page<TimelineEntry>, ReadError>
        where
            C: $connection,
        {
            let changes = question.page_query(candidates)?.load::<AuditChange>(conn)$(.$await)??;
            look_up(conn, &mut cache, &changes)$(.$await)??;
            let mut page = question.page(cache.entries(changes));
            if let Some(paging) = question.paging().behind(&page) {
                let behind = question.with_paging(paging).page_query(candidates)?;
                if behind.load::<AuditChange>(conn)$(.$await)??.is_empty() {
                    question.paging().nothing_behind(&mut page);
                }
            }
            Ok(page)
        }

        /// Looks up the transactions and actions of changes.
        $($asyncness)? fn look_up<C>(
            conn: &mut C,
            cache: &mut TransactionCache,
            changes: &[AuditChange],
        ) -> Result<(), ReadError>
        where
            C: $connection,
        {
            if let Some(missing) = cache.missing(changes) {
                cache.add(missing.load::<LookUpRow>(conn)$(.$await)??);
            }
            Ok(())
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
            let mut page = question.page(rows);
            if let Some(paging) = question.paging().behind(&page) {
                let behind = question.with_paging(paging).query()?.limit(1);
                if behind.load::<AuditAction>(conn)$(.$await)??.is_empty() {
                    question.paging().nothing_behind(&mut page);
                }
            }
            Ok(page)
        }

        /// A page of transactions: of an actor, for instance.
        ///
        /// # Errors
        /// As [`timeline`].
        pub $($asyncness)? fn transactions<C>(
            conn: &mut C,
            question: &Transactions,
        ) -> Result<Page<AuditTransaction>, ReadError>
        where
            C: $connection,
        {
            let candidates = look_for_candidates(conn, question.candidate_query())$(.$await)??;
            let candidates = Some(&candidates);
            let rows = question.query_by(candidates)?.load::<AuditTransaction>(conn)$(.$await)??;
            let mut page = question.page(rows);
            if let Some(paging) = question.paging().behind(&page) {
                let behind = question.with_paging(paging).query_by(candidates)?.limit(1);
                if behind.load::<AuditTransaction>(conn)$(.$await)??.is_empty() {
                    question.paging().nothing_behind(&mut page);
                }
            }
            Ok(page)
        }

        /// The first page of everything that belongs to a correlation.
        ///
        /// # Errors
        /// As [`timeline`].
        pub $($asyncness)? fn correlation_bundle<C>(
            conn: &mut C,
            question: &Correlation,
        ) -> Result<CorrelationBundle, ReadError>
        where
            C: $connection,
        {
            let transactions = transactions(conn, &question.transactions())$(.$await)??;
            let actions = actions(conn, &question.actions())$(.$await)??;
            let asked = question.changes();
            let changes = match question.candidates(&transactions, &actions) {
                Some(candidates) => {
                    let mut cache = TransactionCache::default();
                    let (transactions, actions) = (&transactions.entries, &actions.entries);
                    cache.add_known(transactions.iter().cloned(), actions.iter().cloned());
                    page_of(conn, &asked, &candidates, cache)$(.$await)??
                }
                None => timeline(conn, &asked)$(.$await)??,
            };
            Ok(CorrelationBundle {
                transactions,
                actions,
                changes,
            })
        }

        /// The first change that is known of a row or a field, with who made it; none if there is
        /// none.
        ///
        /// # Errors
        /// As [`timeline`].
        pub $($asyncness)? fn first_seen<C>(
            conn: &mut C,
            question: &(impl HasMoments + Sync),
        ) -> Result<Option<TimelineEntry>, ReadError>
        where
            C: $connection,
        {
            let page = timeline(conn, &question.first())$(.$await)??;
            Ok(page.entries.into_iter().next())
        }

        /// The last change that is known of a row or a field, with who made it; none if there is
        /// none.
        ///
        /// # Errors
        /// As [`timeline`].
        pub $($asyncness)? fn last_changed<C>(
            conn: &mut C,
            question: &(impl HasMoments + Sync),
        ) -> Result<Option<TimelineEntry>, ReadError>
        where
            C: $connection,
        {
            let page = timeline(conn, &question.last())$(.$await)??;
            Ok(page.entries.into_iter().next())
        }

        /// How a table stands to the trail: captured, known from before, or not at all.
        ///
        /// # Errors
        /// What the database says.
        pub $($asyncness)? fn standing<C>(
            conn: &mut C,
            table: &TableName,
        ) -> Result<Standing, ReadError>
        where
            C: $connection,
        {
            let row = standing_of(table).get_result::<StandingRow>(conn)$(.$await)??;
            Ok(row.into())
        }

        /// The key columns of a table in declared order, as its newest policy has them; none if the
        /// table has no key, or the trail does not know it.
        ///
        /// # Errors
        /// What the database says.
        pub $($asyncness)? fn key_columns<C>(
            conn: &mut C,
            table: &TableName,
        ) -> Result<Vec<String>, ReadError>
        where
            C: $connection,
        {
            let names = key_columns_of(table).load::<KeyColumnsRow>(conn)$(.$await)??;
            Ok(names.into_iter().next().map(|row| row.key_columns).unwrap_or_default())
        }

        /// The key of the row that a person named: by the table's key columns, or the names they had
        /// before they were renamed.
        ///
        /// # Errors
        /// [`KeyError`] when the key does not fit the table, or the database says no.
        pub $($asyncness)? fn resolve_key<C>(
            conn: &mut C,
            table: &TableName,
            key: &TypedKey,
        ) -> Result<RowKeyText, KeyError>
        where
            C: $connection,
        {
            let names = key_columns_of(table).load::<KeyColumnsRow>(conn)$(.$await)??;
            Ok(resolve(key, table, &names)?)
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
            let changes = change_with_id(id).load::<AuditChange>(conn)$(.$await)??;
            let mut cache = TransactionCache::default();
            look_up(conn, &mut cache, &changes)$(.$await)??;
            Ok(cache.entries(changes).pop())
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

        /// One transaction and a page of its changes; none if there is no such transaction, or none
        /// that may be seen.
        ///
        /// # Errors
        /// As [`timeline`].
        pub $($asyncness)? fn transaction<C>(
            conn: &mut C,
            question: impl Into<Incident> + Send,
        ) -> Result<Option<TransactionChanges>, ReadError>
        where
            C: $connection,
        {
            let question = question.into();
            let found = question.transaction()?.load::<AuditTransaction>(conn)$(.$await)??;
            let Some(transaction) = found.into_iter().next() else {
                return Ok(None);
            };
            let changes = timeline(conn, question.changes())$(.$await)??;
            Ok(Some(TransactionChanges { transaction, changes }))
        }

        /// Everything about a transaction, its changes a page at a time; none if there is no such
        /// transaction, or none that may be seen.
        ///
        /// # Errors
        /// As [`timeline`].
        pub $($asyncness)? fn incident_bundle<C>(
            conn: &mut C,
            question: impl Into<Incident> + Send,
        ) -> Result<Option<IncidentBundle>, ReadError>
        where
            C: $connection,
        {
            let question = question.into();
            let found = question.transaction()?.load::<AuditTransaction>(conn)$(.$await)??;
            let Some(transaction) = found.into_iter().next() else {
                return Ok(None);
            };
            let actions = actions(conn, &question.actions())$(.$await)??;
            let asked = question.changes();
            let candidates = CandidateIds::default();
            let changes = asked.page_query(&candidates)?.load::<AuditChange>(conn)$(.$await)??;
            let mut changes = asked.page_of_changes(changes);
            if let Some(paging) = asked.paging().behind(&changes) {
                let behind = asked.with_paging(paging).page_query(&candidates)?;
                if behind.load::<AuditChange>(conn)$(.$await)??.is_empty() {
                    asked.paging().nothing_behind(&mut changes);
                }
            }
            Ok(Some(IncidentBundle::new(transaction, actions, changes)))
        }
    };
}

pub(crate) use answers;
