-- Background work: jobs, and schedules that enqueue them. State, not a record. The logic is in the library,
-- which works with the privileges of the worker's role: SELECT on the trail; INSERT, UPDATE and DELETE on
-- these tables.

DO $$
BEGIN
    IF to_regclass('@threadline@.audit_jobs') IS NOT NULL THEN
        RAISE EXCEPTION 'migration threadline_0002 is already applied in schema @threadline@'
            USING ERRCODE = 'duplicate_table', HINT = 'No action is needed.';
    END IF;
    -- Unqualified names resolve to pg_catalog only, until 99_privileges.sql restores the search path.
    PERFORM set_config('threadline.path_before', current_setting('search_path'), true),
        set_config('search_path', 'pg_catalog, pg_temp', true);
END
$$;

CREATE TABLE @threadline@.audit_jobs (
    id                  uuid        PRIMARY KEY,
    kind                text COLLATE "C" NOT NULL CHECK (kind ~ '^[a-z][a-z_]{0,30}$'),
    state               text COLLATE "C" NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'running', 'completed', 'expired', 'failed', 'cancelled')),
    request             jsonb       NOT NULL,
    actor               text COLLATE "C",
    scope_key           text,
    idempotency_key     text COLLATE "C" UNIQUE,
    schedule            text COLLATE "C",
    due_at              timestamptz,
    run_at              timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempt             integer     NOT NULL DEFAULT 0,
    max_attempts        integer     NOT NULL DEFAULT 5,
    lease_token         uuid,
    leased_until        timestamptz,
    leased_by           text,
    progress            jsonb,
    cancel_requested_at timestamptz,
    result              jsonb,
    error_code          text,
    error_place         text,
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by          text        NOT NULL DEFAULT session_user,
    started_at          timestamptz,
    ended_at            timestamptz,
    expires_at          timestamptz,
    object_gone_at      timestamptz,
    UNIQUE (schedule, due_at)
) WITH (fillfactor = 50);

COMMENT ON TABLE @threadline@.audit_jobs IS 'One row for each background job: its request, its lease and its result.';
COMMENT ON COLUMN @threadline@.audit_jobs.actor IS 'The actor that asked for the job: type:id.';
COMMENT ON COLUMN @threadline@.audit_jobs.scope_key IS
    'The key of the scope, which the host resolves when the job runs; null: the whole trail.';
COMMENT ON COLUMN @threadline@.audit_jobs.lease_token IS
    'The fencing token: only its holder can report progress or end the job, and only until leased_until.';
COMMENT ON COLUMN @threadline@.audit_jobs.error_code IS 'The SQLSTATE or the kind of the last error. Never a message: it could have row values.';
COMMENT ON COLUMN @threadline@.audit_jobs.object_gone_at IS 'When the stored objects of an expired job were deleted.';

-- The next job to run.
CREATE INDEX audit_jobs_open_idx ON @threadline@.audit_jobs (run_at, id) WHERE state IN ('queued', 'running');
-- Jobs of an actor.
CREATE INDEX audit_jobs_actor_idx ON @threadline@.audit_jobs (actor, id);
-- Results that expire.
CREATE INDEX audit_jobs_expiry_idx ON @threadline@.audit_jobs (expires_at) WHERE expires_at IS NOT NULL AND object_gone_at IS NULL;

CREATE TABLE @threadline@.audit_schedules (
    name        text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
    kind        text COLLATE "C" NOT NULL CHECK (kind ~ '^[a-z][a-z_]{0,30}$'),
    cron        text        NOT NULL,
    time_zone   text        NOT NULL,
    request     jsonb       NOT NULL,
    actor       text COLLATE "C",
    scope_key   text,
    next_due_at timestamptz NOT NULL,
    paused_at   timestamptz,
    position    bigint,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by  text        NOT NULL DEFAULT session_user
);

COMMENT ON TABLE @threadline@.audit_schedules IS 'One row for each schedule: when it is due, and the request of its jobs.';
COMMENT ON COLUMN @threadline@.audit_schedules.position IS
    'since_last: records with greater ids are in the next file. Set together with the completion of a job.';
