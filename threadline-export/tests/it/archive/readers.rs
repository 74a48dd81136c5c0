//! Other engines read the files, and run the SQL of the guide.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Site, day};
use crate::read_back::{python_with_readers, write_hard_values};

/// The rows as texts, as the files have them.
const EXPECTED: &str = "SELECT json_build_object(
    'changes', (SELECT json_agg(json_build_object(
        'id', id, 'captured_at', (extract(epoch FROM captured_at) * 1000000)::bigint, 'transaction_id', transaction_id,
        'action_id', action_id, 'command_id', command_id, 'actor', actor, 'op', op, 'table_schema', table_schema,
        'table_name', table_name, 'row_key', row_key, 'previous_key', previous_key, 'table_pk', table_pk::text,
        'data_after', data_after::text, 'changed_from', changed_from::text, 'partition_name', partition_name
    ) ORDER BY id) FROM threadline.audit_changes),
    'transactions', (SELECT json_agg(json_build_object(
        'id', id, 'occurred_at', (extract(epoch FROM occurred_at) * 1000000)::bigint, 'context', context::text,
        'xid', xid::text, 'db_user', db_user, 'client_addr', to_json(client_addr), 'backend_pid', backend_pid
    ) ORDER BY id) FROM threadline.audit_transactions),
    'actions', (SELECT json_agg(json_build_object(
        'id', id, 'order_id', order_id, 'recorded_at', (extract(epoch FROM recorded_at) * 1000000)::bigint,
        'name', name, 'reason', reason, 'meta', meta::text, 'correlation_id', correlation_id
    ) ORDER BY id) FROM threadline.audit_actions)
)::text";

/// The SQL blocks of the guide for `DuckDB`.
fn guide_sql() -> Vec<String> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guides/archive.md");
    let guide = fs::read_to_string(guide).expect("the guide");
    let blocks = guide
        .split("<!-- not run: SQL of DuckDB -->\n```sql\n")
        .skip(1);
    blocks
        .map(|block| block.split("```").next().expect("an end"))
        .map(|block| {
            // The days of the test; the table was truncated the day before yesterday.
            block
                .replace("2026-11-01", &day(9).to_string())
                .replace("2026-11-30", &day(0).to_string())
                .replace("2026-11-29 12:00:00", &format!("{} 23:59:59", day(3)))
        })
        .collect()
}

#[test]
fn pyarrow_and_duckdb_read_the_files_and_duckdb_runs_the_sql_of_the_guide() {
    let Some(python) = python_with_readers() else {
        return;
    };
    let site = Site::unsealed();
    write_hard_values(&site.trail);
    let existing = site.trail.query(
        "INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name, row_key, data_after)
         SELECT nextval('threadline.audit_changes_id_seq'), captured_at, transaction_id, 'baseline', 'public', 'rows', E'7\\n',
             data_after || '{\"\": \"\\u0001\", \"a/b\": -0.0}'
         FROM threadline.audit_changes WHERE op = 'insert' AND data_after IS NOT NULL LIMIT 1 RETURNING op",
    );
    assert_eq!(existing, "baseline");
    site.age(1);
    site.begin_seals();
    assert_eq!(site.archive().days.len(), 4);
    assert!(site.verify().verified);
    let expected = site.path().join("expected.json");
    fs::write(&expected, site.trail.query(EXPECTED)).unwrap();
    let sql = site.path().join("guide.json");
    let blocks = guide_sql();
    assert_eq!(blocks.len(), 3, "timeline, history, as of");
    fs::write(&sql, serde_json::to_string(&blocks).unwrap()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/archive/readers.py");
    let output = Command::new(python)
        .arg(script)
        .args([site.path(), &expected, &sql])
        .output()
        .expect("python");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
