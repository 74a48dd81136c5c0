-- The rows of some tables that a transaction deleted. $1: transaction, $2: schemas, $3: names of the tables,
-- $4: the change to leave out, $5: limit.
SELECT deleted.id, deleted.captured_at, deleted.actor, deleted.table_schema, deleted.table_name, deleted.row_key,
    deleted.changed_from,
    -- A later record that is not a delete means that the key is in use again.
    EXISTS (
        SELECT FROM @threadline@.audit_changes AS later
        WHERE later.table_name = deleted.table_name AND later.table_schema = deleted.table_schema
            AND later.row_key = deleted.row_key AND later.id > deleted.id
    ) AS is_recorded_later
FROM @threadline@.audit_changes AS deleted
JOIN ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) AS included (schema, name)
    ON deleted.table_schema = included.schema AND deleted.table_name = included.name
WHERE deleted.transaction_id = $1 AND deleted.op = 'delete' AND deleted.changed_from IS NOT NULL AND deleted.id <> $4
ORDER BY deleted.id
LIMIT $5
