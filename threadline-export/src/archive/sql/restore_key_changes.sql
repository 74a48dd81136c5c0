INSERT INTO @threadline@.audit_key_changes (
    change_id, captured_at, transaction_id, table_schema, table_name, row_key, previous_key
)
SELECT id, captured_at, transaction_id, table_schema, table_name, row_key, previous_key
FROM @table@ WHERE previous_key IS NOT NULL
