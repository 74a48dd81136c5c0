//! What a plan reads.

use serde_json::Value;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

/// The tables that a plan (of `EXPLAIN (VERBOSE, FORMAT JSON)`) reads besides the trail, each once,
/// as they are to be shown.
///
/// A relation that is not in the plan is not read, so it cannot show in the answer. Views are
/// replaced by what is behind them before there is a plan.
pub(crate) fn tables_read(plan: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(plan, &mut found);
    found.sort();
    found.dedup();
    found
}

fn collect(node: &Value, found: &mut Vec<String>) {
    match node {
        Value::Array(nodes) => nodes.iter().for_each(|node| collect(node, found)),
        Value::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str);
            match (text("Relation Name"), text("Node Type")) {
                (Some(name), _) => {
                    let schema = text("Schema").unwrap_or_default();
                    if schema != STORAGE_SCHEMA || !is_changes(name) {
                        found.push(TableName::new(schema, name).to_string());
                    }
                }
                // A join that is done elsewhere names no single table.
                (None, Some(kind @ ("Foreign Scan" | "Custom Scan"))) => {
                    found.push(kind.to_lowercase());
                }
                _ => {}
            }
            fields.values().for_each(|value| collect(value, found));
        }
        _ => {}
    }
}

/// `audit_changes` or a partition of it: what tables as of an instant are made of.
fn is_changes(name: &str) -> bool {
    name.strip_prefix("audit_changes")
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
            tables_read(&plan),
            [
                "foreign scan".to_owned(),
                "public.orders".to_owned(),
                format!("{STORAGE_SCHEMA}.audit_actions"),
            ]
        );
    }
}
