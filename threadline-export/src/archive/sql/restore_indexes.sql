-- The statements that create the indexes of a table ($1) on a future partition ($2).
SELECT CASE WHEN key.oid IS NULL
    THEN regexp_replace(pg_get_indexdef(index.indexrelid), '^CREATE (UNIQUE )?INDEX .*? USING ',
        format('CREATE \1INDEX ON @threadline@.%I USING ', $2))
    ELSE format('ALTER TABLE @threadline@.%I ADD %s', $2, pg_get_constraintdef(key.oid)) END AS statement
FROM pg_index AS index
LEFT JOIN pg_constraint AS key ON key.conindid = index.indexrelid AND key.contype = 'p'
WHERE index.indrelid = to_regclass(format('@threadline@.%I', $1))
ORDER BY index.indexrelid
