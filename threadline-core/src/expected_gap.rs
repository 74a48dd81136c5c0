//! Tables that are knowingly not captured, each with the reason.
//!
//! Declared in code, beside the models, so that a review sees them:
//!
//! ```
//! threadline_core::expected_gap!("search_cache", "rebuilt from the tables every night");
//! threadline_core::expected_gap!("billing.rates", "loaded from a file that is versioned");
//!
//! let gaps = threadline_core::expected_gap::expected_gaps().unwrap();
//! assert_eq!(gaps[1].reason(), "rebuilt from the tables every night");
//! ```

use crate::table::{InvalidTableName, TableName};

/// The table in which Diesel notes the host's migrations, whatever its schema: expected by default.
pub const DIESEL_MIGRATIONS_TABLE: &str = "__diesel_schema_migrations";

/// A table that is knowingly not captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedGap {
    table: &'static str,
    reason: &'static str,
}

inventory::collect!(ExpectedGap);

impl ExpectedGap {
    /// A table, named as on the command line (`table`, `schema.table`, parts quoted as in SQL), and
    /// why it is not captured.
    ///
    /// # Panics
    /// When the name or the reason is empty; in a constant, and so in [`expected_gap!`], that stops
    /// the build.
    ///
    /// [`expected_gap!`]: crate::expected_gap!
    #[must_use]
    pub const fn new(table: &'static str, reason: &'static str) -> Self {
        assert!(!table.is_empty(), "an expected gap names a table");
        assert!(!reason.is_empty(), "an expected gap says why");
        Self { table, reason }
    }

    /// The table.
    ///
    /// # Errors
    /// [`InvalidTableName`] when the text names none.
    pub fn table(&self) -> Result<TableName, InvalidTableName> {
        self.table.parse()
    }

    /// Why it is not captured.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

/// Every expected gap that was linked into this program, sorted by name. Where one table is named
/// more than once, the first reason in alphabetical order counts.
///
/// # Errors
/// [`InvalidTableName`] when one names no table.
pub fn expected_gaps() -> Result<Vec<ExpectedGap>, InvalidTableName> {
    let mut gaps = Vec::new();
    for gap in inventory::iter::<ExpectedGap> {
        gaps.push((gap.table()?, *gap));
    }
    gaps.sort_by(|(a, left), (b, right)| a.cmp(b).then(left.reason.cmp(right.reason)));
    gaps.dedup_by(|(a, _), (b, _)| a == b);
    Ok(gaps.into_iter().map(|(_, gap)| gap).collect())
}

/// Declares a table that is knowingly not captured, and why; registered at link time, as
/// `#[derive(Audited)]` registers tables that are.
///
/// ```
/// threadline_core::expected_gap!("sessions", "they live for an hour and prove nothing");
/// ```
///
/// A gap without a reason does not compile:
///
/// ```compile_fail
/// threadline_core::expected_gap!("sessions", "");
/// ```
#[macro_export]
macro_rules! expected_gap {
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
    fn gaps_are_collected_once_each_and_sorted() {
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
