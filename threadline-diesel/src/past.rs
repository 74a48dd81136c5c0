//! A row as of an instant, for sync and for async connections: one body, expanded twice.

/// The functions on connections of a kind.
macro_rules! past {
    ($connection:path, $load:path, $dsl:path $(, $asyncness:ident, $await:ident)?) => {
        use diesel::expression::Expression;
        use diesel::pg::Pg;
        use diesel::prelude::*;
        use diesel::query_builder::{QueryFragment, QueryId};
        use threadline_core::Audited;
        use $dsl;
        use $load as LoadQuery;

        use crate::as_of::{
            AsOf, AsOfError, DocumentAsOf, KnownRow, ModelAsOf, SelectImage, StoredAnswer, selected,
            unloadable,
        };
        use crate::json::StoredJson;

        /// What a row was as of an instant, as the trail stores it.
        ///
        /// # Errors
        /// [`AsOfError`] when the database reports an error.
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
        /// database reports an error.
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
            let (unknown, select) = {
                let selection = M::construct_selection();
                let unknown = selected(table, &selection, known.unknown)?;
                (unknown, SelectImage::new(table, selection, &known.row, without)?)
            };
            match select.get_result::<M>(conn)$(.$await)? {
                Ok(row) => Ok(AsOf::Row(KnownRow {
                    row,
                    unknown,
                    change: known.change,
                    later: known.later,
                })),
                Err(source @ diesel::result::Error::DeserializationError(_))
                    if !unknown.is_empty() =>
                {
                    Err(AsOfError::Unloadable { table: table.name().clone(), unknown, source })
                }
                Err(error) => Err(error.into()),
            }
        }
    };
}

pub(crate) use past;
