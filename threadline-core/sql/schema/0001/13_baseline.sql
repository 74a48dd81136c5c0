-- Baselines: rows that are older than capture, recorded as they are (op 'baseline'). The command
-- `baseline` walks the table and decides which rows; here are the record of its runs, and the one right
-- that it needs on the trail.

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

COMMENT ON TABLE @threadline@.audit_baseline_runs IS
    'Who recorded the rows of which table as they were, when, and how far it went.';
COMMENT ON COLUMN @threadline@.audit_baseline_runs.selection IS 'Which rows: those without history, or all.';
COMMENT ON COLUMN @threadline@.audit_baseline_runs.continues IS 'The unfinished run whose work this one continued.';
COMMENT ON COLUMN @threadline@.audit_baseline_runs.first_change IS
    'Changes with a greater id were recorded by this run or one that it continues, or came later.';
COMMENT ON COLUMN @threadline@.audit_baseline_runs.rows_left IS
    'Rows that other transactions had locked, and that were not recorded yet.';
COMMENT ON COLUMN @threadline@.audit_baseline_runs.last_key IS
    'Where the walk along the key arrived: column name to value as text.';

CREATE INDEX audit_baseline_runs_table_idx ON @threadline@.audit_baseline_runs (table_name, table_schema, id);
-- Two runs of one table would record its rows twice.
CREATE UNIQUE INDEX audit_baseline_runs_running_idx ON @threadline@.audit_baseline_runs
    (table_name, table_schema) WHERE state = 'running';

-- Runs move on, but nothing takes them back.
CREATE TRIGGER guard_record BEFORE DELETE OR TRUNCATE ON @threadline@.audit_baseline_runs
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_record();

-- Records a row of the table of a run. The caller holds a lock on the row that keeps it from changing
-- until the end of the transaction, and has seen, in the statement that locked it, that the trail does
-- not know it. So the changes that were captured before are in the image, and the others get greater
-- ids.
CREATE FUNCTION @threadline@.record_baseline_row(
    run bigint, table_pk jsonb, row_key text, image jsonb
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $baseline$
DECLARE
    this_run record;
BEGIN
    SELECT found.state, found.table_schema, found.table_name,
        format('%I.%I', found.table_schema, found.table_name) AS shown
    INTO this_run
    FROM @threadline@.audit_baseline_runs AS found WHERE found.id = run;
    IF this_run.state IS DISTINCT FROM 'running' THEN
        RAISE EXCEPTION 'baseline run % is not running: it is %', run, coalesce(this_run.state, 'unknown')
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a baseline needs read committed transactions, to see what was committed before it locked a row'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_trigger
        WHERE tgrelid = to_regclass(this_run.shown) AND tgname = '00_threadline_capture'
            AND tgenabled IN ('O', 'A')
    ) THEN
        RAISE EXCEPTION 'table % is not captured, so a baseline of it would be wrong at once', this_run.shown
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Generate and apply its capture migration first (gen-triggers).';
    END IF;
    -- The last argument: a baseline without an actor is refused.
    RETURN @threadline@.record_change(
        'baseline', this_run.table_schema, this_run.table_name, table_pk, row_key, NULL, image, NULL, true, NULL
    );
END
$baseline$;
