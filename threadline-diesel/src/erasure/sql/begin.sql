-- Begins a run, or continues the unfinished one of the subject under its pseudonym.
INSERT INTO @threadline@.audit_erasure_runs (id, subject, pseudonym, reason)
VALUES (gen_random_uuid(), $1, 'erased-' || replace(gen_random_uuid()::text, '-', ''), $2)
ON CONFLICT (subject) DO UPDATE SET updated_at = clock_timestamp()
RETURNING id, pseudonym, reason, progress::text AS progress, started_at, started_by, updated_at, finished_at
