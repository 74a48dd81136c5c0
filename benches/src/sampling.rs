//! The size of a measurement, and the median of samples.

/// The size of a measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Measured rounds, after one warm-up round.
    pub(crate) rounds: usize,
    /// Transactions per sample of a small workload.
    pub(crate) transactions: i64,
    /// Rows per bulk statement.
    pub(crate) rows: i64,
    /// Seconds per sample of clients.
    pub(crate) seconds: f64,
}

impl Effort {
    /// A full measurement.
    pub(crate) const FULL: Self = Self {
        rounds: 9,
        transactions: 1000,
        rows: 100_000,
        seconds: 2.0,
    };
    /// A rough measurement.
    pub(crate) const QUICK: Self = Self {
        rounds: 5,
        transactions: 200,
        rows: 20_000,
        seconds: 0.4,
    };
}

/// The median, or 0 without samples.
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
    fn the_median_is_the_middle_sample_or_the_mean_of_two() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median(&[]).abs() < f64::EPSILON);
    }
}
