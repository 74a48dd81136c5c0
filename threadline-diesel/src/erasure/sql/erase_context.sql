-- Erases fields of the next transactions or actions (@records@) of which a column (@column@) is an actor, and counts
-- them in the run. No row if none are left.
WITH page AS MATERIALIZED (
    SELECT id FROM @threadline@.audit_@records@ WHERE @column@ = $2 AND id > $3 ORDER BY id LIMIT $4
), erased AS MATERIALIZED (
    SELECT @threadline@.erase_context('@records@', array_agg(id ORDER BY id), $5, $6, $7, $8) AS records,
        (array_agg(id ORDER BY id DESC))[1] AS last_id
    FROM page HAVING count(*) > 0
)
UPDATE @threadline@.audit_erasure_runs AS run
SET updated_at = clock_timestamp(), progress = run.progress || jsonb_build_object(
    '@records@', coalesce((run.progress ->> '@records@')::bigint, 0) + erased.records
)
FROM erased WHERE run.id = $1
RETURNING erased.records, erased.last_id
