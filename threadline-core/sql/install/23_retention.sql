-- Retention: how long what is kept, the record of every run, and from when on a table's trail is
-- complete. What a run does is in 25_retention_steps.sql.

CREATE TABLE IF NOT EXISTS @threadline@.audit_retention_runs (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state             text COLLATE "C" NOT NULL
        CHECK (state IN ('running', 'completed', 'stopped', 'failed', 'abandoned')),
    started_at        timestamptz NOT NULL,
    finished_at       timestamptz,
    started_by        text        NOT NULL,
    lease_until       timestamptz NOT NULL,
    policy            jsonb       NOT NULL,
    cutoffs           jsonb       NOT NULL,
    progress          jsonb       NOT NULL DEFAULT '{"phase": "changes"}',
    step_count        bigint      NOT NULL DEFAULT 0,
    change_count      bigint      NOT NULL DEFAULT 0,
    transaction_count bigint      NOT NULL DEFAULT 0,
    action_count      bigint      NOT NULL DEFAULT 0,
    baseline_count    bigint      NOT NULL DEFAULT 0,
    partition_count   bigint      NOT NULL DEFAULT 0,
    postponed         text[]      NOT NULL DEFAULT '{}',
    failure           text
);

COMMENT ON TABLE @threadline@.audit_retention_runs IS
    'One row for each purge: under which policy, what it removed, and how it ended.';
COMMENT ON COLUMN @threadline@.audit_retention_runs.state IS
    'running; completed: nothing expired is left; stopped: asked to, go on with another run; failed; abandoned: its lease ran out.';
COMMENT ON COLUMN @threadline@.audit_retention_runs.lease_until IS
    'Until then nobody else purges; every step renews it.';
COMMENT ON COLUMN @threadline@.audit_retention_runs.cutoffs IS
    'The instants that the policy meant when the run began.';
COMMENT ON COLUMN @threadline@.audit_retention_runs.postponed IS
    'Expired partitions that were in use for so long that they are left to the next run.';
COMMENT ON COLUMN @threadline@.audit_retention_runs.failure IS
    'An SQLSTATE and where it happened; never a message, which could hold row values.';

-- One run at a time.
SELECT @threadline@.ensure_index($index$
CREATE UNIQUE INDEX audit_retention_runs_running_idx
    ON @threadline@.audit_retention_runs (state) WHERE state = 'running'
$index$);

-- From when on the trail of a table is complete, where something was purged from it.
CREATE TABLE IF NOT EXISTS @threadline@.audit_horizons (
    table_schema  text COLLATE "C" NOT NULL,
    table_name    text COLLATE "C" NOT NULL,
    purged_before timestamptz NOT NULL,
    PRIMARY KEY (table_name, table_schema)
);

COMMENT ON TABLE @threadline@.audit_horizons IS
    'The last cut-off of each table that retention removed changes of.';

-- Months of transactions that were searched for ones without changes; they need no second search.
CREATE TABLE IF NOT EXISTS @threadline@.audit_retention_sweeps (
    partition_name text COLLATE "C" PRIMARY KEY,
    swept_at       timestamptz NOT NULL
);

COMMENT ON TABLE @threadline@.audit_retention_sweeps IS
    'Expired months of transactions of which every one left has changes.';

-- A run's record changes while it runs, by the purge alone, and never again.
CREATE OR REPLACE FUNCTION @threadline@.guard_run() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.state = 'running' AND @threadline@.is_sanctioned() THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the audit trail is append-only: % of %.% refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$guard$;

SELECT @threadline@.ensure_guard($guard$
CREATE TRIGGER guard_run BEFORE DELETE OR UPDATE ON @threadline@.audit_retention_runs
    FOR EACH ROW EXECUTE FUNCTION @threadline@.guard_run()
$guard$);
SELECT @threadline@.ensure_guard($guard$
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON @threadline@.audit_retention_runs
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_truncate()
$guard$);

-- From when on the trail of a table is complete: everything captured since is there. The cut-off of
-- the last purge that took something; where nothing was purged, the table's first change; null
-- where nothing was ever captured. With the owner's rights, for whoever reads changes needs it.
CREATE OR REPLACE FUNCTION @threadline@.audit_horizon(of_schema text, of_table text)
RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT COALESCE(
        (
            SELECT horizon.purged_before FROM @threadline@.audit_horizons AS horizon
            WHERE horizon.table_name = of_table AND horizon.table_schema = of_schema
        ),
        (
            SELECT change.captured_at FROM @threadline@.audit_changes AS change
            WHERE change.table_name = of_table AND change.table_schema = of_schema
            ORDER BY change.captured_at LIMIT 1
        )
    );
END;

