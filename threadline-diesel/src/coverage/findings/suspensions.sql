-- Suspensions since an instant ($2).
SELECT 'info' AS severity, 'capture_was_suspended' AS code, NULL AS table_schema, NULL AS table_name,
    format('%s suspended capture of %s at %s UTC (%s)', suspension.suspended_by,
        array_to_string(suspension.tables, ', '),
        to_char(suspension.suspended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), suspension.reason) AS explanation,
    'no action, if this was intended' AS remedy
FROM @threadline@.audit_suspensions AS suspension
WHERE suspension.suspended_at >= $2
ORDER BY suspension.order_id DESC LIMIT 100
