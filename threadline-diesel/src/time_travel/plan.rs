//! What a plan reads.

use serde_json::Value;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

/// What a table is called where it is read on purpose. PostgreSQL adds numbers to tell several
/// places apart.
const AS_IT_IS_NOW: &str = "as it is now";

/// The tables that a plan (of `EXPLAIN (VERBOSE, FORMAT JSON)`) reads besides the trail, each once,
/// as they are to be shown. What stands for a table that is `rewound` reads that very table, on
/// purpose and under a name that says so; that is no finding.
///
/// A relation that is not in the plan is not read, so it cannot show in the answer. Views are
/// replaced by what is behind them before there is a plan.
pub(crate) fn tables_read(plan: &Value, rewound: &[&TableName]) -> Vec<String> {
    let mut found = Vec::new();
    collect(plan, rewound, &mut found);
    found.sort();
    found.dedup();
    found
}

/// Whether a node of a plan reads a table on purpose.
pub(super) fn is_on_purpose(alias: &str) -> bool {
    alias.strip_prefix(AS_IT_IS_NOW).is_some_and(|rest| {
        rest.is_empty()
            || rest
                .strip_prefix('_')
                .is_some_and(|number| number.bytes().all(|digit| digit.is_ascii_digit()))
    })
}

fn collect(node: &Value, rewound: &[&TableName], found: &mut Vec<String>) {
    match node {
        Value::Array(nodes) => nodes.iter().for_each(|node| collect(node, rewound, found)),
        Value::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str);
            match (text("Relation Name"), text("Node Type")) {
                (Some(name), _) => {
                    let table = TableName::new(text("Schema").unwrap_or_default(), name);
                    let expected = rewound.contains(&&table)
                        && is_on_purpose(text("Alias").unwrap_or_default());
                    if !expected && (table.schema() != STORAGE_SCHEMA || !is_changes(name)) {
                        found.push(table.to_string());
                    }
                }
                // A join that is done elsewhere names no single table.
                (None, Some(kind @ ("Foreign Scan" | "Custom Scan"))) => {
                    found.push(kind.to_lowercase());
                }
                _ => {}
            }
            fields
                .values()
                .for_each(|value| collect(value, rewound, found));
        }
        _ => {}
    }
}

/// `audit_changes` or a partition of it, or `audit_renames`: what tables as of an instant are made of.
fn is_changes(name: &str) -> bool {
    name == "audit_renames"
        || name
            .strip_prefix("audit_changes")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_relation_of_a_plan_is_found_but_the_trail() {
        let plan = serde_json::json!([{"Plan": {
            "Node Type": "Hash Join", "Plans": [
                {"Node Type": "Seq Scan", "Relation Name": "audit_changes_2026_11", "Schema": STORAGE_SCHEMA},
                {"Node Type": "Seq Scan", "Relation Name": "audit_actions", "Schema": STORAGE_SCHEMA},
                {"Node Type": "Aggregate", "Plans": [
                    {"Node Type": "Index Scan", "Relation Name": "orders", "Schema": "public"},
                    {"Node Type": "Index Scan", "Relation Name": "orders", "Schema": "public"},
                    {"Node Type": "Foreign Scan", "Relations": "(a) JOIN (b)"}
                ]}
            ]
        }}]);
        assert_eq!(
            tables_read(&plan, &[]),
            [
                "foreign scan".to_owned(),
                "public.orders".to_owned(),
                format!("{STORAGE_SCHEMA}.audit_actions"),
            ]
        );
    }

    #[test]
    fn only_a_rewound_table_under_its_name_is_read_on_purpose() {
        let scan = |table: &str, alias: &str| serde_json::json!({"Relation Name": table, "Schema": "public", "Alias": alias});
        let rewound = TableName::new("public", "orders");
        for (node, expected) in [
            (scan("orders", "as it is now"), true),
            (scan("orders", "as it is now_1"), true),
            (scan("orders", "orders"), false),
            (scan("orders", "as it is nowadays"), false),
            (scan("customers", "as it is now"), false),
        ] {
            assert_eq!(
                tables_read(&node, &[&rewound]).is_empty(),
                expected,
                "{node}"
            );
        }
    }
}
