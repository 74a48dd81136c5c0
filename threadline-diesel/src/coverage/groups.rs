//! Findings grouped by their remedy.

use threadline_core::table::TableName;

use super::finding::{Finding, Remedy};
use super::report::CoverageReport;

/// Findings with the same remedy, to show it once.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::coverage::{Coverage, coverage};
///
/// let report = coverage(conn, &Coverage::registered()?).await?;
/// for group in report.findings_by_remedy() {
///     for (finding, tables) in group.explanations() {
///         println!("{tables:?}: {}", finding.explanation);
///     }
///     for remedy in &group.remedies {
///         println!("    {remedy}");
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FindingGroup<'a> {
    /// The findings, in the order of the report.
    pub findings: Vec<&'a Finding>,
    /// The distinct remedies. Commands for several tables are merged into one.
    pub remedies: Vec<Remedy>,
}

impl<'a> FindingGroup<'a> {
    /// The distinct explanations: the first finding of each, with the tables of all findings that have it.
    #[must_use]
    pub fn explanations(&self) -> Vec<(&'a Finding, Vec<&'a TableName>)> {
        let mut explanations: Vec<(&Finding, Vec<&TableName>)> = Vec::new();
        for finding in &self.findings {
            let known = explanations
                .iter_mut()
                .find(|(first, _)| has_same_explanation(first, finding));
            match known {
                Some((_, tables)) => tables.extend(&finding.table),
                None => explanations.push((finding, finding.table.iter().collect())),
            }
        }
        explanations
    }
}

impl CoverageReport {
    /// The findings in groups: those with the same remedy, or the same command for different tables, and those
    /// with the same explanation for different tables. The groups are in the order of their first findings.
    #[must_use]
    pub fn findings_by_remedy(&self) -> Vec<FindingGroup<'_>> {
        group_by_remedy(&self.findings)
    }
}

fn has_same_explanation(one: &Finding, other: &Finding) -> bool {
    one.severity == other.severity && one.code == other.code && one.explanation == other.explanation
}

fn group_by_remedy(findings: &[Finding]) -> Vec<FindingGroup<'_>> {
    let mut groups: Vec<FindingGroup<'_>> = Vec::new();
    for finding in findings {
        let remedy = &finding.remedy;
        let known = groups.iter_mut().find(|group| {
            let first = group.findings[0];
            let has_same_remedy = first.severity == finding.severity
                && (group.remedies == [remedy.clone()]
                    || first.code == finding.code
                        && merge_commands(&first.remedy, remedy).is_some());
            has_same_explanation(first, finding) || has_same_remedy
        });
        let Some(group) = known else {
            groups.push(FindingGroup {
                findings: vec![finding],
                remedies: vec![remedy.clone()],
            });
            continue;
        };
        group.findings.push(finding);
        if group.remedies.contains(remedy) {
            continue;
        }
        let merged = group.remedies.iter_mut().find_map(|known| {
            let merged = merge_commands(known, remedy)?;
            Some((known, merged))
        });
        match merged {
            Some((known, merged)) => *known = merged,
            None => group.remedies.push(remedy.clone()),
        }
    }
    groups
}

/// One command instead of two that differ in tables and their rules.
fn merge_commands(one: &Remedy, other: &Remedy) -> Option<Remedy> {
    let (
        Remedy::Command { first, arguments },
        Remedy::Command {
            first: other_first,
            arguments: other_arguments,
        },
    ) = (one, other)
    else {
        return None;
    };
    let mut merged = arguments.clone();
    match (arguments.as_slice(), other_arguments.as_slice()) {
        _ if first != other_first => return None,
        ([command, option, _, ..], [other, same, tables, rules @ ..])
            if command == "gen-triggers" && command == other && option == same =>
        {
            if !merged[2].split(',').any(|table| table == tables) {
                merged[2] = format!("{},{tables}", merged[2]);
                merged.extend_from_slice(rules);
            }
        }
        ([command, _, ..], [other, tables @ ..])
            if command != "gen-triggers" && command == other && !tables.is_empty() =>
        {
            for table in tables {
                if !merged.contains(table) {
                    merged.push(table.clone());
                }
            }
        }
        _ => return None,
    }
    Some(Remedy::Command {
        first: first.clone(),
        arguments: merged,
    })
}
