//! Checks that the deployed policies are the declared ones, and that stored images agree with them.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::pg::Pg;
use diesel::sql_types::{Array, BigInt, Jsonb, Nullable, Text, Timestamptz};
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde_json::{Value, json};
use threadline_core::table::{AuditedTable, ColumnRule, TableName};

use super::list;
use crate::coverage::deployed_policies;
use crate::evidence::EvidenceError;
use crate::evidence::check::{Check, CheckOptions};
use crate::evidence::recording::CheckResult;
use crate::evidence::statements::{Query, query};
use crate::evidence::subject::Outcome;
use crate::json::StoredJson;
use crate::policy::{DeployedPolicy, PolicySources, PolicyStatus, TablePolicy};

/// How many of the newest changes of a table are read.
const SAMPLE: i64 = 1_000;

pub(in crate::evidence) async fn check<C>(
    conn: &mut C,
    options: &CheckOptions,
) -> Result<CheckResult, EvidenceError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let policies = deployed_policies(conn).await?;
    let samples = sample_tables(conn, &policies).await?;
    let declared = options.declared.clone();
    let compared = PolicySources::deployed(policies)
        .declared(declared)
        .compare();
    let drifted: Vec<_> = compared
        .tables
        .iter()
        .filter(|table| is_bad(table))
        .collect();
    let violations: Vec<_> = samples.iter().flat_map(Sample::violations).collect();
    let is_in_order = drifted.is_empty() && violations.is_empty();
    let undeclared = compared
        .tables
        .iter()
        .filter(|table| table.declared.is_none());
    let drifted = drifted
        .iter()
        .map(|table| json!({"table": table.table, "status": table.status}));
    let result = Check::Policy
        .result(Outcome::pass_if(is_in_order))
        .detail("tables", compared.tables.len())
        .detail("undeclared_tables", undeclared.count())
        .detail("policy_differs", list(drifted))
        .detail(
            "sampled_changes",
            samples.iter().map(|sample| sample.row.changes).sum::<i64>(),
        )
        .detail("images_differ", list(violations));
    let first = samples
        .iter()
        .filter_map(|sample| sample.row.first_at)
        .min();
    let last = samples.iter().filter_map(|sample| sample.row.last_at).max();
    Ok(match first.zip(last) {
        Some((first, last)) => result.observed(first, last),
        None => result,
    })
}

/// Whether the policy of a table is not the declared one, or its function is not the generated one. A table that the
/// code does not declare has nothing to compare with.
fn is_bad(table: &TablePolicy) -> bool {
    match table.status {
        PolicyStatus::Matches => false,
        PolicyStatus::Drift => table.declared.is_some(),
        PolicyStatus::CannotTell => true,
    }
}

/// The newest images of a table.
struct Sample {
    table: TableName,
    row: SampleRow,
}

impl Sample {
    /// The columns whose stored values do not agree with their rule.
    fn violations(&self) -> Vec<Value> {
        let columns = self.row.violations.fields().into_iter();
        columns
            .map(|(column, changes)| {
                json!({"table": self.table, "column": column, "changes": changes.read::<i64>().unwrap_or_default()})
            })
            .collect()
    }
}

#[derive(Debug, QueryableByName)]
struct SampleRow {
    #[diesel(sql_type = BigInt)]
    changes: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    first_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    last_at: Option<DateTime<Utc>>,
    /// Column to number of changes.
    #[diesel(sql_type = Jsonb)]
    violations: StoredJson,
}

/// Samples the tables with rules that restrict what is stored.
async fn sample_tables<C>(
    conn: &mut C,
    policies: &[DeployedPolicy],
) -> Result<Vec<Sample>, EvidenceError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let mut samples = Vec::new();
    for table in policies
        .iter()
        .filter_map(|policy| policy.declared.as_ref().ok())
    {
        if let Some(statement) = select_sample(table) {
            let row = statement.get_result::<SampleRow>(conn).await?;
            let table = table.name().clone();
            samples.push(Sample { table, row });
        }
    }
    Ok(samples)
}

/// The statement that samples a table; none if all its columns are stored in clear.
fn select_sample(table: &AuditedTable) -> Option<Query> {
    let names = |rule| -> Vec<String> {
        let columns = table.columns().iter();
        let columns = columns.filter(|column| column.rule == rule);
        columns.map(|column| column.name.clone()).collect()
    };
    let excluded = names(ColumnRule::Exclude);
    let masked = names(ColumnRule::Mask);
    let nullable = names(ColumnRule::MaskKeepNull);
    if excluded.is_empty() && masked.is_empty() && nullable.is_empty() {
        return None;
    }
    let statement = query(include_str!("../sql/sample.sql"))
        .bind::<Text, _>(table.name().schema().to_owned())
        .bind::<Text, _>(table.name().name().to_owned())
        .bind::<BigInt, _>(SAMPLE)
        .bind::<Array<Text>, _>(excluded)
        .bind::<Array<Text>, _>(masked)
        .bind::<Array<Text>, _>(nullable)
        .bind::<Text, _>(table.mask_with().to_owned());
    Some(statement)
}
