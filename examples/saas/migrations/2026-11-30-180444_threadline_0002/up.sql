-- Background work: jobs, and schedules that enqueue them. State, not a record. The logic is in the library,
-- which works with the privileges of the worker's role: SELECT on the trail; INSERT, UPDATE and DELETE on
-- these tables.

DO $$
BEGIN
    IF to_regclass('threadline.audit_jobs') IS NOT NULL THEN
        RAISE EXCEPTION 'migration threadline_0002 is already applied in schema threadline'
            USING ERRCODE = 'duplicate_table', HINT = 'No action is needed.';
    END IF;
    -- Unqualified names resolve to pg_catalog only, until 99_privileges.sql restores the search path.
    PERFORM set_config('threadline.path_before', current_setting('search_path'), true),
        set_config('search_path', 'pg_catalog, pg_temp', true);
END
$$;

CREATE TABLE threadline.audit_jobs (
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

COMMENT ON TABLE threadline.audit_jobs IS 'One row for each background job: its request, its lease and its result.';
COMMENT ON COLUMN threadline.audit_jobs.actor IS 'The actor that asked for the job: type:id.';
COMMENT ON COLUMN threadline.audit_jobs.scope_key IS
    'The key of the scope, which the host resolves when the job runs; null: the whole trail.';
COMMENT ON COLUMN threadline.audit_jobs.lease_token IS
    'The fencing token: only its holder can report progress or end the job, and only until leased_until.';
COMMENT ON COLUMN threadline.audit_jobs.error_code IS 'The SQLSTATE or the kind of the last error. Never a message: it could have row values.';
COMMENT ON COLUMN threadline.audit_jobs.object_gone_at IS 'When the stored objects of an expired job were deleted.';

-- The next job to run.
CREATE INDEX audit_jobs_open_idx ON threadline.audit_jobs (run_at, id) WHERE state IN ('queued', 'running');
-- Jobs of an actor.
CREATE INDEX audit_jobs_actor_idx ON threadline.audit_jobs (actor, id);
-- Results that expire.
CREATE INDEX audit_jobs_expiry_idx ON threadline.audit_jobs (expires_at) WHERE expires_at IS NOT NULL AND object_gone_at IS NULL;

CREATE TABLE threadline.audit_schedules (
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

COMMENT ON TABLE threadline.audit_schedules IS 'One row for each schedule: when it is due, and the request of its jobs.';
COMMENT ON COLUMN threadline.audit_schedules.position IS
    'since_last: records with greater ids are in the next file. Set together with the completion of a job.';

-- Filters of a timeline that an operator saved under a name.
CREATE TABLE threadline.audit_saved_views (
    id         uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    owner      text COLLATE "C" NOT NULL,
    name       text        NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 128),
    is_shared  boolean     NOT NULL,
    filters    jsonb       NOT NULL CHECK (jsonb_typeof(filters) = 'object'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (owner, name)
);

COMMENT ON TABLE threadline.audit_saved_views IS 'One row for each saved view. State, not a record.';
COMMENT ON COLUMN threadline.audit_saved_views.owner IS 'The actor that saved it: type:id.';
COMMENT ON COLUMN threadline.audit_saved_views.filters IS 'Filter name to text, as on the command line. Relative instants stay relative.';

-- Results of checks of the audit system itself, and statements of the host about it. Append-only.

CREATE TABLE threadline.audit_evidence (
    order_id        bigint      PRIMARY KEY,
    transaction_id  uuid        NOT NULL,
    recorded_at     timestamptz NOT NULL,
    recorded_by     text        NOT NULL,
    basis           text COLLATE "C" NOT NULL CHECK (basis IN ('checked', 'attested')),
    subject         text COLLATE "C" NOT NULL CHECK (subject ~ '^[a-z][a-z_]{0,62}$'),
    subject_ref     jsonb       NOT NULL,
    outcome         text COLLATE "C" NOT NULL CHECK (outcome IN ('pass', 'fail', 'incomplete')),
    summary_status  text        NOT NULL,
    check_name      text COLLATE "C",
    check_version   integer,
    library_version text,
    observed_from   timestamptz,
    observed_to     timestamptz,
    valid_until     timestamptz,
    actor           text COLLATE "C",
    detail          jsonb       NOT NULL
);

COMMENT ON TABLE threadline.audit_evidence IS
    'One row for each result of a check of the audit system, and for each statement of the host about it.';
COMMENT ON COLUMN threadline.audit_evidence.basis IS
    'checked: the library ran a check. attested: the host says so. Set by the functions, never by the caller.';
COMMENT ON COLUMN threadline.audit_evidence.observed_from IS 'The time that the check looked at, up to observed_to.';
COMMENT ON COLUMN threadline.audit_evidence.valid_until IS 'Afterwards the result is out of date.';

-- The newest evidence of a subject.
CREATE INDEX audit_evidence_subject_idx ON threadline.audit_evidence (subject, order_id);

CREATE TRIGGER guard_record BEFORE DELETE OR UPDATE OR TRUNCATE ON threadline.audit_evidence
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_record();

-- Inserts evidence with a basis. Raises an error if a field is missing or malformed.
CREATE FUNCTION threadline.insert_evidence(basis text, evidence jsonb) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    transaction_id uuid := threadline.current_transaction_id();
    order_id bigint := nextval('threadline.audit_changes_id_seq');
    actor_given text := threadline.actor_text(evidence -> 'actor');
    field text;
BEGIN
    FOREACH field IN ARRAY ARRAY['subject', 'outcome', 'summary_status'] LOOP
        IF coalesce(trim(evidence ->> field), '') = '' THEN
            RAISE EXCEPTION '%: evidence has one', field USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END LOOP;
    IF jsonb_typeof(evidence -> 'subject_ref') IS DISTINCT FROM 'object'
        OR jsonb_typeof(evidence -> 'detail') IS DISTINCT FROM 'object'
    THEN
        RAISE EXCEPTION 'subject_ref and detail: not JSON objects' USING ERRCODE = 'invalid_parameter_value';
    ELSIF actor_given IS NULL AND jsonb_typeof(evidence -> 'actor') <> 'null' THEN
        RAISE EXCEPTION 'actor: not an actor: %', left(evidence ->> 'actor', 200)
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF octet_length(evidence::text) > 1048576 THEN
        RAISE EXCEPTION 'evidence has at most 1 MiB' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO threadline.audit_evidence VALUES (
        order_id, transaction_id, clock_timestamp(), session_user, basis,
        evidence ->> 'subject', evidence -> 'subject_ref', evidence ->> 'outcome', evidence ->> 'summary_status',
        evidence ->> 'check_name', (evidence ->> 'check_version')::integer, evidence ->> 'library_version',
        (evidence ->> 'observed_from')::timestamptz, (evidence ->> 'observed_to')::timestamptz,
        (evidence ->> 'valid_until')::timestamptz, actor_given, evidence -> 'detail'
    );
    RETURN order_id;
END
$$;

-- Records the result of a check that the library ran. For the role of the worker.
CREATE FUNCTION threadline.record_check(evidence jsonb) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
RETURN threadline.insert_evidence('checked', evidence);

-- Records what the host says of its audit trail. For a role of the host.
CREATE FUNCTION threadline.record_evidence(evidence jsonb) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
RETURN threadline.insert_evidence('attested', evidence - '{check_name,check_version,library_version}'::text[]);

-- Items of the feed that a receiver refused. State, not a record: a worker of the feed inserts and deletes rows
-- with the privileges of its role.
CREATE TABLE threadline.audit_delivery_failures (
    consumer        text COLLATE "C" NOT NULL REFERENCES threadline.audit_feed_consumers ON DELETE CASCADE,
    item_id         bigint      NOT NULL,
    attempts        integer     NOT NULL,
    last_error      text COLLATE "C" NOT NULL CHECK (last_error ~ '^[a-z0-9_]{1,63}$'),
    first_failed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_failed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, item_id)
);

COMMENT ON TABLE threadline.audit_delivery_failures IS
    'One row for each change or action that the receiver of a consumer refused, and that was set aside.';
COMMENT ON COLUMN threadline.audit_delivery_failures.item_id IS 'The id of a change or the order_id of an action.';
COMMENT ON COLUMN threadline.audit_delivery_failures.last_error IS 'The kind of the last error. Never a message.';

CREATE OR REPLACE FUNCTION threadline.schema_version() RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN 2;

-- Revokes privileges that default privileges granted on the new objects.
DO $$
BEGIN
    PERFORM threadline.revoke_all(oid::regclass::text, relowner, relacl) FROM pg_class
    WHERE oid IN (
        'threadline.audit_jobs'::regclass, 'threadline.audit_schedules'::regclass,
        'threadline.audit_saved_views'::regclass, 'threadline.audit_evidence'::regclass,
        'threadline.audit_delivery_failures'::regclass
    );
    PERFORM threadline.revoke_all('FUNCTION ' || oid::regprocedure, proowner, coalesce(proacl, acldefault('f', proowner)))
    FROM pg_proc
    WHERE oid IN (
        'threadline.insert_evidence(text, jsonb)'::regprocedure,
        'threadline.record_check(jsonb)'::regprocedure, 'threadline.record_evidence(jsonb)'::regprocedure
    );
END
$$;

-- Restores the search path that the first statement changed.
SELECT set_config('search_path', current_setting('threadline.path_before'), true);
