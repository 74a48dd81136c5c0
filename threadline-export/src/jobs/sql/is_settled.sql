-- Whether all transactions with an xid before $1 have ended. In a snapshot, every xid from xmax on counts as
-- running; of smaller ones it lists those that are running.
SELECT $1::xid8 <= pg_snapshot_xmax(snapshot.current) AND NOT EXISTS (
    SELECT FROM pg_snapshot_xip(snapshot.current) AS running (xid)
    WHERE running.xid < $1::xid8
        -- Transactions of other databases cannot write to this trail.
        AND NOT EXISTS (
            SELECT FROM pg_stat_get_activity(NULL) AS elsewhere
            WHERE elsewhere.backend_xid = running.xid::xid
                AND elsewhere.datid <> (SELECT oid FROM pg_database WHERE datname = current_database())
        )
        AND NOT EXISTS (
            SELECT FROM pg_prepared_xacts AS elsewhere
            WHERE elsewhere.transaction = running.xid::xid AND elsewhere.database <> current_database()
        )
) AS value
FROM (SELECT pg_current_snapshot()) AS snapshot (current)
