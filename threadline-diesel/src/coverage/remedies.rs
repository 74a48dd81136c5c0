//! Completes the commands of remedies with facts of the code and of the deployed policies.

use threadline_core::table::{AuditedTable, ColumnRule, TableName};

use super::{CoverageReport, Finding, FindingCode, Remedy};
use crate::policy::DeployedPolicy;

impl CoverageReport {
    /// Completes the commands of remedies: `gen-triggers` names a table that the code does not declare and
    /// its deployed rules; `disable-capture` is refused while the code declares the table.
    ///
    /// ```no_run
    /// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
    /// use threadline_core::registry::registered_tables;
    /// use threadline_diesel::coverage::Coverage;
    /// use threadline_diesel::{coverage, deployed_policies};
    ///
    /// let mut report = coverage(conn, &Coverage::registered()?).await?;
    /// report.complete_remedies(&registered_tables()?, &deployed_policies(conn).await?);
    /// # Ok(()) }
    /// ```
    pub fn complete_remedies(&mut self, declared: &[AuditedTable], deployed: &[DeployedPolicy]) {
        for finding in &mut self.findings {
            complete(finding, declared, deployed);
        }
    }
}

fn complete(finding: &mut Finding, declared: &[AuditedTable], deployed: &[DeployedPolicy]) {
    let (Some(table), Remedy::Command { first, arguments }) = (&finding.table, &mut finding.remedy)
    else {
        return;
    };
    let is_declared = declared.iter().any(|known| known.name() == table);
    match arguments.first().map(String::as_str) {
        Some("disable-capture") if is_declared && first.is_none() => {
            *first = Some("remove Audited from its model".to_owned());
        }
        Some("gen-triggers") if !is_declared => {
            let policy = deployed.iter().find(|policy| &policy.name == table);
            arguments.extend(["--tables".to_owned(), table.to_string()]);
            arguments.extend(policy.map(rule_options).unwrap_or_default());
            *first = advise_new_columns(&finding.code).map(str::to_owned);
        }
        _ => {}
    }
}

/// What to consider before `gen-triggers` stores new columns in clear.
fn advise_new_columns(code: &FindingCode) -> Option<&'static str> {
    match code {
        FindingCode::ColumnUnclassified => {
            Some("add --mask or --exclude for it if it must not be stored in clear")
        }
        FindingCode::ColumnRenamed => {
            Some("add the rule of the old column, if any, for the new one")
        }
        _ => None,
    }
}

/// The redaction rules of a policy as options, for columns that still exist.
fn rule_options(policy: &DeployedPolicy) -> Vec<String> {
    let option = |rule| match rule {
        ColumnRule::Mask => Some("--mask"),
        ColumnRule::MaskKeepNull => Some("--mask-keep-null"),
        ColumnRule::Exclude => Some("--exclude"),
        ColumnRule::Ignore => Some("--ignore"),
        _ => None,
    };
    let columns = policy.declared.as_ref().map(AuditedTable::columns);
    columns
        .unwrap_or_default()
        .iter()
        .filter(|column| policy.present_columns.contains(&column.name))
        .filter_map(|column| Some((option(column.rule)?, column)))
        .flat_map(|(option, column)| {
            // TableName quotes both parts; the schema alone has no type that quotes it.
            let of_schema = TableName::new(policy.name.schema(), "").to_string();
            let schema = of_schema.strip_suffix("\"\"").unwrap_or_default();
            let column = TableName::new(policy.name.name(), &column.name);
            [option.to_owned(), format!("{schema}{column}")]
        })
        .collect()
}
