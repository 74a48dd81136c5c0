-- The oldest change, the newest purge, and how many of the newest 100 purges removed more changes than are recorded
-- as removed in their time. A purge has a lease, so no other one removed changes then.
WITH run AS (
    SELECT purge.id, purge.state, purge.started_at, purge.finished_at, purge.change_count
    FROM @threadline@.audit_retention_runs AS purge ORDER BY purge.id DESC LIMIT 100
)
SELECT
    (
        SELECT change.captured_at FROM @threadline@.audit_changes AS change
        ORDER BY change.captured_at, change.id LIMIT 1
    ) AS oldest_change_at,
    (SELECT pg_catalog.max(run.id) FROM run) AS last_run,
    (SELECT run.state::text FROM run ORDER BY run.id DESC LIMIT 1) AS last_state,
    (
        SELECT pg_catalog.count(*) FROM run
        WHERE run.change_count > (
            SELECT COALESCE(pg_catalog.sum(removal.change_count), 0) FROM @threadline@.audit_removals AS removal
            WHERE removal.kind = 'retention' AND removal.removed_at >= run.started_at
                AND (run.finished_at IS NULL OR removal.removed_at <= run.finished_at)
        )
    ) AS unrecorded
