-- No row if the trail has this erasure already, or none of its records.
WITH target AS MATERIALIZED (
    SELECT ARRAY(SELECT jsonb_array_elements_text($1::jsonb -> 'ids')::uuid) AS ids
)
SELECT @threadline@.erase_context($1::jsonb ->> 'records', target.ids, $1::jsonb ->> 'pseudonym',
    ARRAY(SELECT jsonb_array_elements_text($1::jsonb -> 'fields')), ARRAY(SELECT jsonb_array_elements_text($1::jsonb -> 'meta')), $2) AS records
FROM target
WHERE NOT EXISTS (SELECT FROM @threadline@.audit_removals WHERE kind = 'erasure' AND scope - 'leaves' = $1::jsonb - 'leaves')
    AND CASE $1::jsonb ->> 'records'
        WHEN 'transactions' THEN EXISTS (SELECT FROM @threadline@.audit_transactions WHERE id = ANY (target.ids))
        ELSE EXISTS (SELECT FROM @threadline@.audit_actions WHERE id = ANY (target.ids)) END
