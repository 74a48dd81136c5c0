-- Whether new changes get ids after those of old ones: not where rows were brought here without their
-- sequence. The newest changes are looked at.
SELECT 'error' AS severity, 'change_ids_behind' AS code, '@threadline@' AS table_schema, 'audit_changes' AS table_name,
    'changes get ids that come before those of older changes, so histories are in the wrong order: rows were brought here without their sequence' AS explanation,
    'SELECT setval(''@threadline@.audit_changes_id_seq'', (SELECT max(id) FROM @threadline@.audit_changes))' AS remedy
FROM (
    SELECT change.id FROM @threadline@.audit_changes AS change
    WHERE change.captured_at < 'infinity'
    ORDER BY change.captured_at DESC, change.id DESC LIMIT 1000
) AS newest
HAVING max(newest.id) > (
    SELECT CASE WHEN sequence.is_called THEN sequence.last_value ELSE 0 END
    FROM @threadline@.audit_changes_id_seq AS sequence
)
