//! Answers to questions, for sync and for async connections: one body, expanded twice.

/// The functions that load answers, on connections of a kind.
macro_rules! answers {
    ($connection:path, $dsl:path $(, $asyncness:ident, $await:ident)?) => {
        use diesel::pg::Pg;
        use diesel::prelude::*;
        use threadline_core::table::{AuditedTable, TableName};
        use uuid::Uuid;
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
        use crate::page::Page;
        use crate::standing::{Standing, StandingRow, standing_of};
        use crate::schema::audit_changes;
        use crate::timeline::{
            Attributable, Attributions, Found, FoundRow, LookedUpRow, Next, Reached, Route, Timeline, change_with_id,
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
            let mut attributions = question.attributions();
            let reached = question.reached();
            let mut route = match &reached {
                Some(reached) => {
                    let newest = reached.clone().newest();
                    Route::found(newest.load::<FoundRow>(conn)$(.$await)??)
                }
                None => Route::NONE,
            };
            let mut rows = None;
            let many = reached.filter(|_| !route.is_short());
            if let Some(reached) = &many {
                rows = of_newest(conn, question, reached, &route, &mut attributions)$(.$await)??;
                if rows.is_none() || question.paging().is_past_the_first() {
                    route = Route::found(reached.clone().load::<FoundRow>(conn)$(.$await)??);
                }
            }
            let rows = match rows {
                Some(rows) => rows,
                None => rows_of(conn, question, &route, &mut attributions)$(.$await)??,
            };
            let mut page = question.page(rows);
            if let Some(paging) = question.paging().behind(&page)
                && !has_any(conn, &question.with_paging(paging), &route)$(.$await)??
            {
                question.paging().nothing_behind(&mut page);
            }
            Ok(page)
        }

        /// A page's rows by way of the newest transactions that were reached, if that gives them.
        $($asyncness)? fn of_newest<C>(
            conn: &mut C,
            question: &Timeline,
            reached: &Reached,
            route: &Route,
            attributions: &mut Attributions<'_>,
        ) -> Result<Option<Vec<TimelineEntry>>, ReadError>
        where
            C: $connection,
        {
            if !question.is_read_by_newest(reached) {
                return Ok(None);
            }
            let by_then = match question.until()? {
                Some(until) => {
                    let newest = reached.clone().newest_until(until);
                    Some(Route::found(newest.load::<FoundRow>(conn)$(.$await)??))
                }
                None => None,
            };
            let mut reading = question.reading(by_then.as_ref().unwrap_or(route))?;
            while let Some(newest) = reading.newest()? {
                let changes = newest.load::<AuditChange>(conn)$(.$await)??;
                if !reading.may_be_a_page(&changes) {
                    continue;
                }
                look_up(conn, attributions, &changes)$(.$await)??;
                look_for_gone(conn, attributions, &changes)$(.$await)??;
                if let Some(late) = reading.read_newest(changes, attributions)? {
                    let late = late.load::<Uuid>(conn)$(.$await)??;
                    reading.decide_on_newest(&late);
                }
            }
            Ok(reading.into_page())
        }

        /// A page's rows.
        $($asyncness)? fn rows_of<C>(
            conn: &mut C,
            question: &Timeline,
            route: &Route,
            attributions: &mut Attributions<'_>,
        ) -> Result<Vec<TimelineEntry>, ReadError>
        where
            C: $connection,
        {
            let mut reading = question.reading(route)?;
            while let Some(next) = reading.next()? {
                match next {
                    Next::Changes(changes) => {
                        let changes = changes.load::<AuditChange>(conn)$(.$await)??;
                        look_up(conn, attributions, &changes)$(.$await)??;
                        look_for_gone(conn, attributions, &changes)$(.$await)??;
                        reading.read(changes, attributions);
                    }
                    Next::Places(places) => {
                        let found = places.load::<Found>(conn)$(.$await)??;
                        look_up(conn, attributions, &found)$(.$await)??;
                        if let Some(changes) = reading.changes_at(&found, attributions) {
                            let changes = changes.load::<AuditChange>(conn)$(.$await)??;
                            reading.add(changes, attributions);
                        }
                    }
                }
            }
            Ok(reading.into_rows())
        }

        /// Whether a timeline has any entry.
        $($asyncness)? fn has_any<C>(
            conn: &mut C,
            question: &Timeline,
            route: &Route,
        ) -> Result<bool, ReadError>
        where
            C: $connection,
        {
            let mut reading = question.reading(route)?;
            let mut attributions = question.attributions();
            while let Some(places) = reading.any()? {
                let found = places.load::<Found>(conn)$(.$await)??;
                if reading.is_checked() {
                    look_up(conn, &mut attributions, &found)$(.$await)??;
                }
                if reading.has_any(&found, &attributions) {
                    return Ok(true);
                }
            }
            Ok(false)
        }

        /// Looks up the transactions and actions of changes.
        $($asyncness)? fn look_up<C>(
            conn: &mut C,
            attributions: &mut Attributions<'_>,
            rows: &[impl Attributable + Sync],
        ) -> Result<(), ReadError>
        where
            C: $connection,
        {
            if let Some(wanted) = attributions.of(rows) {
                let found = wanted.load::<LookedUpRow>(conn)$(.$await)??;
                attributions.add(rows, found);
            }
            Ok(())
        }

        /// Looks which of the changes whose transactions were not found are there no more.
        $($asyncness)? fn look_for_gone<C>(
            conn: &mut C,
            attributions: &mut Attributions<'_>,
            changes: &[AuditChange],
        ) -> Result<(), ReadError>
        where
            C: $connection,
        {
            let doubtful = attributions.doubtful(changes);
            if !doubtful.is_empty() {
                let (instants, ids): (Vec<_>, Vec<_>) = doubtful.iter().copied().unzip();
                let there: Vec<i64> = audit_changes::table
                    .select(audit_changes::id)
                    .filter(audit_changes::captured_at.eq_any(instants))
                    .filter(audit_changes::id.eq_any(ids))
                    .load(conn)$(.$await)??;
                attributions.still_there(&doubtful, &there);
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
            let route = match question.reached() {
                Some(reached) => Route::found(reached.load::<FoundRow>(conn)$(.$await)??),
                None => Route::NONE,
            };
            let rows = question.query_by(&route)?.load::<AuditTransaction>(conn)$(.$await)??;
            let mut page = question.page(rows);
            if let Some(paging) = question.paging().behind(&page) {
                let behind = question.with_paging(paging).query_by(&route)?.limit(1);
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
            let changes = match question.route_by(&transactions, &actions) {
                Some(route) => {
                    let mut attributions = asked.attributions();
                    attributions.know(&transactions.entries, &actions.entries);
                    asked.page(rows_of(conn, &asked, &route, &mut attributions)$(.$await)??)
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
            let mut attributions = Attributions::of_all();
            look_up(conn, &mut attributions, &changes)$(.$await)??;
            look_for_gone(conn, &mut attributions, &changes)$(.$await)??;
            Ok(attributions.entries(changes).next())
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
            let changes = asked.changes_alone()?.load::<AuditChange>(conn)$(.$await)??;
            let mut changes = asked.page_of_changes(changes);
            if let Some(paging) = asked.paging().behind(&changes) {
                let behind = asked.with_paging(paging).changes_alone()?;
                if behind.load::<AuditChange>(conn)$(.$await)??.is_empty() {
                    asked.paging().nothing_behind(&mut changes);
                }
            }
            Ok(Some(IncidentBundle::new(transaction, actions, changes)))
        }
    };
}

pub(crate) use answers;
