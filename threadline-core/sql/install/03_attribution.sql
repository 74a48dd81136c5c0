-- Who, why, and in which transaction: the context in force, and the transaction's row.
--
-- These functions run inside the host's writes, with the rights of the trail's owner and under
-- whatever search path the session has. So every name is qualified, operators included, and IS
-- DISTINCT FROM, NULLIF, IN and CASE x WHEN, which look `=` up by the search path, are not used.

-- The id of the running transaction: its start, then its xid. Needs no look-up and cannot be set
-- by a session; the same for everyone who asks within the transaction.
CREATE OR REPLACE FUNCTION @threadline@.current_transaction_id() RETURNS uuid
LANGUAGE sql STABLE
RETURN pg_catalog.encode(
    pg_catalog.timestamptz_send(pg_catalog.now())
        OPERATOR(pg_catalog.||) pg_catalog.xid8send(pg_catalog.pg_current_xact_id()),
    'hex'
)::uuid;

-- Whether a JSON value says who: {"type": ..., "id": ...}.
CREATE OR REPLACE FUNCTION @threadline@.is_actor_ref(candidate jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN COALESCE(
    pg_catalog.jsonb_typeof(candidate) OPERATOR(pg_catalog.=) 'object'
    AND (
        (candidate OPERATOR(pg_catalog.->>) 'type') OPERATOR(pg_catalog.=) 'anonymous'
        OR (
            (candidate OPERATOR(pg_catalog.->>) 'type') OPERATOR(pg_catalog.=) ANY (
                ARRAY['user', 'admin', 'service_account', 'job', 'system']
            )
            AND pg_catalog.jsonb_typeof(candidate OPERATOR(pg_catalog.->) 'id')
                OPERATOR(pg_catalog.=) ANY (ARRAY['string', 'number'])
            AND (candidate OPERATOR(pg_catalog.->>) 'id') OPERATOR(pg_catalog.<>) ''
        )
    ),
    false
);

-- The two fields of an actor and nothing else, both texts.
CREATE OR REPLACE FUNCTION @threadline@.plain_actor_ref(actor jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN (actor OPERATOR(pg_catalog.->>) 'type') IS NULL THEN NULL
    WHEN (actor OPERATOR(pg_catalog.->>) 'type') OPERATOR(pg_catalog.=) 'anonymous'
        THEN '{"type": "anonymous"}'::jsonb
    ELSE pg_catalog.jsonb_build_object(
        'type', actor OPERATOR(pg_catalog.->>) 'type', 'id', actor OPERATOR(pg_catalog.->>) 'id'
    )
END;

DO $types$
BEGIN
    IF pg_catalog.to_regtype('@threadline@.context_in_force') IS NULL THEN
        CREATE TYPE @threadline@.context_in_force AS (
            actor_ref      jsonb,
            on_behalf_of   jsonb,
            action_id      uuid, -- in force
            root_action_id uuid, -- outermost
            request_id     text,
            correlation_id text,
            job_id         text,
            source         text,
            remote_addr    text,
            meta           jsonb,
            error          text  -- what was malformed, as it was given
        );
    END IF;
    IF pg_catalog.to_regtype('@threadline@.attribution') IS NULL THEN
        CREATE TYPE @threadline@.attribution AS (
            action_id  uuid,
            actor_ref  jsonb,
            attributed boolean,
            suspension bigint -- capture of the table is suspended
        );
    END IF;
END
$types$;

-- Whether a text is short enough to be looked up by: an entry of an index takes 2,700 bytes at most.
CREATE OR REPLACE FUNCTION @threadline@.can_be_looked_up(VARIADIC texts text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    SELECT pg_catalog.bool_and(pg_catalog.octet_length(given) OPERATOR(pg_catalog.<=) 1024) IS NOT FALSE
    FROM pg_catalog.unnest(texts) AS given
);

-- Reads the three settings a writer may have made, field by field. Whatever is malformed, larger than 64 kB,
-- or an id of more than 1,024 bytes, is kept as text in `error`; nothing here ever fails.
CREATE OR REPLACE FUNCTION @threadline@.read_hostile_context()
RETURNS @threadline@.context_in_force
LANGUAGE plpgsql STABLE AS $read$
DECLARE
    actor_text   pg_catalog.text := pg_catalog.current_setting('threadline.actor_ref', true);
    context_text pg_catalog.text := pg_catalog.current_setting('threadline.context', true);
    action_text  pg_catalog.text := pg_catalog.current_setting('threadline.action_id', true);
    given pg_catalog.jsonb;
    seen @threadline@.context_in_force;
    size_limit CONSTANT integer := 65536;
    known_keys CONSTANT pg_catalog.text[] := ARRAY[
        'on_behalf_of', 'action_id', 'request_id', 'correlation_id', 'job_id', 'source',
        'remote_addr', 'meta'
    ];
BEGIN
    IF actor_text OPERATOR(pg_catalog.<>) '' THEN
        BEGIN
            IF pg_catalog.octet_length(actor_text) OPERATOR(pg_catalog.<=) size_limit THEN
                given := actor_text::pg_catalog.jsonb;
            END IF;
            IF @threadline@.is_actor_ref(given)
                AND @threadline@.can_be_looked_up(given OPERATOR(pg_catalog.->>) 'id')
            THEN
                seen.actor_ref := @threadline@.plain_actor_ref(given);
            ELSE
                seen.error := pg_catalog."left"(actor_text, 1024);
            END IF;
        EXCEPTION WHEN OTHERS THEN
            seen.error := pg_catalog."left"(actor_text, 1024);
        END;
    END IF;

    IF action_text OPERATOR(pg_catalog.<>) '' THEN
        BEGIN
            seen.action_id := action_text::pg_catalog.uuid;
        EXCEPTION WHEN OTHERS THEN
            seen.error := pg_catalog.concat_ws(
                E'\n', seen.error, pg_catalog."left"(action_text, 1024)
            );
        END;
    END IF;
    seen.root_action_id := seen.action_id;

    IF context_text OPERATOR(pg_catalog.<>) '' THEN
        given := NULL;
        BEGIN
            IF pg_catalog.octet_length(context_text) OPERATOR(pg_catalog.<=) size_limit THEN
                given := context_text::pg_catalog.jsonb;
            END IF;
            IF (pg_catalog.jsonb_typeof(given) OPERATOR(pg_catalog.=) 'object') IS TRUE THEN
                seen.request_id     := given OPERATOR(pg_catalog.->>) 'request_id';
                seen.correlation_id := given OPERATOR(pg_catalog.->>) 'correlation_id';
                seen.job_id         := given OPERATOR(pg_catalog.->>) 'job_id';
                seen.source         := given OPERATOR(pg_catalog.->>) 'source';
                seen.remote_addr    := given OPERATOR(pg_catalog.->>) 'remote_addr';
                IF (given OPERATOR(pg_catalog.->>) 'action_id') IS NOT NULL THEN
                    seen.root_action_id :=
                        (given OPERATOR(pg_catalog.->>) 'action_id')::pg_catalog.uuid;
                END IF;
                seen.meta := given OPERATOR(pg_catalog.->) 'meta';
                IF NOT @threadline@.can_be_looked_up(seen.request_id, seen.correlation_id, seen.job_id)
                THEN
                    seen.request_id := NULL;
                    seen.correlation_id := NULL;
                    seen.job_id := NULL;
                    RAISE EXCEPTION 'an id of more than 1,024 bytes';
                END IF;
                IF (given OPERATOR(pg_catalog.->>) 'on_behalf_of') IS NOT NULL THEN
                    IF @threadline@.is_actor_ref(given OPERATOR(pg_catalog.->) 'on_behalf_of')
                        AND @threadline@.can_be_looked_up(
                            given OPERATOR(pg_catalog.#>>) '{on_behalf_of,id}'
                        )
                    THEN
                        seen.on_behalf_of := @threadline@.plain_actor_ref(
                            given OPERATOR(pg_catalog.->) 'on_behalf_of'
                        );
                    ELSE
                        RAISE EXCEPTION 'on_behalf_of is no actor';
                    END IF;
                END IF;
                IF seen.meta IS NOT NULL
                    AND pg_catalog.jsonb_typeof(seen.meta) OPERATOR(pg_catalog.<>) 'object'
                THEN
                    seen.meta := pg_catalog.jsonb_build_object('value', seen.meta);
                END IF;
                -- A misspelt key is an error its writer should see, not a silent loss.
                IF (given OPERATOR(pg_catalog.-) known_keys) OPERATOR(pg_catalog.<>) '{}'::pg_catalog.jsonb THEN
                    RAISE EXCEPTION 'unknown key';
                END IF;
            ELSE
                RAISE EXCEPTION 'no object';
            END IF;
        EXCEPTION WHEN OTHERS THEN
            seen.error := pg_catalog.concat_ws(
                E'\n', seen.error, pg_catalog."left"(context_text, 1024)
            );
        END;
    END IF;

    IF seen.error IS NOT NULL THEN
        seen.meta := COALESCE(seen.meta, '{}'::pg_catalog.jsonb)
            OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object('context_error', seen.error);
    END IF;
    RETURN seen;
END
$read$;

-- The same, as cheaply as it goes: at a transaction's first change, where a context is set. One that
-- is in order and says nothing rare is read by a handful of expressions (each costs as much again in
-- every transaction, and so does every function in it); the rest is read with care.
CREATE OR REPLACE FUNCTION @threadline@.read_context() RETURNS @threadline@.context_in_force
LANGUAGE plpgsql STABLE AS $read$
DECLARE
    actor_text   pg_catalog.text := pg_catalog.current_setting('threadline.actor_ref', true);
    context_text pg_catalog.text := pg_catalog.current_setting('threadline.context', true);
    action_text  pg_catalog.text := pg_catalog.current_setting('threadline.action_id', true);
    actor pg_catalog.jsonb;
    given pg_catalog.jsonb;
    seen @threadline@.context_in_force;
BEGIN
    -- Writes nothing, so the block takes no subtransaction id.
    BEGIN
        actor := CASE WHEN actor_text OPERATOR(pg_catalog.<>) '' THEN actor_text::pg_catalog.jsonb END;
        given := CASE WHEN context_text OPERATOR(pg_catalog.<>) '' THEN context_text::pg_catalog.jsonb ELSE '{}' END;
        -- So short that every id in it is short enough for an index.
        IF pg_catalog.octet_length(pg_catalog.concat(actor_text, context_text)) OPERATOR(pg_catalog.<=) 2048
            AND (
                actor IS NULL
                OR (actor OPERATOR(pg_catalog.->>) 'type') OPERATOR(pg_catalog.=) ANY (
                    ARRAY['user', 'admin', 'service_account', 'job', 'system']
                )
                AND (actor OPERATOR(pg_catalog.->>) 'id') OPERATOR(pg_catalog.<>) ''
                -- Two texts, and nothing else.
                AND actor OPERATOR(pg_catalog.=) pg_catalog.jsonb_build_object(
                    'type', actor OPERATOR(pg_catalog.->>) 'type', 'id', actor OPERATOR(pg_catalog.->>) 'id'
                )
            )
            -- An object (nothing else is empty without these keys), whose meta is one.
            AND (given OPERATOR(pg_catalog.-) ARRAY[
                'action_id', 'request_id', 'correlation_id', 'job_id', 'source', 'remote_addr', 'meta'
            ]) OPERATOR(pg_catalog.=) '{}'::pg_catalog.jsonb
            AND ((given OPERATOR(pg_catalog.->) 'meta') OPERATOR(pg_catalog.@>) '{}') IS NOT FALSE
        THEN
            seen := ROW(
                actor,
                NULL,
                CASE WHEN action_text OPERATOR(pg_catalog.<>) '' THEN action_text::pg_catalog.uuid END,
                COALESCE(
                    (given OPERATOR(pg_catalog.->>) 'action_id')::pg_catalog.uuid,
                    CASE WHEN action_text OPERATOR(pg_catalog.<>) '' THEN action_text::pg_catalog.uuid END
                ),
                given OPERATOR(pg_catalog.->>) 'request_id',
                given OPERATOR(pg_catalog.->>) 'correlation_id',
                given OPERATOR(pg_catalog.->>) 'job_id',
                given OPERATOR(pg_catalog.->>) 'source',
                given OPERATOR(pg_catalog.->>) 'remote_addr',
                given OPERATOR(pg_catalog.->) 'meta',
                NULL
            )::@threadline@.context_in_force;
            RETURN seen;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        NULL; -- out of order
    END;
    RETURN @threadline@.read_hostile_context();
END
$read$;

-- Remembers in which subtransaction of the session the running transaction's row was made, by the 32
-- bits that the row knows of it; the others are those of the transaction.
CREATE OR REPLACE FUNCTION @threadline@.remember_its_row(made_in xid) RETURNS void
LANGUAGE plpgsql AS $remember$
DECLARE
    this bigint := pg_catalog.txid_current();
BEGIN
    PERFORM pg_catalog.setval(
        '@threadline@.capture_session'::pg_catalog.regclass,
        this OPERATOR(pg_catalog.+) (
            (made_in::pg_catalog.text::bigint OPERATOR(pg_catalog.-) this)
                OPERATOR(pg_catalog.&) 4294967295
        )
    );
END
$remember$;

-- Whether capture remembers that the running transaction has its row: that it was made by the
-- transaction itself, or by a subtransaction that was not rolled back. As capture/noted.sql has it.
CREATE OR REPLACE FUNCTION @threadline@.has_its_row() RETURNS boolean
LANGUAGE plpgsql AS $has$
DECLARE
    this bigint := pg_catalog.txid_current();
    made_in bigint;
BEGIN
    BEGIN
        made_in := pg_catalog.currval('@threadline@.capture_session'::pg_catalog.regclass);
    EXCEPTION WHEN object_not_in_prerequisite_state THEN
        RETURN false; -- capture has nothing to remember of this session
    END;
    RETURN made_in OPERATOR(pg_catalog.=) this
        OR made_in OPERATOR(pg_catalog.>) this
        AND pg_catalog.txid_status(made_in) OPERATOR(pg_catalog.=) 'in progress';
END
$has$;

-- Makes sure that the running transaction has its row, and says what its changes carry.
--
-- Called by capture when its note of the context is not `expected`, the one in force: at a
-- transaction's first change, and after the context changed.
--
-- The note is the setting threadline.recorded. PostgreSQL takes it back together with the row when a
-- savepoint is rolled back. A session can make it up or put it back, so it is believed only beside
-- what capture remembers of the session (has_its_row); one that is lost costs a look-up.
CREATE OR REPLACE FUNCTION @threadline@.record_transaction(
    this_transaction uuid, expected text, table_schema text, table_name text
) RETURNS @threadline@.attribution
LANGUAGE plpgsql AS $record$
#variable_conflict use_column
DECLARE
    note pg_catalog.text := pg_catalog.current_setting('threadline.recorded', true);
    v_suspended boolean := (
        pg_catalog.current_setting('threadline.suspended', true) OPERATOR(pg_catalog.<>) ''
    ) IS TRUE;
    -- To read among the rows of its neighbours would let a serializable transaction fail.
    v_may_read boolean := pg_catalog.current_setting('transaction_isolation')
        OPERATOR(pg_catalog.<>) 'serializable';
    v_noted boolean := pg_catalog.starts_with(
        note, pg_catalog.concat(pg_catalog.txid_current(), '|')
    ) IS TRUE;
    v_has_row boolean := v_noted AND @threadline@.has_its_row();
    v_context @threadline@.context_in_force;
    v_found @threadline@.attribution;
    v_recorded_actor pg_catalog.jsonb;
    v_made_in pg_catalog.xid;
    v_same boolean := false;
BEGIN
    IF v_suspended THEN
        v_found.suspension := @threadline@.suspension_of(table_schema, table_name);
        IF v_found.suspension IS NOT NULL THEN
            RETURN v_found;
        END IF;
    END IF;
    IF pg_catalog.concat(
        pg_catalog.current_setting('threadline.actor_ref', true),
        pg_catalog.current_setting('threadline.context', true),
        pg_catalog.current_setting('threadline.action_id', true)
    ) OPERATOR(pg_catalog.<>) '' THEN
        v_context := @threadline@.read_context();
    END IF;
    v_found.action_id := v_context.action_id;
    v_found.attributed := v_context.actor_ref IS NOT NULL;

    IF v_noted AND NOT v_has_row AND v_may_read THEN
        SELECT recorded.xmin INTO v_made_in
        FROM @threadline@.audit_transactions AS recorded
        WHERE recorded.id OPERATOR(pg_catalog.=) this_transaction;
        IF v_made_in IS NOT NULL THEN
            PERFORM @threadline@.remember_its_row(v_made_in);
            v_has_row := true;
        END IF;
    END IF;
    IF NOT v_has_row THEN
        -- A note can be lost, by DISCARD for instance. Naming the conflict's target would cost a
        -- look-up of every partition's index.
        INSERT INTO @threadline@.audit_transactions (
            id, occurred_at, xid, action_id, backend_pid, actor_ref, on_behalf_of, request_id,
            correlation_id, job_id, source, remote_addr, meta, db_user, application_name,
            client_addr
        ) VALUES (
            this_transaction, pg_catalog.clock_timestamp(), pg_catalog.pg_current_xact_id(),
            v_context.root_action_id, pg_catalog.pg_backend_pid(), v_context.actor_ref,
            v_context.on_behalf_of, v_context.request_id, v_context.correlation_id,
            v_context.job_id, v_context.source, v_context.remote_addr, v_context.meta,
            session_user, pg_catalog.current_setting('application_name'),
            pg_catalog.inet_client_addr()
        ) ON CONFLICT DO NOTHING;
        IF FOUND THEN
            PERFORM
                pg_catalog.set_config(
                    'threadline.recorded',
                    pg_catalog.concat(
                        expected, CASE WHEN v_context.error IS NOT NULL OR v_suspended THEN '!' END
                    ),
                    true
                ),
                pg_catalog.setval(
                    '@threadline@.capture_session'::pg_catalog.regclass,
                    CASE WHEN v_may_read THEN 1 ELSE pg_catalog.txid_current() END
                );
            RETURN v_found;
        END IF;
    ELSIF (note OPERATOR(pg_catalog.=) expected) IS TRUE THEN
        RETURN v_found; -- in the context that the row has
    END IF;

    -- The transaction has its row, and the context changed since. What the row does not know
    -- yet is filled in; what it knows stays, and later changes carry their own actor.
    IF pg_catalog.num_nonnulls(
        v_context.root_action_id, v_context.request_id, v_context.correlation_id, v_context.job_id,
        v_context.source, v_context.remote_addr, v_context.meta
    ) OPERATOR(pg_catalog.>) 0 THEN
        UPDATE @threadline@.audit_transactions AS recorded
        SET action_id      = COALESCE(recorded.action_id, v_context.root_action_id),
            request_id     = COALESCE(recorded.request_id, v_context.request_id),
            correlation_id = COALESCE(recorded.correlation_id, v_context.correlation_id),
            job_id         = COALESCE(recorded.job_id, v_context.job_id),
            source         = COALESCE(recorded.source, v_context.source),
            remote_addr    = COALESCE(recorded.remote_addr, v_context.remote_addr),
            meta           = COALESCE(
                v_context.meta OPERATOR(pg_catalog.||) recorded.meta, recorded.meta, v_context.meta
            )
        WHERE recorded.id OPERATOR(pg_catalog.=) this_transaction
            AND (
                recorded.action_id IS NULL AND v_context.root_action_id IS NOT NULL
                OR recorded.request_id IS NULL AND v_context.request_id IS NOT NULL
                OR recorded.correlation_id IS NULL AND v_context.correlation_id IS NOT NULL
                OR recorded.job_id IS NULL AND v_context.job_id IS NOT NULL
                OR recorded.source IS NULL AND v_context.source IS NOT NULL
                OR recorded.remote_addr IS NULL AND v_context.remote_addr IS NOT NULL
                OR v_context.meta IS NOT NULL
                    AND (v_context.meta OPERATOR(pg_catalog.<@) recorded.meta) IS NOT TRUE
            );
    END IF;
    IF v_may_read THEN
        SELECT recorded.actor_ref, recorded.xmin INTO v_recorded_actor, v_made_in
        FROM @threadline@.audit_transactions AS recorded
        WHERE recorded.id OPERATOR(pg_catalog.=) this_transaction;
        v_same := COALESCE(
            v_recorded_actor OPERATOR(pg_catalog.=) v_context.actor_ref,
            v_recorded_actor IS NULL AND v_context.actor_ref IS NULL
        );
        IF NOT v_has_row THEN
            PERFORM @threadline@.remember_its_row(v_made_in);
        END IF;
    END IF;
    IF NOT v_same THEN
        v_found.actor_ref := COALESCE(v_context.actor_ref, 'null'::pg_catalog.jsonb);
    END IF;
    -- Only a context that is in order and the transaction's own lets the next change pass
    -- without coming here.
    PERFORM pg_catalog.set_config(
        'threadline.recorded',
        expected OPERATOR(pg_catalog.||)
            CASE WHEN v_context.error IS NULL AND v_same AND NOT v_suspended THEN '' ELSE '!' END,
        true
    );
    RETURN v_found;
END
$record$;

-- The same for callers that are not in a hurry.
CREATE OR REPLACE FUNCTION @threadline@.attribute_change(
    this_transaction uuid, table_schema text, table_name text
) RETURNS @threadline@.attribution
LANGUAGE plpgsql AS $attribute$
BEGIN
    RETURN @threadline@.record_transaction(
        this_transaction,
        pg_catalog.concat(
            pg_catalog.txid_current(),
            '|', pg_catalog.current_setting('threadline.actor_ref', true),
            '|', pg_catalog.current_setting('threadline.context', true),
            '|', pg_catalog.current_setting('threadline.action_id', true)
        ),
        table_schema,
        table_name
    );
END
$attribute$;

-- Attributes changes that capture has just recorded in the belief that they were the transaction's
-- first, where they were not: the session had lost capture's note, by RESET ALL for instance. Those
-- of a statement have one instant; without one, it is the change with the newest id.
CREATE OR REPLACE FUNCTION @threadline@.attribute_first_changes(
    this_transaction uuid, expected text, table_schema text, table_name text, instant timestamptz
) RETURNS void
LANGUAGE plpgsql AS $attribute$
DECLARE
    found @threadline@.attribution := @threadline@.record_transaction(
        this_transaction, expected, table_schema, table_name
    );
BEGIN
    IF found.actor_ref IS NOT NULL THEN
        UPDATE @threadline@.audit_changes AS change
        SET actor_ref = found.actor_ref
        WHERE change.transaction_id OPERATOR(pg_catalog.=) this_transaction
            AND CASE WHEN instant IS NOT NULL THEN change.captured_at OPERATOR(pg_catalog.=) instant
                ELSE change.id OPERATOR(pg_catalog.=) pg_catalog.currval(
                    '@threadline@.audit_changes_id_seq'::pg_catalog.regclass
                ) END;
    END IF;
END
$attribute$;

-- What a table in strict mode answers to a write that nobody signed.
CREATE OR REPLACE FUNCTION @threadline@.refuse_unattributed(table_schema text, table_name text)
RETURNS void
LANGUAGE plpgsql AS $refuse$
BEGIN
    RAISE EXCEPTION 'unattributed write to %.% refused: no valid actor is set in this transaction',
        table_schema, table_name
        USING ERRCODE = 'TL001',
              HINT = 'Write through an audited transaction, or set the actor first: '
                  'SELECT set_config(''threadline.actor_ref'', ''{"type":"user","id":"42"}'', true).';
END
$refuse$;
