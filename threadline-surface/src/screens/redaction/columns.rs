//! The columns of a table with their rules.

use maud::{Markup, html};
use threadline_core::table::{ColumnRule, TableName};
use threadline_diesel::policy::{ColumnComparison, ColumnPolicy, PolicyStatus};

/// Every column: declared, deployed, and what that means. `unclassified` are the columns that the deployed
/// policy does not name.
pub(super) fn column_table(
    table: &TableName,
    columns: &[ColumnComparison],
    unclassified: &[&str],
) -> Markup {
    let is_listed = |name: &&&str| columns.iter().any(|column| column.name == **name);
    html! {
        div.scroll tabindex="0" role="region" aria-label={ "Columns of " (table) } {
            table {
                thead {
                    tr {
                        th scope="col" { "Column" }
                        th scope="col" { "Declared" }
                        th scope="col" { "Deployed" }
                        th scope="col" { "Note" }
                    }
                }
                tbody {
                    @for column in columns { (row(column, unclassified.contains(&column.name.as_str()))) }
                    @for name in unclassified.iter().filter(|name| !is_listed(name)) {
                        tr {
                            th scope="row" { bdi { (name) } }
                            td { "–" }
                            td { "–" }
                            td { (unclassified_note()) }
                        }
                    }
                }
            }
        }
    }
}

fn unclassified_note() -> Markup {
    html! { span.token.warning { "unclassified" } " not stored until a policy with it is deployed" }
}

fn row(column: &ColumnComparison, is_unclassified: bool) -> Markup {
    html! {
        tr {
            th scope="row" { bdi { (column.name) } }
            td { (rule(column.declared.as_ref())) }
            td { (rule(column.deployed.as_ref())) }
            td {
                @if is_unclassified { (unclassified_note()) } @else { (note(column)) }
            }
        }
    }
}

fn rule(policy: Option<&ColumnPolicy>) -> &'static str {
    match policy.map(|policy| policy.rule) {
        None => "–",
        Some(ColumnRule::Clear) => "stored",
        Some(ColumnRule::Mask) => "masked",
        Some(ColumnRule::MaskKeepNull) => "masked, NULL kept",
        Some(ColumnRule::Exclude) => "not stored",
        Some(ColumnRule::Ignore) => "stored, not recorded alone",
        Some(_) => "another rule",
    }
}

/// Whether the values of a column are in the trail.
fn is_stored(policy: Option<&ColumnPolicy>) -> bool {
    policy.is_some_and(|policy| matches!(policy.rule, ColumnRule::Clear | ColumnRule::Ignore))
}

fn note(column: &ColumnComparison) -> Markup {
    let (declared, deployed) = (column.declared.as_ref(), column.deployed.as_ref());
    if column.status != PolicyStatus::Drift {
        return meaning(deployed.or(declared));
    }
    let rules = declared
        .map(|one| one.rule)
        .zip(deployed.map(|one| one.rule));
    html! {
        span.token.warning { "differs" } " "
        @match rules {
            None if declared.is_some() => "declared, not deployed: nothing of it is stored yet",
            None => "deployed, not declared",
            Some((one, other)) if one == other => "another type",
            Some(_) if is_stored(deployed) && !is_stored(declared) => {
                "values are stored in clear now, against the declaration"
            }
            Some(_) if !is_stored(deployed) && is_stored(declared) => "values are not stored yet",
            Some(_) => "another rule",
        }
    }
}

fn meaning(policy: Option<&ColumnPolicy>) -> Markup {
    html! {
        @match policy.map(|policy| policy.rule) {
            Some(ColumnRule::Mask | ColumnRule::MaskKeepNull) => "a change of the value is still recorded",
            Some(ColumnRule::Exclude | ColumnRule::Ignore) => "an update of nothing else is not recorded",
            _ => "",
        }
    }
}
