//! Any query over audited tables, as of an instant.
//!
//! The query is not changed: in front of it stand common table expressions with the names of the tables,
//! whose rows are made from the trail. It runs in a read-only transaction of its own. If PostgreSQL then
//! shows that the transaction locked a table of the host, the query has read the present (by a view, a
//! function, a name with a schema), and the answer is refused.

mod errors;
mod facts;
mod query;
pub(crate) mod run;
mod source;

use chrono::{DateTime, Utc};
use threadline_core::Audited;
use threadline_core::registry::{RegistryError, registered_tables};
use threadline_core::row_key::{KeyParts, RowKeyText};
use threadline_core::table::{InvalidTable, TableName};

pub use self::errors::TimeTravelError;
pub use self::query::AsOfQuery;
use crate::history::InvalidHistory;

/// An instant; say next which tables the query reads.
///
/// ```
/// use threadline_diesel::time_travel::time_travel;
///
/// let then = time_travel("2026-03-01T12:00:00Z".parse()?)
///     .tables(["invoices".parse()?, "payments".parse()?]);
/// # let _ = then;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// An instant in the future means now.
#[must_use]
pub fn time_travel(instant: DateTime<Utc>) -> TimeTravel {
    TimeTravel {
        instant,
        tables: Vec::new(),
        keys: Vec::new(),
        unknown: UnknownColumns::Refused,
        gaps: Gaps::Refused,
    }
}

/// Whether a query may read values that the trail does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnknownColumns {
    Refused,
    Allowed,
}

/// Whether a query may read tables of which the trail does not have every change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gaps {
    Refused,
    Allowed,
}

/// An instant, and the tables that are to be seen as of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeTravel {
    instant: DateTime<Utc>,
    tables: Vec<TableName>,
    keys: Vec<(TableName, Vec<String>)>,
    unknown: UnknownColumns,
    gaps: Gaps,
}

impl TimeTravel {
    /// The table of a model.
    ///
    /// # Errors
    /// [`InvalidTable`] when the model's declaration is wrong.
    pub fn table<M: Audited>(self) -> Result<Self, InvalidTable> {
        Ok(self.tables([M::audited_table()?.name().clone()]))
    }

    /// Tables by their names. The query names them without a schema.
    #[must_use]
    pub fn tables(mut self, tables: impl IntoIterator<Item = TableName>) -> Self {
        for table in tables {
            if !self.tables.contains(&table) {
                self.tables.push(table);
            }
        }
        self
    }

    /// The tables of every model that is linked into this program. Only those that the query names
    /// cost anything.
    ///
    /// # Errors
    /// [`RegistryError`] when a declaration is wrong or two models disagree about a table.
    pub fn registered_tables(self) -> Result<Self, RegistryError> {
        let tables = registered_tables()?;
        Ok(self.tables(tables.into_iter().map(|table| table.name().clone())))
    }

    /// Narrows the table of a model to the rows with these keys, as they were at the instant: only their
    /// changes are read. To the query, the table has no other rows.
    ///
    /// ```no_run
    /// # #[derive(Debug)] struct Invoice;
    /// # impl threadline_core::Audited for Invoice {
    /// #     fn audited_table() -> Result<threadline_core::table::AuditedTable, threadline_core::table::InvalidTable> {
    /// #         unimplemented!()
    /// #     }
    /// # }
    /// use threadline_diesel::time_travel::time_travel;
    ///
    /// let then = time_travel("2026-03-01T12:00:00Z".parse()?).keys::<Invoice>([42, 43])?;
    /// # let _ = then;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidHistory`] when a key has not the number of columns that the model's table has.
    pub fn keys<M: Audited>(
        self,
        keys: impl IntoIterator<Item = impl KeyParts>,
    ) -> Result<Self, InvalidHistory> {
        let table = M::audited_table()?;
        let keys: Result<Vec<_>, _> = keys
            .into_iter()
            .map(|key| RowKeyText::of(&table, &key))
            .collect();
        Ok(self.table_keys(table.name().clone(), keys?))
    }

    /// The same for a table by its name.
    #[must_use]
    pub fn table_keys(
        mut self,
        table: TableName,
        keys: impl IntoIterator<Item = RowKeyText>,
    ) -> Self {
        let keys = keys.into_iter().map(|key| key.as_str().to_owned());
        match self.keys.iter_mut().find(|(known, _)| *known == table) {
            Some((_, known)) => known.extend(keys),
            None => self.keys.push((table.clone(), keys.collect())),
        }
        self.tables([table])
    }

    /// Lets the query read values that the trail does not have: texts hold the placeholder that was
    /// stored, everything else is NULL. Otherwise such a query is refused.
    #[must_use]
    pub fn allow_unknown_columns(mut self) -> Self {
        self.unknown = UnknownColumns::Allowed;
        self
    }

    /// Lets the query read tables of which the trail may not have every row or change: rows that are
    /// older than capture, changes while capture was suspended or disabled, rows that a purge removed.
    /// The answer is then made from what was recorded. Otherwise such a query is refused.
    #[must_use]
    pub fn allow_incomplete(mut self) -> Self {
        self.gaps = Gaps::Allowed;
        self
    }

    /// The instant.
    #[must_use]
    pub fn instant(&self) -> DateTime<Utc> {
        self.instant
    }

    /// The keys that a table is narrowed to.
    fn keys_of(&self, table: &TableName) -> Option<Vec<String>> {
        self.keys
            .iter()
            .find(|(narrowed, _)| narrowed == table)
            .map(|(_, keys)| keys.clone())
    }
}
