-- Whether new changes get greater ids than existing ones: not if the trail was restored without its
-- sequence. Reads the newest changes.
SELECT 'error' AS severity, 'change_ids_behind' AS code, '@threadline@' AS table_schema, 'audit_changes' AS table_name,
    'new changes get smaller ids than existing ones, so histories are in the wrong order: the trail was restored without its sequence' AS explanation,
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

UNION ALL
-- Ids that an older change has, too. The newest changes are looked at; each id is found by the BRIN index.
SELECT 'error', 'change_ids_duplicated', '@threadline@', 'audit_changes',
    format('%s of the newest changes have ids that older changes have, too: rows were brought here without their sequence',
        count(*)),
    'set the sequence past the newest id (see change_ids_behind); read changes with these ids by id and captured_at'
FROM (
    SELECT change.id FROM @threadline@.audit_changes AS change
    WHERE change.id = ANY (ARRAY(
        SELECT newest.id FROM @threadline@.audit_changes AS newest
        WHERE newest.captured_at < 'infinity'
        ORDER BY newest.captured_at DESC, newest.id DESC LIMIT 100
    ))
    GROUP BY change.id HAVING count(*) > 1
) AS duplicated
HAVING count(*) > 0
