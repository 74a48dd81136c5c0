-- Erasure of a person: the state of its runs, and functions that erase fields of records by id. The library finds
-- the records; the functions only replace an actor id by a pseudonym, and other values by '[ERASED]'.

CREATE TABLE @threadline@.audit_erasure_runs (
    id          uuid        PRIMARY KEY,
    subject     text COLLATE "C" UNIQUE,
    pseudonym   text COLLATE "C" NOT NULL UNIQUE CHECK (pseudonym ~ '^erased-[0-9a-f]{32}$'),
    reason      text        NOT NULL CHECK (trim(reason) <> ''),
    progress    jsonb       NOT NULL DEFAULT '{}',
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_by  text        NOT NULL DEFAULT session_user,
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    CHECK ((finished_at IS NULL) = (subject IS NOT NULL))
);

COMMENT ON TABLE @threadline@.audit_erasure_runs IS 'One row for each erasure of a person. State, not a record.';
COMMENT ON COLUMN @threadline@.audit_erasure_runs.subject IS
    'The id of the person while the run is unfinished, to continue it under the same pseudonym; then null.';
COMMENT ON COLUMN @threadline@.audit_erasure_runs.progress IS 'Numbers of erased records: {"changes": 17}.';

-- The same actor under a pseudonym. An actor without an id and a pseudonym stay as they are.
CREATE FUNCTION @threadline@.pseudonymous_actor(actor text, pseudonym text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN actor LIKE '%:%' AND actor !~ ':erased-[0-9a-f]{32}$'
    THEN split_part(actor, ':', 1) || ':' || pseudonym ELSE actor END;

-- A document in which these members are erased. A document that is not an object is erased as a whole.
CREATE FUNCTION @threadline@.erased_members(document jsonb, names text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN document IS NULL OR cardinality(names) = 0 THEN document
    WHEN jsonb_typeof(document) <> 'object' THEN '"[ERASED]"'
    ELSE document || (
        SELECT coalesce(jsonb_object_agg(name, '[ERASED]'), '{}') FROM unnest(names) AS name WHERE document ? name
    ) END;

-- Erases the values of columns in changes of a table. Returns the number of updated changes.
CREATE FUNCTION @threadline@.erase_change_values(
    of_schema text, of_table text, ids bigint[], captured timestamptz[], columns text[], reason text
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    erased bigint;
    row_keys text[];
    includes_key boolean;
BEGIN
    PERFORM @threadline@.allow_trail_delete(true);
    WITH updated AS (
        UPDATE @threadline@.audit_changes AS change
        SET data_after = @threadline@.erased_members(data_after, columns),
            changed_from = @threadline@.erased_members(changed_from, columns)
        FROM unnest(ids, captured) AS target (id, captured_at)
        WHERE change.captured_at = target.captured_at AND change.id = target.id
            AND change.table_name = of_table AND change.table_schema = of_schema
            AND (change.data_after ?| columns OR change.changed_from ?| columns)
        RETURNING change.row_key, change.table_pk ?| columns AS has_key
    )
    SELECT count(*), array_agg(DISTINCT updated.row_key), bool_or(has_key) INTO erased, row_keys, includes_key FROM updated;
    IF includes_key THEN
        RAISE EXCEPTION 'key columns cannot be erased: without its key a change belongs to no row'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM @threadline@.allow_trail_delete(false);
    PERFORM @threadline@.record_removal('erasure', reason, jsonb_build_object('records', 'values', 'table_schema', of_schema,
        'table_name', of_table, 'row_keys', row_keys, 'ids', ids, 'columns', columns), erased);
    RETURN erased;
END
$$;

-- Replaces the actor of changes by a pseudonym. Returns the number of updated changes.
CREATE FUNCTION @threadline@.erase_change_actors(
    ids bigint[], captured timestamptz[], pseudonym text, reason text
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    erased bigint;
BEGIN
    IF pseudonym IS NULL OR pseudonym !~ '^erased-[0-9a-f]{32}$' THEN
        RAISE EXCEPTION 'not a pseudonym: erased- and 32 hexadecimal digits' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM @threadline@.allow_trail_delete(true);
    UPDATE @threadline@.audit_changes AS change
    SET actor = @threadline@.pseudonymous_actor(change.actor, pseudonym)
    FROM unnest(ids, captured) AS target (id, captured_at)
    WHERE change.captured_at = target.captured_at AND change.id = target.id
        AND change.actor <> @threadline@.pseudonymous_actor(change.actor, pseudonym);
    GET DIAGNOSTICS erased = ROW_COUNT;
    PERFORM @threadline@.allow_trail_delete(false);
    PERFORM @threadline@.record_removal('erasure', reason, jsonb_build_object(
        'records', 'changes', 'ids', ids, 'fields', ARRAY['actor'], 'pseudonym', pseudonym), erased);
    RETURN erased;
END
$$;

-- Erases fields of transactions or actions: actor and on_behalf_of become the pseudonym; remote_addr also erases
-- client_addr and all of a malformed context but source and meta; reason and comment are of actions. Returns the
-- number of records.
CREATE FUNCTION @threadline@.erase_context(
    records text, ids uuid[], pseudonym text, fields text[], meta_keys text[], reason text
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    new_id CONSTANT text := erase_context.pseudonym;
    why CONSTANT text := erase_context.reason;
    erased bigint;
BEGIN
    IF new_id IS NULL OR new_id !~ '^erased-[0-9a-f]{32}$' THEN
        RAISE EXCEPTION 'not a pseudonym: erased- and 32 hexadecimal digits' USING ERRCODE = 'invalid_parameter_value';
    ELSIF records NOT IN ('transactions', 'actions')
        OR NOT fields <@ '{actor,on_behalf_of,remote_addr,reason,comment}'::text[] OR meta_keys IS NULL
    THEN
        RAISE EXCEPTION 'records or fields that cannot be erased' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM @threadline@.allow_trail_delete(true);
    IF records = 'transactions' THEN
        UPDATE @threadline@.audit_transactions SET
            actor = CASE WHEN 'actor' = ANY (fields) THEN @threadline@.pseudonymous_actor(actor, new_id) ELSE actor END,
            on_behalf_of = CASE WHEN 'on_behalf_of' = ANY (fields)
                THEN @threadline@.pseudonymous_actor(on_behalf_of, new_id) ELSE on_behalf_of END,
            client_addr = CASE WHEN 'remote_addr' = ANY (fields) THEN NULL ELSE client_addr END,
            context = @threadline@.erased_members(CASE WHEN jsonb_typeof(context) = 'object' AND context ? 'meta'
                THEN jsonb_set(context, '{meta}', @threadline@.erased_members(context -> 'meta', meta_keys))
                ELSE context END, CASE
                    WHEN NOT 'remote_addr' = ANY (fields) THEN '{}'::text[]
                    WHEN jsonb_typeof(context) = 'object' AND context ? 'context_error'
                    THEN ARRAY(SELECT jsonb_object_keys(context - '{source,meta}'::text[]))
                    ELSE '{remote_addr}'
                END)
        WHERE id = ANY (ids);
    ELSE
        UPDATE @threadline@.audit_actions SET
            actor = CASE WHEN 'actor' = ANY (fields) THEN @threadline@.pseudonymous_actor(actor, new_id) ELSE actor END,
            on_behalf_of = CASE WHEN 'on_behalf_of' = ANY (fields)
                THEN @threadline@.pseudonymous_actor(on_behalf_of, new_id) ELSE on_behalf_of END,
            reason = CASE WHEN reason IS NOT NULL AND 'reason' = ANY (fields) THEN '[ERASED]' ELSE reason END,
            comment = CASE WHEN comment IS NOT NULL AND 'comment' = ANY (fields) THEN '[ERASED]' ELSE comment END,
            meta = @threadline@.erased_members(meta, meta_keys)
        WHERE id = ANY (ids);
    END IF;
    GET DIAGNOSTICS erased = ROW_COUNT;
    PERFORM @threadline@.allow_trail_delete(false);
    PERFORM @threadline@.record_removal('erasure', why, jsonb_build_object('records', records, 'ids', ids,
        'fields', fields, 'meta', meta_keys, 'pseudonym', new_id), erased);
    RETURN erased;
END
$$;
