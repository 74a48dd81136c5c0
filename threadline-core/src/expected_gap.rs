//! Tables that are deliberately not captured, each with the reason.
//!
//! Gaps are declared in code, beside the models, where a review sees them:
//!
//! ```
//! threadline_core::expected_gap!("search_cache", "rebuilt from the tables every night");
//! threadline_core::expected_gap!("billing.rates", "loaded from a file that is versioned");
//!
//! let gaps = threadline_core::expected_gap::expected_gaps().unwrap();
//! assert_eq!(gaps[1].reason(), "rebuilt from the tables every night");
//! ```

use crate::table::{InvalidTableName, TableName};

/// The table in which Diesel records migrations. It is an expected gap by default, in any schema.
pub const DIESEL_MIGRATIONS_TABLE: &str = "__diesel_schema_migrations";

/// A table that is deliberately not captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedGap {
    table: &'static str,
    reason: &'static str,
}

inventory::collect!(ExpectedGap);

impl ExpectedGap {
    /// Declares a gap. The table is named as on the command line: `table` or `schema.table`, with
    /// parts quoted as in SQL.
    ///
    /// # Panics
    /// If the name or the reason is empty. In [`expected_gap!`], that is a compile error.
    ///
    /// [`expected_gap!`]: crate::expected_gap!
    #[must_use]
    pub const fn new(table: &'static str, reason: &'static str) -> Self {
        assert!(!table.is_empty(), "an expected gap must name a table");
        assert!(!reason.is_empty(), "an expected gap must have a reason");
        Self { table, reason }
    }

    /// Parses the table's name.
    ///
    /// # Errors
    /// [`InvalidTableName`] if the text is not a table name.
    pub fn table(&self) -> Result<TableName, InvalidTableName> {
        self.table.parse()
    }

    /// The reason why the table is not captured.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

/// All expected gaps that are linked into the program, sorted by table. For a table that is declared
/// more than once, the first reason in alphabetical order is returned.
///
/// # Errors
/// [`InvalidTableName`] if a gap does not name a table.
pub fn expected_gaps() -> Result<Vec<ExpectedGap>, InvalidTableName> {
    let mut gaps = Vec::new();
    for gap in inventory::iter::<ExpectedGap> {
        gaps.push((gap.table()?, *gap));
    }
    gaps.sort_by(|(a, left), (b, right)| a.cmp(b).then(left.reason.cmp(right.reason)));
    gaps.dedup_by(|(a, _), (b, _)| a == b);
    Ok(gaps.into_iter().map(|(_, gap)| gap).collect())
}

/// Declares a table that is deliberately not captured, and why. Like `#[derive(Audited)]`, it
/// registers the table at link time.
///
/// ```
/// threadline_core::expected_gap!("sessions", "short-lived; logins are recorded as actions");
/// ```
///
/// A gap without a reason does not compile:
///
/// ```compile_fail
/// threadline_core::expected_gap!("sessions", "");
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! __expected_gap {
    ($table:expr, $reason:expr $(,)?) => {
        $crate::__private::inventory::submit! {
            $crate::expected_gap::ExpectedGap::new($table, $reason)
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::expected_gap!("b.sessions", "short-lived");
    crate::expected_gap!("b.sessions", "again");
    crate::expected_gap!("\"A\".\"t.1\"", "odd");

    #[test]
    fn gaps_are_sorted_and_deduplicated() {
        let gaps: Vec<_> = expected_gaps()
            .unwrap()
            .iter()
            .map(|gap| (gap.table().unwrap().to_string(), gap.reason()))
            .collect();
        assert_eq!(
            gaps,
            [
                ("\"A\".\"t.1\"".to_owned(), "odd"),
                ("b.sessions".to_owned(), "again")
            ]
        );
    }
}
