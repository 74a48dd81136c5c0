//! The checks of the doctor.

use maud::{Markup, html};
use threadline_diesel::doctor::{Check, CheckStatus, DoctorReport};

/// The checks: those that need action first.
pub(super) fn doctor_table(report: &DoctorReport) -> Markup {
    let mut checks: Vec<_> = report.checks.iter().collect();
    checks.sort_by_key(|check| std::cmp::Reverse(check.status));
    html! {
        section {
            h2 { "Doctor" }
            p.note { "Connection, server and trail, as the console's connections see them." }
            div.scroll tabindex="0" role="region" aria-label="Checks of the doctor" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Check" }
                            th scope="col" { "Result" }
                            th scope="col" { "Found" }
                        }
                    }
                    tbody { @for check in checks { (row(check)) } }
                }
            }
        }
    }
}

fn row(check: &Check) -> Markup {
    let is_error = check.status == CheckStatus::Fail;
    let is_warning = check.status == CheckStatus::Warn;
    html! {
        tr {
            th scope="row" { (check.id.replace('_', " ")) }
            td { span.badge.error[is_error].warning[is_warning] { (check.status.as_str()) } }
            td {
                bdi { (check.text) }
                @if let Some(hint) = &check.hint { div.note { bdi { (hint) } } }
            }
        }
    }
}
