-- Who and why: the context that the application sets for its transaction.
--
-- Any role can set the settings threadline.actor_ref, threadline.context and threadline.action_id, so
-- their values are untrusted input. parse_context is the only place that reads them.

-- The id of the running transaction: its start, then its xid. Computed, so that every caller in the
-- transaction gets the same id without a look-up.
CREATE FUNCTION @threadline@.current_transaction_id() RETURNS uuid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN encode(timestamptz_send(now()) || xid8send(pg_current_xact_id()), 'hex')::uuid;

-- An actor {"type", "id"} as the trail stores it: type:id, or anonymous. Null if it is not an actor.
-- The limit of an id is MAX_ACTOR_ID_BYTES in the library.
CREATE FUNCTION @threadline@.actor_text(actor jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF jsonb_typeof(actor) IS DISTINCT FROM 'object' THEN
        RETURN NULL;
    ELSIF actor ->> 'type' = 'anonymous' THEN
        RETURN 'anonymous';
    ELSIF actor ->> 'type' IN ('user', 'admin', 'service_account', 'job', 'system')
        AND jsonb_typeof(actor -> 'id') IN ('string', 'number')
        AND octet_length(actor ->> 'id') BETWEEN 1 AND 512
    THEN
        RETURN concat(actor ->> 'type', ':', actor ->> 'id');
    END IF;
    RETURN NULL;
END
$$;

CREATE TYPE @threadline@.audit_context AS (
    actor          text,
    on_behalf_of   text,
    action_id      uuid, -- in force
    root_action_id uuid, -- outermost
    request_id     text,
    correlation_id text,
    job_id         text,
    context        jsonb, -- the rest, and in context_error what was malformed
    is_malformed   boolean
);

-- Parses the three settings. Fields that are malformed or too long stay in `context` as they came and
-- are named in its context_error; they do not affect the other fields. Never raises an error.
-- Runs inside record_change, under its search path.
CREATE FUNCTION @threadline@.parse_context() RETURNS @threadline@.audit_context
LANGUAGE plpgsql STABLE AS $$
DECLARE
    actor_setting   text := current_setting('threadline.actor_ref', true);
    context_setting text := current_setting('threadline.context', true);
    action_setting  text := current_setting('threadline.action_id', true);
    parsed @threadline@.audit_context;
    given jsonb;
    problem text;
    field text;
    max_id_bytes CONSTANT integer := 256; -- MAX_ID_BYTES in the library
    max_setting_bytes CONSTANT integer := 65536;
BEGIN
    IF actor_setting <> '' THEN
        BEGIN
            IF octet_length(actor_setting) <= max_setting_bytes THEN
                parsed.actor := @threadline@.actor_text(actor_setting::jsonb);
            END IF;
        EXCEPTION WHEN OTHERS THEN
            NULL; -- not JSON
        END;
        IF parsed.actor IS NULL THEN
            problem := concat('threadline.actor_ref: ', left(actor_setting, 1024));
        END IF;
    END IF;

    IF action_setting <> '' THEN
        IF action_setting ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
            parsed.action_id := action_setting::uuid;
        ELSE
            problem := concat_ws(E'\n', problem, 'threadline.action_id: ' || left(action_setting, 1024));
        END IF;
    END IF;

    IF context_setting <> '' THEN
        BEGIN
            IF octet_length(context_setting) <= max_setting_bytes THEN
                given := context_setting::jsonb;
            END IF;
        EXCEPTION WHEN OTHERS THEN
            NULL; -- not JSON
        END;
        IF jsonb_typeof(given) IS DISTINCT FROM 'object' THEN
            problem := concat_ws(E'\n', problem, 'threadline.context: ' || left(context_setting, 1024));
            given := NULL;
        ELSE
            parsed.request_id := given ->> 'request_id';
            parsed.correlation_id := given ->> 'correlation_id';
            parsed.job_id := given ->> 'job_id';
            IF octet_length(context_setting) > max_id_bytes THEN
                IF octet_length(parsed.request_id) > max_id_bytes THEN
                    problem := concat_ws(E'\n', problem, 'request_id: longer than 256 bytes');
                    parsed.request_id := NULL;
                END IF;
                IF octet_length(parsed.correlation_id) > max_id_bytes THEN
                    problem := concat_ws(E'\n', problem, 'correlation_id: longer than 256 bytes');
                    parsed.correlation_id := NULL;
                END IF;
                IF octet_length(parsed.job_id) > max_id_bytes THEN
                    problem := concat_ws(E'\n', problem, 'job_id: longer than 256 bytes');
                    parsed.job_id := NULL;
                END IF;
            END IF;
            IF given ? 'on_behalf_of' THEN
                parsed.on_behalf_of := @threadline@.actor_text(given -> 'on_behalf_of');
                IF parsed.on_behalf_of IS NULL AND given ->> 'on_behalf_of' IS NOT NULL THEN
                    problem := concat_ws(E'\n', problem, 'on_behalf_of: not an actor');
                ELSE
                    given := given - 'on_behalf_of';
                END IF;
            END IF;
            IF given ? 'action_id' THEN
                IF given ->> 'action_id' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
                    parsed.root_action_id := given ->> 'action_id';
                    given := given - 'action_id';
                ELSE
                    problem := concat_ws(E'\n', problem, 'action_id: not a uuid');
                END IF;
            END IF;
            IF problem IS NULL THEN
                given := given - '{request_id,correlation_id,job_id}'::text[];
            END IF;
            -- A misspelt field is stored, and named.
            IF given - '{source,remote_addr,meta,request_id,correlation_id,job_id,on_behalf_of,action_id}'::text[] <> '{}' THEN
                FOR field IN SELECT jsonb_object_keys(
                    given - '{source,remote_addr,meta,request_id,correlation_id,job_id,on_behalf_of,action_id}'::text[]
                ) LOOP
                    problem := concat_ws(E'\n', problem, left(field, 64) || ': not a field of the context');
                END LOOP;
            END IF;
        END IF;
    END IF;

    parsed.root_action_id := coalesce(parsed.root_action_id, parsed.action_id);
    parsed.is_malformed := problem IS NOT NULL;
    IF parsed.is_malformed THEN
        given := coalesce(given, '{}') || jsonb_build_object('context_error', problem);
    END IF;
    parsed.context := nullif(given, '{}');
    RETURN parsed;
END
$$;
