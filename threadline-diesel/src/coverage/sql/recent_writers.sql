-- The roles of transactions that changed captured tables since a transaction ($1), of the newest 10,000.
SELECT DISTINCT recent.db_user AS name
FROM (
    SELECT recorded.db_user FROM @threadline@.audit_transactions AS recorded
    WHERE recorded.id >= $1
    ORDER BY recorded.id DESC LIMIT 10000
) AS recent
