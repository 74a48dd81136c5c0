//! Any query over audited tables, as of an instant.
//!
//! The query itself is not changed. It is prefixed with common table expressions that have the names of the
//! tables and compute their rows from the trail, and runs in a read-only transaction of its own. If `pg_locks`
//! then shows that the transaction locked a table of the host, the query has read present rows (through a view,
//! a function or a qualified name), and the answer is rejected.

mod errors;
mod facts;
mod query;
mod run;
mod source;

use chrono::{DateTime, Utc};
use threadline_core::Audited;
use threadline_core::registry::{RegistryError, registered_tables};
use threadline_core::row_key::{KeyParts, RowKeyText};
use threadline_core::table::{InvalidTable, TableName};

pub use self::errors::TimeTravelError;
pub use self::query::AsOfQuery;
pub use self::run::{time_travel, time_travel_first};
use crate::query::InvalidHistory;

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

/// An instant, and the tables that a query reads as of it; [`time_travel`](time_travel()) runs the query.
///
/// ```
/// use threadline_diesel::time_travel::TimeTravel;
///
/// let travel = TimeTravel::at("2026-03-01T12:00:00Z".parse()?)
///     .tables(["invoices".parse()?, "payments".parse()?]);
/// # let _ = travel;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// An instant in the future means now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeTravel {
    instant: DateTime<Utc>,
    tables: Vec<TableName>,
    keys: Vec<(TableName, Vec<String>)>,
    unknown: UnknownColumns,
    gaps: Gaps,
}

impl TimeTravel {
    /// Reads as of an instant. Add the tables that the query reads.
    #[must_use]
    pub fn at(instant: DateTime<Utc>) -> Self {
        Self {
            instant,
            tables: Vec::new(),
            keys: Vec::new(),
            unknown: UnknownColumns::Refused,
            gaps: Gaps::Refused,
        }
    }

    /// Adds the table of a model.
    ///
    /// # Errors
    /// [`InvalidTable`] when the model's declaration is wrong.
    pub fn table<M: Audited>(self) -> Result<Self, InvalidTable> {
        Ok(self.tables([M::audited_table()?.name().clone()]))
    }

    /// Adds tables by name. The query must name them without a schema.
    #[must_use]
    pub fn tables(mut self, tables: impl IntoIterator<Item = TableName>) -> Self {
        for table in tables {
            if !self.tables.contains(&table) {
                self.tables.push(table);
            }
        }
        self
    }

    /// Adds the tables of all models that are linked into this program. Tables that the query does not name cost
    /// nothing.
    ///
    /// # Errors
    /// [`RegistryError`] when a declaration is wrong or two models disagree about a table.
    pub fn registered_tables(self) -> Result<Self, RegistryError> {
        let tables = registered_tables()?;
        Ok(self.tables(tables.into_iter().map(|table| table.name().clone())))
    }

    /// Restricts the table of a model to the rows that had these keys at the instant: only their changes are
    /// read. To the query, the table has no other rows.
    ///
    /// ```no_run
    /// # #[derive(Debug)] struct Invoice;
    /// # impl threadline_core::Audited for Invoice {
    /// #     fn audited_table() -> Result<threadline_core::table::AuditedTable, threadline_core::table::InvalidTable> {
    /// #         unimplemented!()
    /// #     }
    /// # }
    /// use threadline_diesel::time_travel::TimeTravel;
    ///
    /// let travel = TimeTravel::at("2026-03-01T12:00:00Z".parse()?).keys::<Invoice>([42, 43])?;
    /// # let _ = travel;
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
            .map(|key| RowKeyText::new(&table, &key))
            .collect();
        Ok(self.table_keys(table.name().clone(), keys?))
    }

    /// Restricts a table by name to rows with these keys.
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

    /// Allows the query to read values that the trail does not have: texts have their placeholder, other values
    /// are NULL. By default such a query is rejected.
    #[must_use]
    pub fn allow_unknown_columns(mut self) -> Self {
        self.unknown = UnknownColumns::Allowed;
        self
    }

    /// Allows the query to read tables whose trail may be incomplete: rows older than capture, changes while
    /// capture was suspended or disabled, rows that a purge removed. The answer is computed from what was
    /// recorded. By default such a query is rejected.
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

    /// The keys that a table is restricted to.
    fn keys_of(&self, table: &TableName) -> Option<Vec<String>> {
        self.keys
            .iter()
            .find(|(narrowed, _)| narrowed == table)
            .map(|(_, keys)| keys.clone())
    }
}
