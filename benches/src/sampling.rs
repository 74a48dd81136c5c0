//! How much is measured, and what is made of the samples.

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Times that every variant has its turn; one more goes before, to warm up.
    pub(crate) rounds: usize,
    /// Transactions in a sample of a small workload.
    pub(crate) transactions: i64,
    /// Rows of a bulk statement.
    pub(crate) rows: i64,
    /// How long clients run for one sample.
    pub(crate) seconds: f64,
}

impl Effort {
    /// A measurement.
    pub(crate) const FULL: Self = Self {
        rounds: 9,
        transactions: 1000,
        rows: 100_000,
        seconds: 2.0,
    };
    /// A look.
    pub(crate) const QUICK: Self = Self {
        rounds: 5,
        transactions: 200,
        rows: 20_000,
        seconds: 0.4,
    };
}

/// The median; 0 of nothing.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.len() % 2, sorted.as_slice()) {
        (_, []) => 0.0,
        (1, all) => all[middle],
        (_, all) => f64::midpoint(all[middle - 1], all[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median(&[]).abs() < f64::EPSILON);
    }
}
