//! Any query over audited tables, as of an instant.
//!
//! The query is not changed: the tables it reads are. In front of it stand common table expressions
//! with the tables' names, whose rows are made from the trail, or from the tables as they are now and
//! what the trail knows of the time since. Before the query runs, PostgreSQL is asked for its plan, and
//! a query that would read anything else is refused.

mod errors;
mod journey;
mod narrowing;
mod plan;
mod sources;

use chrono::{DateTime, Utc};
use threadline_core::Audited;
use threadline_core::registry::{RegistryError, registered_tables};
use threadline_core::table::{InvalidTable, TableName};

pub use self::errors::TimeTravelError;
pub use self::journey::AsOfQuery;
pub(crate) use self::journey::{Check, Journey};
pub(crate) use self::sources::{SourceRow, TableSources};

/// Begins a journey to an instant: say next which tables the query reads.
///
/// ```
/// use threadline_diesel::time_travel::time_travel;
///
/// let then = time_travel("2026-03-01T12:00:00Z".parse()?)
///     .tables(["invoices".parse()?, "billing.payments".parse()?]);
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
        unknown: UnknownColumns::Refused,
        way: Way::Shortest,
    }
}

/// Whether a query may read columns whose values were not captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnknownColumns {
    Refused,
    Allowed,
}

/// From what the past is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Rows that were not changed since are read from the table, where that is certain.
    Shortest,
    TrailOnly,
}

/// An instant, and the tables that are to be seen as of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeTravel {
    instant: DateTime<Utc>,
    tables: Vec<TableName>,
    unknown: UnknownColumns,
    way: Way,
}

impl TimeTravel {
    /// The table of a model.
    ///
    /// # Errors
    /// [`InvalidTable`] when the model's declaration is wrong.
    pub fn table<M: Audited>(self) -> Result<Self, InvalidTable> {
        Ok(self.tables([M::audited_table()?.name().clone()]))
    }

    /// Tables by their names.
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
    /// cost anything, but all must be known as of the instant.
    ///
    /// # Errors
    /// [`RegistryError`] when a declaration is wrong or two models disagree about a table.
    pub fn registered_tables(self) -> Result<Self, RegistryError> {
        let tables = registered_tables()?;
        Ok(self.tables(tables.into_iter().map(|table| table.name().clone())))
    }

    /// Lets the query read columns whose values were not captured: texts hold the placeholder that
    /// was stored, everything else is NULL. Otherwise such a query is refused.
    #[must_use]
    pub fn allow_unknown_columns(mut self) -> Self {
        self.unknown = UnknownColumns::Allowed;
        self
    }

    /// Makes the answer from the trail alone: what was recorded, whatever the tables hold now.
    /// Slower. For who suspects that something was written past capture; rows that are older than
    /// the trail are not in the answer.
    #[must_use]
    pub fn trail_only(mut self) -> Self {
        self.way = Way::TrailOnly;
        self
    }

    /// The instant.
    #[must_use]
    pub fn instant(&self) -> DateTime<Utc> {
        self.instant
    }

    pub(crate) fn sources(&self) -> TableSources {
        let parts = |part: fn(&TableName) -> &str| {
            self.tables
                .iter()
                .map(|table| part(table).to_owned())
                .collect()
        };
        TableSources {
            schemas: parts(TableName::schema),
            names: parts(TableName::name),
            instant: self.instant,
            allow_unknown: self.unknown == UnknownColumns::Allowed,
            trail_only: self.way == Way::TrailOnly,
        }
    }
}
