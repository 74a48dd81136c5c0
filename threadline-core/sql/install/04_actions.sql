-- The doors the application comes in by. Everything it may say goes through these; it has no
-- rights on the tables themselves.
--
-- They run around every audited write, so they are as short as they can be: an expression costs as
-- much again in every transaction, and setting a search path for a call more than ten of them.
-- They run with the owner's rights under the session's path instead, and qualify every name, as
-- capture does.

-- Records an action in the running transaction. `action` holds id, name, and optionally status,
-- verb, category, reason, comment, meta; the rest comes from `actor` and `context`.
--
-- Actions are kept by the time in their ids, so an id that says nothing of now is refused: one that is
-- no version 7 uuid, or of more than a day ahead, or of more than ten years ago.
CREATE OR REPLACE FUNCTION @threadline@.record_action(
    action jsonb, actor jsonb, context jsonb
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER AS $record$
#variable_conflict use_column
DECLARE
    represented pg_catalog.jsonb;
    recorded pg_catalog.uuid := (action OPERATOR(pg_catalog.->>) 'id')::pg_catalog.uuid;
    octets pg_catalog.bytea := pg_catalog.uuid_send(recorded);
    now_ms pg_catalog.int8 := pg_catalog.date_part('epoch', pg_catalog.now()) OPERATOR(pg_catalog.*) 1000;
BEGIN
    -- The first six bytes are milliseconds since 1970.
    IF (
        pg_catalog.get_byte(octets, 6) OPERATOR(pg_catalog./) 16 OPERATOR(pg_catalog.=) 7
        AND pg_catalog.substr(octets, 1, 6) OPERATOR(pg_catalog.>) pg_catalog.substr(
            pg_catalog.int8send(now_ms OPERATOR(pg_catalog.-) 315576000000), 3)
        AND pg_catalog.substr(octets, 1, 6) OPERATOR(pg_catalog.<) pg_catalog.substr(
            pg_catalog.int8send(now_ms OPERATOR(pg_catalog.+) 86400000), 3)
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'no id of an action: %', COALESCE(action OPERATOR(pg_catalog.->>) 'id', 'none')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'An action''s id is a version 7 uuid of now; see guides/attribution.md.';
    END IF;
    -- As is_actor_ref and plain_actor_ref have it; a call of a SQL function would cost more than all
    -- of this.
    IF actor IS NOT NULL AND (
        (actor OPERATOR(pg_catalog.->>) 'type') OPERATOR(pg_catalog.=) 'anonymous'
        OR (actor OPERATOR(pg_catalog.->>) 'type') OPERATOR(pg_catalog.=) ANY (
            ARRAY['user', 'admin', 'service_account', 'job', 'system']
        ) AND (actor OPERATOR(pg_catalog.->>) 'id') OPERATOR(pg_catalog.<>) ''
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'no actor: %', actor
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'An actor is {"type": "user", "id": "42"}; see guides/domain-reference.md.';
    END IF;
    IF context OPERATOR(pg_catalog.?) 'on_behalf_of' THEN
        represented := @threadline@.plain_actor_ref(context OPERATOR(pg_catalog.->) 'on_behalf_of');
    END IF;
    INSERT INTO @threadline@.audit_actions (
        id, transaction_id, recorded_at, name, status, actor_ref, on_behalf_of, verb, category,
        reason, comment, correlation_id, request_id, job_id, meta
    ) VALUES (
        recorded,
        @threadline@.current_transaction_id(),
        pg_catalog.clock_timestamp(),
        action OPERATOR(pg_catalog.->>) 'name',
        COALESCE(action OPERATOR(pg_catalog.->>) 'status', 'ok'),
        CASE
            WHEN (actor OPERATOR(pg_catalog.->>) 'type') OPERATOR(pg_catalog.=) 'anonymous'
                THEN '{"type": "anonymous"}'
            WHEN actor IS NOT NULL THEN pg_catalog.jsonb_build_object(
                'type', actor OPERATOR(pg_catalog.->>) 'type',
                'id', actor OPERATOR(pg_catalog.->>) 'id'
            )
        END,
        represented,
        action OPERATOR(pg_catalog.->>) 'verb',
        action OPERATOR(pg_catalog.->>) 'category',
        action OPERATOR(pg_catalog.->>) 'reason',
        action OPERATOR(pg_catalog.->>) 'comment',
        context OPERATOR(pg_catalog.->>) 'correlation_id',
        context OPERATOR(pg_catalog.->>) 'request_id',
        context OPERATOR(pg_catalog.->>) 'job_id',
        action OPERATOR(pg_catalog.->) 'meta'
    );
    RETURN recorded;
END
$record$;

-- The settings in force, as close_audited_work takes them to put them back.
CREATE OR REPLACE FUNCTION @threadline@.published_context() RETURNS jsonb
LANGUAGE plpgsql STABLE AS $published$
BEGIN
    RETURN pg_catalog.jsonb_build_object(
        'actor_ref', pg_catalog.current_setting('threadline.actor_ref', true),
        'context', pg_catalog.current_setting('threadline.context', true),
        'action_id', pg_catalog.current_setting('threadline.action_id', true)
    );
END
$published$;

-- The context of work inside other work: it says which action is the outermost.
CREATE OR REPLACE FUNCTION @threadline@.nested_context(
    context jsonb, action_id text, before jsonb
) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $nested$
DECLARE
    outermost pg_catalog.text;
BEGIN
    BEGIN
        outermost := (before OPERATOR(pg_catalog.->>) 'context')::pg_catalog.jsonb
            OPERATOR(pg_catalog.->>) 'action_id';
    EXCEPTION WHEN OTHERS THEN
        outermost := NULL; -- malformed context of somebody else; capture reports it
    END;
    IF outermost IS NULL
        AND (before OPERATOR(pg_catalog.->>) 'action_id') OPERATOR(pg_catalog.<>) ''
    THEN
        outermost := before OPERATOR(pg_catalog.->>) 'action_id';
    END IF;
    IF COALESCE(outermost, action_id) IS NULL THEN
        RETURN context;
    END IF;
    RETURN context OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object(
        'action_id', COALESCE(outermost, action_id)
    );
END
$nested$;

-- Opens an audited piece of work in the running transaction: publishes the context by
-- transaction-local settings and records the action, if there is one.
--
-- `work` is {"actor_ref": ..., "context": {...}, "action": {...}}. Returns what was in force
-- before, for leave_audited_work or close_audited_work.
CREATE OR REPLACE FUNCTION @threadline@.open_audited_work(work jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER AS $open$
DECLARE
    before pg_catalog.jsonb;
    context pg_catalog.jsonb := COALESCE(work OPERATOR(pg_catalog.->) 'context', '{}');
    action_id pg_catalog.text;
    published pg_catalog.text;
BEGIN
    IF work OPERATOR(pg_catalog.?) 'action' THEN
        action_id := @threadline@.record_action(
            work OPERATOR(pg_catalog.->) 'action', work OPERATOR(pg_catalog.->) 'actor_ref', context
        )::pg_catalog.text;
    END IF;
    IF pg_catalog.concat(
        pg_catalog.current_setting('threadline.actor_ref', true),
        pg_catalog.current_setting('threadline.context', true),
        pg_catalog.current_setting('threadline.action_id', true)
    ) OPERATOR(pg_catalog.<>) '' THEN
        before := @threadline@.published_context();
        context := @threadline@.nested_context(context, action_id, before);
        action_id := COALESCE(action_id, before OPERATOR(pg_catalog.->>) 'action_id');
    END IF;
    published := pg_catalog.concat(
        pg_catalog.set_config(
            'threadline.actor_ref', COALESCE(work OPERATOR(pg_catalog.->>) 'actor_ref', ''), true
        ),
        pg_catalog.set_config('threadline.context', context::pg_catalog.text, true),
        pg_catalog.set_config('threadline.action_id', COALESCE(action_id, ''), true)
    );
    RETURN COALESCE(before, '{}');
END
$open$;

-- Leaves an audited piece of work: puts back what was in force before it, where it was inside
-- other work or a transaction that had begun (`before` is NULL otherwise: the settings end with the
-- transaction), and says which audit transaction the running one is: none if nothing was captured.
--
-- Capture notes that it has made the transaction's row; the note begins with the transaction's xid,
-- and is taken back with the row when a savepoint is rolled back.
CREATE OR REPLACE FUNCTION @threadline@.leave_audited_work(before jsonb) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER AS $leave$
DECLARE
    put_back pg_catalog.text;
    this_transaction pg_catalog.uuid;
BEGIN
    IF before IS NOT NULL THEN
        put_back := pg_catalog.concat(
            pg_catalog.set_config(
                'threadline.actor_ref', COALESCE(before OPERATOR(pg_catalog.->>) 'actor_ref', ''), true
            ),
            pg_catalog.set_config(
                'threadline.context', COALESCE(before OPERATOR(pg_catalog.->>) 'context', ''), true
            ),
            pg_catalog.set_config(
                'threadline.action_id', COALESCE(before OPERATOR(pg_catalog.->>) 'action_id', ''), true
            )
        );
    END IF;
    -- As current_transaction_id has it, but a transaction that wrote nothing gets no id for this.
    this_transaction := pg_catalog.encode(
        pg_catalog.timestamptz_send(pg_catalog.now()) OPERATOR(pg_catalog.||)
            pg_catalog.xid8send(pg_catalog.pg_current_xact_id_if_assigned()),
        'hex'
    )::pg_catalog.uuid;
    RETURN CASE
        WHEN pg_catalog.starts_with(
            pg_catalog.current_setting('threadline.recorded', true),
            pg_catalog.concat(pg_catalog.txid_current_if_assigned(), '|')
        )
            THEN this_transaction
    END;
END
$leave$;

-- Leaves an audited piece of work, and says besides how much it captured: under the given action,
-- or in the whole transaction if there is none. It reads the trail, which under SERIALIZABLE can make a
-- conflict with whoever captures at the same time; leave_audited_work does not.
CREATE OR REPLACE FUNCTION @threadline@.close_audited_work(
    before jsonb, action uuid,
    OUT transaction_id uuid, OUT changes bigint, OUT tables bigint
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $close$
#variable_conflict use_column
DECLARE
    this_transaction uuid := @threadline@.leave_audited_work(before);
    this_moment timestamptz := clock_timestamp();
BEGIN
    transaction_id := this_transaction;
    changes := 0;
    tables := 0;
    IF this_transaction IS NULL THEN
        RETURN;
    END IF;
    -- The bounds on captured_at only spare the partitions of other months.
    SELECT count(*), count(DISTINCT (change.table_schema, change.table_name))
    INTO changes, tables
    FROM @threadline@.audit_changes AS change
    WHERE change.transaction_id = this_transaction
        AND change.captured_at > now() - interval '1 day'
        AND change.captured_at < this_moment + interval '1 day'
        AND (action IS NULL OR change.action_id = action);
END
$close$;
