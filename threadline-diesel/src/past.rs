//! The past, for sync and for async connections: one body, expanded twice.

/// The functions that look back, on connections of a kind.
macro_rules! past {
    ($connection:path, $load:path, $dsl:path, $manager:path $(, $asyncness:ident, $await:ident)?) => {
        use diesel::expression::Expression;
        use diesel::pg::Pg;
        use diesel::prelude::*;
        use diesel::query_builder::{AsQuery, QueryFragment, QueryId};
        use threadline_core::Audited;
        use $dsl;
        use $load as LoadQuery;
        use $manager as TransactionManager;

        use crate::as_of::{
            AsOf, AsOfError, DocumentAsOf, KnownRow, ModelAsOf, SelectImage, StoredAnswer,
            columns_of, unloadable,
        };
        use crate::json::StoredJson;
        use crate::time_travel::{
            AsOfQuery, Journey, SourceRow, TimeTravel, TimeTravelError,
        };

        /// What a row was as of an instant, as the trail stores it.
        ///
        /// # Errors
        /// [`AsOfError`] when the database says no.
        pub $($asyncness)? fn document_as_of<C>(
            conn: &mut C,
            question: &DocumentAsOf,
        ) -> Result<AsOf<StoredJson>, AsOfError>
        where
            C: $connection,
        {
            let stored = question
                .statement()
                .get_result::<StoredAnswer>(conn)$(.$await)??;
            Ok(AsOf::from(stored))
        }

        /// What the row of a model was as of an instant, as the model's struct.
        ///
        /// # Errors
        /// [`AsOfError`] when the struct has no room for what is not known of the row, or the
        /// database says no.
        pub $($asyncness)? fn as_of<'query, C, M>(
            conn: &mut C,
            question: &ModelAsOf<M>,
        ) -> Result<AsOf<M>, AsOfError>
        where
            C: $connection,
            M: Audited + Selectable<Pg> + Send + 'static,
            M::SelectExpression: QueryFragment<Pg> + Expression + QueryId + Send + 'query,
            SelectImage<M::SelectExpression>: LoadQuery<'query, C, M> + 'query,
        {
            let known = match document_as_of(conn, question.document())$(.$await)?? {
                AsOf::Row(known) => known,
                AsOf::Deleted(change) => return Ok(AsOf::Deleted(change)),
                AsOf::NotYetKnown(horizon) => return Ok(AsOf::NotYetKnown(horizon)),
            };
            let table = question.table();
            let without = unloadable(table, &known.unknown);
            let (columns, select) = {
                let selection = M::construct_selection();
                let columns = columns_of(&selection)?;
                (columns, SelectImage::new(table, selection, &known.row, without)?)
            };
            let mut unknown = known.unknown;
            unknown.retain(|unknown| columns.contains(&unknown.column));
            match select.get_result::<M>(conn)$(.$await)? {
                Ok(row) => Ok(AsOf::Row(KnownRow { row, unknown, change: known.change })),
                Err(source @ diesel::result::Error::DeserializationError(_))
                    if !unknown.is_empty() =>
                {
                    Err(AsOfError::Unloadable { table: table.name().clone(), unknown, source })
                }
                Err(error) => Err(error.into()),
            }
        }

        /// What a query gives as of an instant.
        ///
        /// Runs in a transaction, or in a savepoint of the one that is open: what was checked is
        /// what is read.
        ///
        /// # Errors
        /// [`TimeTravelError`] when the answer would not be exact, or the database says no.
        pub $($asyncness)? fn time_travel<'query, C, Q, U>(
            conn: &mut C,
            travel: &TimeTravel,
            query: Q,
        ) -> Result<Vec<U>, TimeTravelError>
        where
            C: $connection,
            Q: AsQuery,
            Q::Query: QueryFragment<Pg> + Send + 'query,
            AsOfQuery<Q::Query>: LoadQuery<'query, C, U> + 'query,
            U: Send,
        {
            let query = query.as_query();
            let outer = <C::TransactionManager as TransactionManager<C>>::transaction_manager_status_mut(conn)
                .transaction_depth()?;
            <C::TransactionManager as TransactionManager<C>>::begin_transaction(conn)$(.$await)??;
            let answer = travelled(conn, travel, query)$(.$await)?;
            let ended = match &answer {
                // Nothing was written. A savepoint is rolled back, so that the transaction around it
                // goes on with the settings it had.
                Ok(_) if outer.is_none() => <C::TransactionManager as TransactionManager<C>>::commit_transaction(conn)$(.$await)?,
                _ => <C::TransactionManager as TransactionManager<C>>::rollback_transaction(conn)$(.$await)?,
            };
            let rows = answer?;
            ended?;
            Ok(rows)
        }

        /// The first row of what a query gives as of an instant: of a count, the count.
        ///
        /// # Errors
        /// As [`time_travel`]; and [`NotFound`](diesel::result::Error::NotFound) where there is
        /// no row.
        pub $($asyncness)? fn time_travel_first<'query, C, Q, U>(
            conn: &mut C,
            travel: &TimeTravel,
            query: Q,
        ) -> Result<U, TimeTravelError>
        where
            C: $connection,
            Q: AsQuery + Send,
            Q::Query: QueryFragment<Pg> + Send + 'query,
            AsOfQuery<Q::Query>: LoadQuery<'query, C, U> + 'query,
            U: Send,
        {
            let rows = time_travel(conn, travel, query)$(.$await)??;
            rows.into_iter()
                .next()
                .ok_or(TimeTravelError::Database(diesel::result::Error::NotFound))
        }

        $($asyncness)? fn travelled<'query, C, Q, U>(
            conn: &mut C,
            travel: &TimeTravel,
            query: Q,
        ) -> Result<Vec<U>, TimeTravelError>
        where
            C: $connection,
            Q: QueryFragment<Pg> + Send + 'query,
            AsOfQuery<Q>: LoadQuery<'query, C, U> + 'query,
            U: Send,
        {
            let rows = travel.sources().load::<SourceRow>(conn)$(.$await)??;
            let mut journey = Journey::new(travel, rows)?;
            let mut query = journey.query(query)?;
            let functions = query.functions().get_result::<Vec<String>>(conn)$(.$await)??;
            if !functions.is_empty() {
                return Err(TimeTravelError::Functions(functions));
            }
            if journey.probe(&mut query) {
                let plan = plan_of(conn, &query)$(.$await)??;
                for (place, of_keys) in journey.narrower(&query, &plan) {
                    journey.narrow(place, of_keys.get_result::<String>(conn)$(.$await)??);
                }
                journey.put_before(&mut query);
            }
            let plan = plan_of(conn, &query)$(.$await)??;
            let present = journey.present(&plan);
            if !present.is_empty() {
                return Err(TimeTravelError::PresentDay(present));
            }
            Ok(query.load::<U>(conn)$(.$await)??)
        }
    };
}

pub(crate) use past;
