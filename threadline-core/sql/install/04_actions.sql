-- The doors the application comes in by. Everything it may say goes through these; it has no
-- rights on the tables themselves.

-- Records an action in the running transaction. `action` holds id, name, and optionally status,
-- verb, category, reason, comment, meta; the rest comes from `actor` and `context`.
CREATE OR REPLACE FUNCTION @threadline@.record_action(
    action jsonb, actor jsonb, context jsonb
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $record$
#variable_conflict use_column
DECLARE
    action_id uuid := (action ->> 'id')::uuid;
    actor_type text := actor ->> 'type';
    actor_id text := actor ->> 'id';
    represented jsonb;
BEGIN
    -- As is_actor_ref and plain_actor_ref have it; a call of a SQL function would cost more than all
    -- of this.
    IF actor IS NOT NULL AND (
        actor_type = 'anonymous'
        OR actor_type IN ('user', 'admin', 'service_account', 'job', 'system') AND actor_id <> ''
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'no actor: %', actor
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'An actor is {"type": "user", "id": "42"}; see guides/domain-reference.md.';
    END IF;
    IF actor_type = 'anonymous' THEN
        actor_id := NULL;
    END IF;
    IF context ? 'on_behalf_of' THEN
        represented := @threadline@.plain_actor_ref(context -> 'on_behalf_of');
    END IF;
    INSERT INTO @threadline@.audit_actions (
        id, transaction_id, recorded_at, name, status, actor_ref, on_behalf_of, verb, category,
        reason, comment, correlation_id, request_id, job_id, meta
    ) VALUES (
        action_id, @threadline@.current_transaction_id(), clock_timestamp(), action ->> 'name',
        COALESCE(action ->> 'status', 'ok'),
        CASE WHEN actor_type IS NOT NULL THEN
            jsonb_strip_nulls(jsonb_build_object('type', actor_type, 'id', actor_id))
        END,
        represented, action ->> 'verb',
        action ->> 'category', action ->> 'reason', action ->> 'comment',
        context ->> 'correlation_id', context ->> 'request_id', context ->> 'job_id',
        action -> 'meta'
    );
    RETURN action_id;
END
$record$;

-- Opens an audited piece of work in the running transaction: publishes the context by
-- transaction-local settings and records the action, if there is one.
--
-- `work` is {"actor_ref": ..., "context": {...}, "action": {...}}. Returns what was in force
-- before, for close_audited_work.
CREATE OR REPLACE FUNCTION @threadline@.open_audited_work(work jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $open$
DECLARE
    before jsonb := jsonb_build_object(
        'actor_ref', current_setting('threadline.actor_ref', true),
        'context', current_setting('threadline.context', true),
        'action_id', current_setting('threadline.action_id', true)
    );
    action jsonb := work -> 'action';
    context jsonb := COALESCE(work -> 'context', '{}');
    outermost text;
BEGIN
    BEGIN
        outermost := (before ->> 'context')::jsonb ->> 'action_id';
    EXCEPTION WHEN OTHERS THEN
        outermost := NULL; -- malformed context of somebody else; capture reports it
    END;
    outermost := COALESCE(outermost, NULLIF(before ->> 'action_id', ''), action ->> 'id');
    IF outermost IS NOT NULL THEN
        context := context || jsonb_build_object('action_id', outermost);
    END IF;
    IF action IS NOT NULL THEN
        PERFORM @threadline@.record_action(action, work -> 'actor_ref', context);
    END IF;
    PERFORM set_config('threadline.actor_ref', COALESCE((work -> 'actor_ref')::text, ''), true),
            set_config('threadline.context', context::text, true),
            set_config('threadline.action_id', COALESCE(action ->> 'id', before ->> 'action_id', ''), true);
    RETURN before;
END
$open$;

-- Closes an audited piece of work: puts back what was in force before it, and says which audit
-- transaction it belongs to (none if nothing was captured) and how much it captured: under the
-- given action, or in the whole transaction if there is none.
CREATE OR REPLACE FUNCTION @threadline@.close_audited_work(
    before jsonb, action uuid,
    OUT transaction_id uuid, OUT changes bigint, OUT tables bigint
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $close$
#variable_conflict use_column
DECLARE
    this_transaction uuid;
    this_moment timestamptz;
BEGIN
    IF before IS NOT NULL THEN
        PERFORM set_config('threadline.actor_ref', COALESCE(before ->> 'actor_ref', ''), true),
                set_config('threadline.context', COALESCE(before ->> 'context', ''), true),
                set_config('threadline.action_id', COALESCE(before ->> 'action_id', ''), true);
    END IF;
    changes := 0;
    tables := 0;
    -- Capture notes that it has made the transaction's row. Without a note nothing was captured.
    IF COALESCE(current_setting('threadline.recorded', true), '') = '' THEN
        RETURN;
    END IF;
    this_transaction := @threadline@.current_transaction_id();
    this_moment := clock_timestamp();
    -- The bounds on captured_at only spare the partitions of other months.
    SELECT count(*), count(DISTINCT (change.table_schema, change.table_name))
    INTO changes, tables
    FROM @threadline@.audit_changes AS change
    WHERE change.transaction_id = this_transaction
        AND change.captured_at > now() - interval '1 day'
        AND change.captured_at < this_moment + interval '1 day'
        AND (action IS NULL OR change.action_id = action);
    IF changes > 0 OR EXISTS (
        SELECT FROM @threadline@.audit_transactions AS recorded WHERE recorded.id = this_transaction
    ) THEN
        transaction_id := this_transaction;
    END IF;
END
$close$;
