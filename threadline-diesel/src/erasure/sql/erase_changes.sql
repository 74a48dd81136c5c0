-- Erases the actor of the next changes by an actor, and counts them in the run. No row if none are left.
WITH page AS MATERIALIZED (
    SELECT id, captured_at FROM @threadline@.audit_changes
    WHERE actor = $2 AND (captured_at, id) > ($3, $4)
    ORDER BY captured_at, id LIMIT $5
), erased AS MATERIALIZED (
    SELECT @threadline@.erase_change_actors(
            array_agg(id ORDER BY captured_at, id), array_agg(captured_at ORDER BY captured_at, id), $6, $7
        ) AS records,
        max(captured_at) AS last_at, (array_agg(id ORDER BY captured_at DESC, id DESC))[1] AS last_id
    FROM page HAVING count(*) > 0
)
UPDATE @threadline@.audit_erasure_runs AS run
SET updated_at = clock_timestamp(), progress = run.progress || jsonb_build_object(
    'changes', coalesce((run.progress ->> 'changes')::bigint, 0) + erased.records
)
FROM erased WHERE run.id = $1
RETURNING erased.records, erased.last_at, erased.last_id