CREATE OR REPLACE FUNCTION @threadline@.advance_horizon(
    of_schema text, of_table text, cutoff timestamptz
) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO @threadline@.audit_horizons AS horizon (table_schema, table_name, purged_before)
    VALUES (of_schema, of_table, cutoff)
    ON CONFLICT (table_name, table_schema) DO UPDATE SET purged_before = EXCLUDED.purged_before
    WHERE horizon.purged_before < EXCLUDED.purged_before;
END;

-- The instant before which something kept for a while is expired; null is never.
CREATE OR REPLACE FUNCTION @threadline@.cutoff_of_keep(keep jsonb, at_instant timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN CASE
    WHEN keep ? 'days' THEN at_instant - make_interval(hours => (keep ->> 'days')::integer * 24)
    WHEN keep ? 'hours' THEN at_instant - make_interval(hours => (keep ->> 'hours')::integer)
END;

-- What a policy means at an instant:
-- `changes`, `actions`: expired before; `tables`: those that are different;
-- `transactions`: one without changes goes if it began before;
-- `empty_months`: months of transactions are searched for such if they end before;
-- `newest`: nothing is expired after.
CREATE OR REPLACE FUNCTION @threadline@.retention_cutoffs(policy jsonb, at_instant timestamptz)
RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $cutoffs$
DECLARE
    changes CONSTANT timestamptz := @threadline@.cutoff_of_keep(policy -> 'changes', at_instant);
    tables CONSTANT jsonb := COALESCE((
        SELECT jsonb_agg(jsonb_build_object(
            'schema', rule #>> '{table,schema}', 'name', rule #>> '{table,name}',
            'before', @threadline@.cutoff_of_keep(rule -> 'keep', at_instant)
        ))
        FROM jsonb_array_elements(policy -> 'tables') AS rule
    ), '[]');
    oldest timestamptz;
    newest timestamptz;
    has_forever boolean;
BEGIN
    SELECT min(before), max(before), bool_or(before IS NULL) INTO oldest, newest, has_forever
    FROM (
        SELECT changes UNION ALL
        SELECT (rule ->> 'before')::timestamptz FROM jsonb_array_elements(tables) AS rule
    ) AS every (before);
    RETURN jsonb_build_object(
        'changes', changes,
        'tables', tables,
        'newest', newest,
        'transactions', CASE
            WHEN jsonb_typeof(policy -> 'transactions') <> 'null'
                THEN @threadline@.cutoff_of_keep(policy -> 'transactions', at_instant)
            ELSE 'infinity'::timestamptz
        END,
        'empty_months', CASE
            WHEN jsonb_typeof(policy -> 'transactions') <> 'null'
                THEN @threadline@.cutoff_of_keep(policy -> 'transactions', at_instant)
            ELSE changes
        END,
        -- An action is kept as long as any change could be that it explains.
        'actions', CASE
            WHEN jsonb_typeof(policy -> 'actions') <> 'null'
                THEN @threadline@.cutoff_of_keep(policy -> 'actions', at_instant)
            WHEN NOT has_forever THEN oldest
        END,
        'last_images', COALESCE(policy ->> 'last_images', 'purged')
    );
END
$cutoffs$;

-- The instant before which changes of a table are expired; null is never.
CREATE OR REPLACE FUNCTION @threadline@.cutoff_of_table(
    cutoffs jsonb, of_schema text, of_table text
) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $cutoff$
DECLARE
    rule jsonb;
BEGIN
    FOR rule IN SELECT * FROM jsonb_array_elements(cutoffs -> 'tables') LOOP
        IF rule ->> 'name' = of_table AND rule ->> 'schema' = of_schema THEN
            RETURN (rule ->> 'before')::timestamptz;
        END IF;
    END LOOP;
    RETURN (cutoffs ->> 'changes')::timestamptz;
END
$cutoff$;

-- The latest instant before which a run removes changes of any table.
CREATE OR REPLACE FUNCTION @threadline@.latest_cutoff(cutoffs jsonb) RETURNS timestamptz
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT max(cutoff.before) FROM (
        SELECT (cutoffs ->> 'changes')::timestamptz
        UNION ALL
        SELECT (rule ->> 'before')::timestamptz FROM jsonb_array_elements(cutoffs -> 'tables') AS rule
    ) AS cutoff (before)
);

-- The tables that have changes in a partition, each found by one step down the index.
CREATE OR REPLACE FUNCTION @threadline@.tables_in(partition regclass)
RETURNS TABLE (table_schema text, table_name text)
LANGUAGE plpgsql STABLE ROWS 20 SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $tables$
#variable_conflict use_column
DECLARE
    found_schema text := '';
    found_name text := '';
BEGIN
    LOOP
        EXECUTE format(
            'SELECT c.table_schema, c.table_name FROM %s AS c '
            'WHERE (c.table_name, c.table_schema) > ($1, $2) '
            'ORDER BY c.table_name, c.table_schema LIMIT 1', partition
        ) INTO found_schema, found_name USING found_name, found_schema;
        EXIT WHEN found_name IS NULL;
        table_schema := found_schema;
        table_name := found_name;
        RETURN NEXT;
    END LOOP;
