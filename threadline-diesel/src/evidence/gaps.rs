//! Gaps: times in which a planned check did not run.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::statements::RunRow;

/// A time in which a check did not run for longer than its results are valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EvidenceGap {
    /// The check.
    pub check: String,
    /// The last run before the gap, or the start of the window.
    pub from: DateTime<Utc>,
    /// The first run after the gap, or the end of the window.
    pub to: DateTime<Utc>,
}

/// The gaps in a window. `runs` are in the order of time, with the last run of each check before the window. Of a
/// check that is not `planned`, the time before its first run is not a gap.
pub(super) fn find_gaps(
    runs: &[RunRow],
    planned: &[&str],
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Vec<EvidenceGap> {
    let mut by_check: BTreeMap<&str, Vec<&RunRow>> = BTreeMap::new();
    for run in runs {
        by_check.entry(&run.check_name).or_default().push(run);
    }
    let checks: BTreeSet<&str> = by_check.keys().chain(planned).copied().collect();
    let mut gaps = Vec::new();
    for check in checks {
        let runs = by_check.get(check).map(Vec::as_slice).unwrap_or_default();
        let mut add = |start: DateTime<Utc>, end: DateTime<Utc>| {
            let start = start.max(from);
            if start < end {
                gaps.push(EvidenceGap {
                    check: check.to_owned(),
                    from: start,
                    to: end,
                });
            }
        };
        let is_unknown = runs.first().is_none_or(|first| first.recorded_at > from);
        if is_unknown && planned.contains(&check) {
            add(from, runs.first().map_or(to, |first| first.recorded_at));
        }
        let ends = runs.iter().skip(1).map(|next| next.recorded_at);
        for (run, end) in runs.iter().zip(ends.chain([to])) {
            if run.valid_until.is_some_and(|until| until < end) {
                add(run.recorded_at, end);
            }
        }
    }
    gaps
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn day(day: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(day * 86_400, 0).unwrap()
    }

    fn run(at: i64) -> RunRow {
        RunRow {
            check_name: "coverage".to_owned(),
            recorded_at: day(at),
            valid_until: Some(day(at) + TimeDelta::hours(36)),
        }
    }

    fn gaps(days: &[i64], planned: &[&str]) -> Vec<(i64, i64)> {
        let runs: Vec<_> = days.iter().copied().map(run).collect();
        let number = |at: DateTime<Utc>| at.timestamp() / 86_400;
        find_gaps(&runs, planned, day(10), day(20))
            .iter()
            .map(|gap| (number(gap.from), number(gap.to)))
            .collect()
    }

    #[test]
    fn a_gap_is_the_time_between_runs_that_exceeds_the_validity() {
        let daily: Vec<_> = (9..=20).collect();
        assert_eq!(gaps(&daily, &["coverage"]), []);
        let missing: Vec<_> = (9..=20).filter(|day| ![13, 14].contains(day)).collect();
        assert_eq!(gaps(&missing, &[]), [(12, 15)]);
        assert_eq!(gaps(&[5], &[]), [(10, 20)]);
        let until_the_start = [vec![5], (10..=20).collect()].concat();
        assert_eq!(gaps(&until_the_start, &["coverage"]), []);
    }

    #[test]
    fn a_planned_check_without_runs_is_a_gap_of_the_whole_window() {
        assert_eq!(gaps(&[], &["coverage"]), [(10, 20)]);
        assert_eq!(gaps(&[], &[]), []);
        assert_eq!(gaps(&[19, 20], &["coverage"]), [(10, 19)]);
        assert_eq!(gaps(&[19, 20], &[]), []);
    }
}
