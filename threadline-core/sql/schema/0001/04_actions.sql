-- The functions that the application calls around its writes. It has no privileges on the tables.

-- Returns a text field of an action, or raises an error if it is too long. The library has the same limits.
CREATE FUNCTION @threadline@.action_field(action jsonb, field text, max_bytes integer) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF jsonb_typeof(action -> field) NOT IN ('string', 'null') OR octet_length(action ->> field) > max_bytes THEN
        RAISE EXCEPTION '%: not a text of at most % bytes: %', field, max_bytes, left(action ->> field, 100)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN action ->> field;
END
$$;

-- Records an action in the current transaction and returns its id. `action` has id and name, and
-- optionally status, verb, category, reason, comment and meta; the rest comes from `actor` and `context`.
CREATE FUNCTION @threadline@.record_action(action jsonb, actor jsonb, context jsonb) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    action_id uuid;
    id_time timestamptz;
    actor_given text := @threadline@.actor_text(actor);
    represented text := @threadline@.actor_text(context -> 'on_behalf_of');
    transaction_id uuid := @threadline@.current_transaction_id();
BEGIN
    IF jsonb_typeof(coalesce(context, '{}')) <> 'object' THEN
        RAISE EXCEPTION 'context: not a JSON object' USING ERRCODE = 'invalid_parameter_value';
    ELSIF actor_given IS NULL AND jsonb_typeof(actor) <> 'null' THEN
        RAISE EXCEPTION 'actor: not an actor: %', left(actor::text, 200)
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'An actor is {"type": "user", "id": "42"}; an id has 1 to 512 bytes.';
    ELSIF represented IS NULL AND context ->> 'on_behalf_of' IS NOT NULL THEN
        RAISE EXCEPTION 'on_behalf_of: not an actor: %', left(context ->> 'on_behalf_of', 200)
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF jsonb_typeof(action -> 'meta') NOT IN ('object', 'null') THEN
        RAISE EXCEPTION 'meta: not a JSON object' USING ERRCODE = 'invalid_parameter_value';
    ELSIF coalesce(action ->> 'status', 'ok') NOT IN ('ok', 'error') THEN
        RAISE EXCEPTION 'status: not ok or error: %', left(action ->> 'status', 100)
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF coalesce(trim(@threadline@.action_field(action, 'name', 128)), '') = '' THEN
        RAISE EXCEPTION 'name: an action has a name' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Actions are partitioned by the time in their ids, so the id must be a recent version 7 uuid.
    IF action ->> 'id' ~* '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN
        action_id := action ->> 'id';
        id_time := @threadline@.action_recorded_at(action_id);
    END IF;
    IF (id_time BETWEEN now() - interval '10 years' AND now() + interval '1 day') IS NOT TRUE THEN
        RAISE EXCEPTION 'id: not a version 7 uuid of the last ten years: %', left(action ->> 'id', 100)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO @threadline@.audit_actions (
        id, order_id, transaction_id, recorded_at, name, actor, on_behalf_of, status, verb, category,
        reason, comment, correlation_id, request_id, job_id, meta
    ) VALUES (
        action_id, nextval('@threadline@.audit_changes_id_seq'), transaction_id, clock_timestamp(),
        action ->> 'name', actor_given, represented, coalesce(action ->> 'status', 'ok'),
        @threadline@.action_field(action, 'verb', 1024),
        @threadline@.action_field(action, 'category', 1024),
        @threadline@.action_field(action, 'reason', 65536),
        @threadline@.action_field(action, 'comment', 65536),
        @threadline@.action_field(context, 'correlation_id', 256),
        @threadline@.action_field(context, 'request_id', 256),
        @threadline@.action_field(context, 'job_id', 256),
        nullif(action -> 'meta', 'null')
    );
    RETURN action_id;
END
$$;

-- Begins audited work in the current transaction: sets the context and records the action, if there is
-- one. `work` is {"actor_ref": ..., "context": {...}, "action": {...}}. Returns the previous settings, for
-- end_audited_work; {} if there were none.
CREATE FUNCTION @threadline@.begin_audited_work(work jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before jsonb;
    outer_context jsonb;
    context jsonb := coalesce(work -> 'context', '{}');
    action_id text;
BEGIN
    IF jsonb_typeof(work) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'work: not a JSON object' USING ERRCODE = 'invalid_parameter_value';
    ELSIF jsonb_typeof(context) <> 'object' THEN
        RAISE EXCEPTION 'context: not a JSON object' USING ERRCODE = 'invalid_parameter_value';
    ELSIF work ->> 'actor_ref' IS NOT NULL AND @threadline@.actor_text(work -> 'actor_ref') IS NULL THEN
        RAISE EXCEPTION 'actor_ref: not an actor: %', left(work ->> 'actor_ref', 200)
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'An actor is {"type": "user", "id": "42"}; an id has 1 to 512 bytes.';
    END IF;
    IF work ? 'action' THEN
        action_id := @threadline@.record_action(work -> 'action', work -> 'actor_ref', context);
    END IF;
    before := jsonb_strip_nulls(jsonb_build_object(
        'actor_ref', nullif(current_setting('threadline.actor_ref', true), ''),
        'context', nullif(current_setting('threadline.context', true), ''),
        'action_id', nullif(current_setting('threadline.action_id', true), '')
    ));
    IF before <> '{}' THEN
        outer_context := @threadline@.setting_as_jsonb(before ->> 'context');
        -- The context has the outermost action, the setting the action in force.
        context := context || jsonb_strip_nulls(jsonb_build_object('action_id', coalesce(
            outer_context ->> 'action_id', before ->> 'action_id', action_id
        )));
        action_id := coalesce(action_id, before ->> 'action_id');
    END IF;
    PERFORM set_config('threadline.actor_ref', coalesce(work ->> 'actor_ref', ''), true),
        set_config('threadline.context', CASE context WHEN '{}' THEN '' ELSE context::text END, true),
        set_config('threadline.action_id', coalesce(action_id, ''), true);
    RETURN before;
END
$$;

-- Ends audited work: restores the previous settings (null: leaves them to end with the transaction) and
-- returns the id of the audit transaction; null if nothing was captured in it.
CREATE FUNCTION @threadline@.end_audited_work(before jsonb) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF before IS NOT NULL THEN
        PERFORM set_config('threadline.actor_ref', coalesce(before ->> 'actor_ref', ''), true),
            set_config('threadline.context', coalesce(before ->> 'context', ''), true),
            set_config('threadline.action_id', coalesce(before ->> 'action_id', ''), true);
    END IF;
    -- The marker of record_transaction begins with the transaction's xid.
    RETURN CASE WHEN starts_with(current_setting('threadline.recorded', true), concat(txid_current_if_assigned(), '|'))
        THEN @threadline@.current_transaction_id() END;
END
$$;

-- Counts the captured changes of the current transaction: those of an action, or all if it is null. Reads
-- the trail, which can cause serialization failures under SERIALIZABLE.
CREATE FUNCTION @threadline@.count_audited_work(
    of_action uuid, OUT change_count bigint, OUT table_count bigint
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    -- The condition on captured_at prunes partitions.
    SELECT count(*), count(DISTINCT (change.table_schema, change.table_name))
    FROM @threadline@.audit_changes AS change
    WHERE change.transaction_id = @threadline@.current_transaction_id()
        AND change.captured_at BETWEEN now() - interval '1 day' AND clock_timestamp() + interval '1 day'
        AND (of_action IS NULL OR change.action_id = of_action);
END;