END
$tables$;

-- Whether changes are expired that consumers of the change feed have not done with, where the feed is
-- installed: `feed_horizon()` is the last change that all of them have done with. Nothing after it is
-- purged without saying so.
CREATE OR REPLACE FUNCTION @threadline@.purge_overtakes_feed(cutoffs jsonb) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $overtakes$
DECLARE
    newest CONSTANT timestamptz := (cutoffs ->> 'newest')::timestamptz;
    horizon text;
    horizon_type regtype;
    newest_id bigint;
BEGIN
    IF newest IS NULL OR to_regprocedure('@threadline@.feed_horizon()') IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE 'SELECT horizon::text, pg_typeof(horizon) FROM @threadline@.feed_horizon() AS horizon'
        INTO horizon, horizon_type;
    IF horizon IS NULL THEN
        RETURN false; -- nobody consumes
    ELSIF horizon_type = 'timestamptz'::regtype THEN
        RETURN horizon::timestamptz < newest;
    END IF;
    SELECT max(last.id) INTO newest_id FROM (
        SELECT change.id FROM @threadline@.audit_changes AS change
        WHERE change.captured_at < newest
        ORDER BY change.captured_at DESC, change.id DESC LIMIT 1000
    ) AS last;
    RETURN COALESCE(horizon::bigint < newest_id, false);
END
$overtakes$;

-- The same for a policy as it is now, for whoever may plan.
CREATE OR REPLACE FUNCTION @threadline@.retention_overtakes_feed(policy jsonb) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
RETURN @threadline@.purge_overtakes_feed(@threadline@.retention_cutoffs(policy, clock_timestamp()));

-- Begins a run, if nobody else's is at work. One whose lease has run out is marked as abandoned.
-- `refusal` says why there is no run: at_work (with whose run, until when), or feed.
CREATE OR REPLACE FUNCTION @threadline@.begin_purge(
    policy jsonb, lease interval, feed_consumers text DEFAULT 'respected'
) RETURNS TABLE (run bigint, refusal text, held_by bigint, held_until timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $begin$
#variable_conflict use_column
DECLARE
    at_instant CONSTANT timestamptz := clock_timestamp();
    new_cutoffs CONSTANT jsonb := @threadline@.retention_cutoffs(policy, at_instant);
    other record;
    is_abandoned boolean;
BEGIN
    IF (policy -> 'enabled') IS DISTINCT FROM 'true' THEN
        RAISE EXCEPTION 'retention is not enabled in this policy' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF feed_consumers = 'respected' AND @threadline@.purge_overtakes_feed(new_cutoffs) THEN
        refusal := 'feed';
        RETURN NEXT;
        RETURN;
    END IF;
    SELECT running.id, running.lease_until INTO other
    FROM @threadline@.audit_retention_runs AS running WHERE running.state = 'running';
    IF FOUND THEN
        -- A step that is at work holds the row, whatever became of the lease.
        PERFORM FROM @threadline@.audit_retention_runs AS running
        WHERE running.id = other.id AND running.state = 'running' AND running.lease_until <= at_instant
        FOR UPDATE SKIP LOCKED;
        is_abandoned := FOUND;
        IF NOT is_abandoned THEN
            refusal := 'at_work';
            held_by := other.id;
            held_until := other.lease_until;
            RETURN NEXT;
            RETURN;
        END IF;
        PERFORM @threadline@.sanction(true);
        UPDATE @threadline@.audit_retention_runs AS abandoned
        SET state = 'abandoned', finished_at = at_instant, failure = 'its lease ran out'
        WHERE abandoned.id = other.id;
        PERFORM @threadline@.sanction(false);
    END IF;
    INSERT INTO @threadline@.audit_retention_runs (state, started_at, started_by, lease_until, policy, cutoffs)
    VALUES ('running', at_instant, session_user, at_instant + lease, policy, new_cutoffs)
    ON CONFLICT (state) WHERE state = 'running' DO NOTHING
    RETURNING id INTO run;
    IF run IS NULL THEN
        refusal := 'at_work'; -- somebody was quicker
    END IF;
    RETURN NEXT;
END
$begin$;

-- Ends a run: `stopped` by whoever ran it, or `failed` outside of a step.
CREATE OR REPLACE FUNCTION @threadline@.end_purge(run bigint, as_state text, because text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $end$
DECLARE
    ended boolean;
BEGIN
    IF as_state NOT IN ('stopped', 'failed') THEN
        RAISE EXCEPTION 'a purge ends as stopped or failed, not as %', as_state
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM @threadline@.sanction(true);
    UPDATE @threadline@.audit_retention_runs AS ending
    SET state = as_state, finished_at = clock_timestamp(), failure = because
    WHERE ending.id = run AND ending.state = 'running';
    ended := FOUND;
    PERFORM @threadline@.sanction(false);
    RETURN ended;
END
$end$;
