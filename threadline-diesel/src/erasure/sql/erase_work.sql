-- Replaces the actor of background jobs and of schedules by the pseudonym. The schedules are paused: the host can no
-- longer resolve their actor.
WITH jobs AS (
    UPDATE @threadline@.audit_jobs SET actor = split_part(actor, ':', 1) || ':' || $3
    WHERE actor = ANY ($2) RETURNING 1
), schedules AS (
    UPDATE @threadline@.audit_schedules
    SET actor = split_part(actor, ':', 1) || ':' || $3, paused_at = COALESCE(paused_at, clock_timestamp())
    WHERE actor = ANY ($2) RETURNING 1
), erased AS (
    SELECT (SELECT count(*) FROM jobs) AS jobs, (SELECT count(*) FROM schedules) AS schedules
)
UPDATE @threadline@.audit_erasure_runs AS run SET updated_at = clock_timestamp(), progress = run.progress
    || jsonb_build_object('jobs', COALESCE((run.progress ->> 'jobs')::bigint, 0) + erased.jobs)
    || jsonb_build_object('schedules', COALESCE((run.progress ->> 'schedules')::bigint, 0) + erased.schedules)
FROM erased WHERE run.id = $1
RETURNING erased.jobs, erased.schedules
