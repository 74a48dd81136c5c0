//! The numbers of changes of a transaction by table and operation.

use maud::{Markup, html};
use threadline_core::table::TableName;
use threadline_diesel::query::TransactionSummary;
use threadline_diesel::{AuditChange, Op};

use crate::view::op::op;

pub(super) fn table_of(change: &AuditChange) -> TableName {
    TableName::new(&change.table_schema, &change.table_name)
}

fn tables(summary: &TransactionSummary) -> Vec<&TableName> {
    let mut tables: Vec<_> = summary.counts.iter().map(|one| &one.table).collect();
    tables.dedup();
    tables
}

fn sum(summary: &TransactionSummary, is_counted: impl Fn(&TableName, Op) -> bool) -> u64 {
    let counts = summary.counts.iter();
    let counted = counts.filter(|one| is_counted(&one.table, one.op));
    counted.map(|one| one.count).sum()
}

/// The totals in words: `4 changes of 3 tables`.
pub(super) fn summary_line(summary: &TransactionSummary) -> Markup {
    let (changes, tables) = (sum(summary, |_, _| true), tables(summary).len());
    let plural = |count: bool| if count { "" } else { "s" };
    html! {
        @if summary.truncated { "more than " }
        (changes) " change" (plural(changes == 1)) " of " (tables) " table" (plural(tables == 1))
    }
}

/// The numbers as a table.
pub(super) fn op_counts(summary: &TransactionSummary) -> Markup {
    let present = |one: &Op| sum(summary, |_, op| op == *one) > 0;
    let ops: Vec<_> = Op::ALL
        .into_iter()
        .chain([Op::Other])
        .filter(present)
        .collect();
    let count = |table: &TableName, of: Op| sum(summary, |one, op| one == table && op == of);
    let tables = tables(summary);
    html! {
        h2 { "Tables" }
        div.scroll tabindex="0" role="region" aria-label="Changes by table and operation" {
            table.counts {
                thead {
                    tr {
                        th scope="col" { "Table" }
                        @for one in &ops { th.number scope="col" { (op(*one)) } }
                    }
                }
                tbody {
                    @for table in &tables {
                        tr {
                            th scope="row" { bdi { (table) } }
                            @for one in &ops { td.number { (count(table, *one)) } }
                        }
                    }
                    @if tables.len() > 1 {
                        tr {
                            th scope="row" { "All" }
                            @for one in &ops { td.number { (sum(summary, |_, op| op == *one)) } }
                        }
                    }
                }
            }
        }
        @if summary.truncated {
            p.note { "The transaction has more changes. These are the numbers of some of them." }
        }
    }
}
