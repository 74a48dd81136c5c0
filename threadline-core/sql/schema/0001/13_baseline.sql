-- Baselines: images of rows that are older than capture (op 'baseline'). The library reads the table and
-- selects the rows; this file has the table of its runs, and the function that inserts a baseline.

CREATE TABLE @threadline@.audit_baseline_runs (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_id uuid        NOT NULL,
    table_schema   text COLLATE "C" NOT NULL,
    table_name     text COLLATE "C" NOT NULL,
    selection      text        NOT NULL CHECK (selection IN ('unknown', 'all')),
    state          text        NOT NULL CHECK (state IN ('running', 'finished', 'stopped', 'interrupted')),
    started_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_by     text        NOT NULL DEFAULT session_user,
    ended_at       timestamptz,
    continues      bigint,
    actor          text COLLATE "C" NOT NULL,
    action_id      uuid,
    first_change   bigint      NOT NULL,
    rows_seen      bigint      NOT NULL DEFAULT 0,
    rows_recorded  bigint      NOT NULL DEFAULT 0,
    rows_left      bigint      NOT NULL DEFAULT 0,
    last_key       jsonb,
    reached_end    boolean     NOT NULL DEFAULT false
);

COMMENT ON TABLE @threadline@.audit_baseline_runs IS 'One row for each baseline run: table, role, state and progress.';
COMMENT ON COLUMN @threadline@.audit_baseline_runs.first_change IS
    'Changes with a greater id were recorded by this run or one that it continues, or captured later.';

CREATE INDEX audit_baseline_runs_table_idx ON @threadline@.audit_baseline_runs (table_name, table_schema, id);
-- At most one running run for each table: two would record its rows twice.
CREATE UNIQUE INDEX audit_baseline_runs_running_idx ON @threadline@.audit_baseline_runs
    (table_name, table_schema) WHERE state = 'running';

-- Runs are updated, but never deleted.
CREATE TRIGGER guard_record BEFORE DELETE OR TRUNCATE ON @threadline@.audit_baseline_runs
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_record();

-- Records a baseline of a row. The caller has locked the row until the end of the transaction, and the
-- statement that locked it has found no record of the row. So the image includes all changes with smaller
-- ids, and later changes get greater ids.
CREATE FUNCTION @threadline@.record_baseline_row(
    run bigint, table_pk jsonb, row_key text, image jsonb
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $baseline$
DECLARE
    this_run record;
BEGIN
    SELECT found.* INTO this_run FROM @threadline@.audit_baseline_runs AS found WHERE found.id = run;
    IF this_run.state IS DISTINCT FROM 'running' THEN
        RAISE EXCEPTION 'baseline run % is not running: it is %', run, coalesce(this_run.state, 'unknown')
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a baseline needs read committed transactions, to see what was committed before it locked a row'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    -- `true`: a baseline without an actor is refused.
    RETURN @threadline@.record_change(
        'baseline', this_run.table_schema, this_run.table_name, table_pk, row_key, NULL, image, NULL, true, NULL
    );
END
$baseline$;
