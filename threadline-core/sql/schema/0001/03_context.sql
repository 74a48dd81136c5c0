-- The context: actor, action and request that the application sets for its transaction.
--
-- Any role can set the settings threadline.actor_ref, threadline.context and threadline.action_id, so
-- their values are untrusted input. record_transaction is the only function that parses them.

-- The id of the current transaction: its start, then its xid. It is computed, so no look-up is needed.
CREATE FUNCTION @threadline@.current_transaction_id() RETURNS uuid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN encode(timestamptz_send(now()) || xid8send(pg_current_xact_id()), 'hex')::uuid;

-- Converts an actor {"type", "id"} to its stored form, type:id or anonymous; null if it is invalid.
-- The limit of an id is MAX_ACTOR_ID_BYTES in the library.
CREATE FUNCTION @threadline@.actor_text(actor jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN actor ->> 'type' = 'anonymous' THEN 'anonymous'
    WHEN actor ->> 'type' IN ('user', 'admin', 'service_account', 'job', 'system')
        AND jsonb_typeof(actor -> 'id') IN ('string', 'number')
        AND octet_length(actor ->> 'id') BETWEEN 1 AND 512
    THEN (actor ->> 'type') || ':' || (actor ->> 'id')
END;

-- The value of a setting as JSON; null if it is not JSON, or longer than 64 kB.
CREATE FUNCTION @threadline@.setting_as_jsonb(value text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN CASE WHEN octet_length(value) <= 65536 THEN value::jsonb END;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END
$$;

-- Inserts or completes the row of the current transaction, and returns the actor in force. Called when the
-- marker does not match: at the first change of a transaction, and when the context has changed.
--
-- A malformed context is stored unchanged in the column `context`, with the problems in its field
-- context_error; the valid fields are used. An invalid setting never raises an error.
CREATE FUNCTION @threadline@.record_transaction(this_transaction uuid, settings text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    setting text;
    given jsonb;
    actor text;
    represented text;
    root_action uuid;
    request text;
    correlation text;
    job text;
    problem text;
    marker text;
    hash bigint;
BEGIN
    IF settings <> concat(txid_current(), '|||') THEN
        setting := current_setting('threadline.actor_ref', true);
        IF setting <> '' THEN
            given := @threadline@.setting_as_jsonb(setting);
            actor := @threadline@.actor_text(given);
            given := NULL;
            IF actor IS NULL THEN
                problem := concat('threadline.actor_ref: ', left(setting, 1024));
            END IF;
        END IF;
        setting := current_setting('threadline.action_id', true);
        IF setting <> '' THEN
            IF setting ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
                root_action := setting;
            ELSE
                problem := concat_ws(E'\n', problem, 'threadline.action_id: ' || left(setting, 1024));
            END IF;
        END IF;
        setting := current_setting('threadline.context', true);
        IF setting <> '' THEN
            given := @threadline@.setting_as_jsonb(setting);
            IF jsonb_typeof(given) IS DISTINCT FROM 'object' THEN
                problem := concat_ws(E'\n', problem, 'threadline.context: ' || left(setting, 1024));
                given := NULL;
            ELSE
                request := given ->> 'request_id';
                correlation := given ->> 'correlation_id';
                job := given ->> 'job_id';
                IF octet_length(setting) > 256 THEN -- MAX_ID_BYTES in the library
                    problem := concat_ws(E'\n', problem,
                        CASE WHEN octet_length(request) > 256 THEN 'request_id: longer than 256 bytes' END,
                        CASE WHEN octet_length(correlation) > 256 THEN 'correlation_id: longer than 256 bytes' END,
                        CASE WHEN octet_length(job) > 256 THEN 'job_id: longer than 256 bytes' END
                    );
                END IF;
                IF given ? 'on_behalf_of' THEN
                    represented := @threadline@.actor_text(given -> 'on_behalf_of');
                    IF represented IS NULL AND given ->> 'on_behalf_of' IS NOT NULL THEN
                        problem := concat_ws(E'\n', problem, 'on_behalf_of: not an actor');
                    END IF;
                END IF;
                IF given ? 'action_id' THEN
                    IF given ->> 'action_id' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
                        root_action := given ->> 'action_id';
                    ELSE
                        problem := concat_ws(E'\n', problem, 'action_id: not a uuid');
                    END IF;
                END IF;
                IF given - '{source,remote_addr,meta,request_id,correlation_id,job_id,on_behalf_of,action_id}'::text[] <> '{}' THEN
                    problem := concat_ws(E'\n', problem, (
                        SELECT string_agg(left(field, 64) || ': not a field of the context', E'\n')
                        FROM jsonb_object_keys(given - '{source,remote_addr,meta,request_id,correlation_id,job_id,on_behalf_of,action_id}'::text[]) AS field
                    ));
                END IF;
                IF coalesce(problem, '') = '' THEN
                    given := nullif(given - '{request_id,correlation_id,job_id,on_behalf_of,action_id}'::text[], '{}');
                END IF;
            END IF;
        END IF;
        IF problem <> '' THEN
            given := coalesce(given, '{}') || jsonb_build_object('context_error', problem);
            request := CASE WHEN octet_length(request) <= 256 THEN request END;
            correlation := CASE WHEN octet_length(correlation) <= 256 THEN correlation END;
            job := CASE WHEN octet_length(job) <= 256 THEN job END;
        END IF;
    END IF;

    INSERT INTO @threadline@.audit_transactions (
        id, occurred_at, actor, on_behalf_of, action_id, request_id, correlation_id, job_id, context,
        xid, db_user, application_name, client_addr, backend_pid
    ) VALUES (
        this_transaction, clock_timestamp(), actor, represented, root_action, request, correlation, job, given,
        pg_current_xact_id(), session_user, current_setting('application_name'), inet_client_addr(),
        pg_backend_pid()
    ) ON CONFLICT DO NOTHING;
    IF NOT FOUND AND current_setting('transaction_isolation') <> 'serializable' THEN
        -- The row exists and the context has changed: fill in fields that are null. Not under
        -- SERIALIZABLE, where reading the index could cause serialization failures of other writers.
        UPDATE @threadline@.audit_transactions AS recorded
        SET action_id = coalesce(recorded.action_id, root_action),
            request_id = coalesce(recorded.request_id, request),
            correlation_id = coalesce(recorded.correlation_id, correlation),
            job_id = coalesce(recorded.job_id, job),
            context = coalesce(given || recorded.context || CASE
                WHEN jsonb_typeof(given -> 'meta') = 'object' AND jsonb_typeof(recorded.context -> 'meta') = 'object'
                THEN jsonb_build_object('meta', (given -> 'meta') || (recorded.context -> 'meta'))
                ELSE '{}'
            END, recorded.context, given)
        WHERE recorded.id = this_transaction
            AND (
                recorded.action_id IS NULL AND root_action IS NOT NULL
                OR recorded.request_id IS NULL AND request IS NOT NULL
                OR recorded.correlation_id IS NULL AND correlation IS NOT NULL
                OR recorded.job_id IS NULL AND job IS NOT NULL
                OR given IS NOT NULL AND (recorded.context @> given) IS NOT TRUE
            );
    END IF;

    -- Set the marker, so that the next change in the same context does not call this function. When a
    -- savepoint is rolled back, PostgreSQL restores the setting together with the row. No marker is set
    -- while capture is suspended or the context is malformed: every change calls this function.
    IF coalesce(problem, '') = '' AND coalesce(current_setting('threadline.suspended', true), '') = '' THEN
        -- Assignments of simple expressions, which do not start the executor as PERFORM would.
        marker := set_config('threadline.recorded', concat(settings, '|', actor), true);
        hash := setval('@threadline@.capture_session', hashtextextended(marker, 0));
    END IF;
    RETURN actor;
END
$$;
