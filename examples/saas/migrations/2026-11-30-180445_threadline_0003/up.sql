DO $$
BEGIN
    IF to_regclass('threadline.audit_seal_logs') IS NOT NULL THEN
        RAISE EXCEPTION 'migration threadline_0003 is already applied in schema threadline'
            USING ERRCODE = 'duplicate_table', HINT = 'No action is needed.';
    END IF;
    -- Unqualified names resolve to pg_catalog only, until 99_privileges.sql restores the search path.
    PERFORM set_config('threadline.path_before', current_setting('search_path'), true),
        set_config('search_path', 'pg_catalog, pg_temp', true);
END
$$;

-- Seals: a Merkle log of salted commitments of all records, whose format is threadline-seal/FORMAT.md. The
-- sealer in the library fills these tables with the privileges of its role: SELECT on the trail, INSERT and
-- SELECT on these tables, UPDATE on audit_seal_logs, audit_seal_checkpoints and audit_feed_consumers, EXECUTE on
-- seal_fields. It is the consumer threadline.seal of the feed, so retention waits for it.

CREATE TABLE threadline.audit_seal_logs (
    log       integer     PRIMARY KEY CHECK (log = 1), -- one log for each trail
    origin    text COLLATE "C" NOT NULL,
    genesis   jsonb       NOT NULL,
    sealed_to bigint      NOT NULL DEFAULT 0, -- all ids up to this
    size      bigint      NOT NULL DEFAULT 0,
    frontier  bytea       NOT NULL DEFAULT ''
);

COMMENT ON TABLE threadline.audit_seal_logs IS 'The log of seals: its origin, and the state of the sealer.';
COMMENT ON COLUMN threadline.audit_seal_logs.genesis IS 'The fields of the first leaf.';
COMMENT ON COLUMN threadline.audit_seal_logs.frontier IS 'The roots of the complete subtrees, the largest first.';

CREATE TABLE threadline.audit_seal_chunks (
    first_leaf bigint NOT NULL PRIMARY KEY,
    first_id   bigint NOT NULL,
    last_id    bigint NOT NULL,
    entries    bytea  NOT NULL,
    secrets    bytea  NOT NULL
);
-- Erasure replaces parts of the secrets.
ALTER TABLE threadline.audit_seal_chunks ALTER COLUMN entries SET STORAGE EXTERNAL, ALTER COLUMN secrets SET STORAGE EXTERNAL;

COMMENT ON TABLE threadline.audit_seal_chunks IS
    'Up to 256 leaves: 60 bytes of each entry, 16 of each secret. The secrets of erased records are zeros.';

-- The leaves of a record, by its id.
CREATE INDEX audit_seal_chunks_id_idx ON threadline.audit_seal_chunks (last_id);

CREATE TABLE threadline.audit_seal_transactions (
    transaction_id uuid   PRIMARY KEY,
    leaf           bigint NOT NULL UNIQUE
);

COMMENT ON TABLE threadline.audit_seal_transactions IS 'The leaf of each sealed transaction.';

CREATE TABLE threadline.audit_seal_checkpoints (
    size         bigint      PRIMARY KEY,
    clock        jsonb       NOT NULL,
    root         bytea       NOT NULL,
    note         text        NOT NULL,
    signed_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at timestamptz
);

COMMENT ON TABLE threadline.audit_seal_checkpoints IS 'One row for each signed checkpoint.';
COMMENT ON COLUMN threadline.audit_seal_checkpoints.clock IS 'The fields of its last leaf.';

CREATE TABLE threadline.audit_seal_openings (
    leaf       bigint PRIMARY KEY,
    erased     jsonb  NOT NULL,
    salts      jsonb  NOT NULL,
    unrecorded text[] NOT NULL
);

COMMENT ON TABLE threadline.audit_seal_openings IS
    'Of each sealed record with erased fields: the commitments of these, and the salts of all others.';
COMMENT ON COLUMN threadline.audit_seal_openings.unrecorded IS
    'Fields erased in this transaction, until audit_removals has the record of it.';

-- The erasures of this transaction.
CREATE INDEX audit_seal_openings_unrecorded_idx ON threadline.audit_seal_openings (leaf) WHERE unrecorded <> '{}';

CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON threadline.audit_seal_chunks
    FOR EACH ROW WHEN (NOT threadline.trail_delete_is_allowed()) EXECUTE FUNCTION threadline.guard_record();
CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON threadline.audit_seal_openings
    FOR EACH ROW WHEN (NOT threadline.trail_delete_is_allowed()) EXECUTE FUNCTION threadline.guard_record();
CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON threadline.audit_seal_transactions
    FOR EACH ROW EXECUTE FUNCTION threadline.guard_record();
CREATE TRIGGER guard_delete BEFORE DELETE ON threadline.audit_seal_logs
    FOR EACH ROW EXECUTE FUNCTION threadline.guard_record();
CREATE TRIGGER guard_delete BEFORE DELETE ON threadline.audit_seal_checkpoints
    FOR EACH ROW EXECUTE FUNCTION threadline.guard_record();
-- A published checkpoint does not change.
CREATE TRIGGER guard_published BEFORE UPDATE ON threadline.audit_seal_checkpoints
    FOR EACH ROW WHEN (
        OLD.published_at IS NOT NULL
        OR (OLD.size, OLD.clock, OLD.root, OLD.note) IS DISTINCT FROM (NEW.size, NEW.clock, NEW.root, NEW.note)
    )
    EXECUTE FUNCTION threadline.guard_record();

-- The fields of a record that are sealed, as path to value. The record is a row as JSON.
CREATE FUNCTION threadline.seal_fields(record jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
RETURN (
    SELECT coalesce(jsonb_object_agg(field.path, field.value), '{}')
    FROM jsonb_each(record) AS col (name, content)
    CROSS JOIN LATERAL (
        SELECT jsonb_typeof(content) = 'object' AND content <> '{}'
            AND name IN ('data_after', 'changed_from', 'context', 'meta') AS has_members,
            -- A malformed context can have a member whose path would be that of a member of meta.
            CASE WHEN name = 'context' AND jsonb_typeof(content -> 'meta') = 'object' AND content -> 'meta' <> '{}'
                THEN NOT EXISTS (SELECT FROM jsonb_object_keys(content) AS member WHERE starts_with(member, 'meta/'))
                ELSE false END AS has_meta
    ) AS form
    CROSS JOIN LATERAL (
        SELECT name, CASE
            WHEN jsonb_typeof(content) <> 'string' THEN content::text
            WHEN name IN ('captured_at', 'occurred_at', 'recorded_at', 'removed_at', 'suspended_at', 'observed_from',
                'observed_to', 'valid_until') AND content #>> '{}' NOT LIKE '%infinity'
            THEN to_char((content #>> '{}')::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
            ELSE content #>> '{}'
        END
        WHERE jsonb_typeof(content) <> 'null' AND NOT has_members
        UNION ALL
        SELECT name || '/' || member.key, member.value::text
        FROM jsonb_each(CASE WHEN has_members THEN content END) AS member
        WHERE NOT (has_meta AND member.key = 'meta')
        UNION ALL
        SELECT name || '/meta/' || member.key, member.value::text
        FROM jsonb_each(CASE WHEN has_meta THEN content -> 'meta' END) AS member
    ) AS field (path, value)
);

-- When fields of a sealed record are erased: stores the commitments of these and the salts of all others, and
-- zeroes the record's secret. Waits for a running step of the sealer; the next one waits for this transaction.
CREATE FUNCTION threadline.open_seal() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $open$
DECLARE
    old_row CONSTANT jsonb := to_jsonb(OLD);
    old_fields CONSTANT jsonb := threadline.seal_fields(old_row);
    new_fields CONSTANT jsonb := threadline.seal_fields(to_jsonb(NEW));
    paths text[] := ARRAY(
        SELECT key FROM jsonb_each_text(old_fields) WHERE value IS DISTINCT FROM new_fields ->> key ORDER BY key
    );
    entry_start bytea;
    record_leaf bigint;
    chunk threadline.audit_seal_chunks;
    place integer;
    known record;
BEGIN
    PERFORM FROM threadline.audit_seal_logs FOR SHARE;
    IF NOT FOUND OR paths = '{}' THEN
        RETURN NEW;
    ELSIF TG_ARGV[0] = 'T' THEN
        SELECT leaf INTO record_leaf FROM threadline.audit_seal_transactions
        WHERE transaction_id = (old_row ->> 'id')::uuid;
        SELECT * INTO chunk FROM threadline.audit_seal_chunks
        WHERE first_leaf <= record_leaf ORDER BY first_leaf DESC LIMIT 1;
    ELSE
        entry_start := '\x544c01' || convert_to(TG_ARGV[0], 'UTF8') || int8send((old_row ->> TG_ARGV[1])::bigint);
        -- The chunks with this id: two if one begins between a transaction and its first change, and one of a clock.
        SELECT * INTO chunk FROM (
            SELECT * FROM threadline.audit_seal_chunks
            WHERE last_id >= (old_row ->> TG_ARGV[1])::bigint ORDER BY last_id, first_leaf LIMIT 3
        ) AS near WHERE position(entry_start IN near.entries) > 0;
        record_leaf := chunk.first_leaf + (position(entry_start IN chunk.entries) - 1) / 60;
    END IF;
    IF record_leaf IS NULL THEN
        RETURN NEW; -- The record is not sealed yet.
    END IF;
    place := (record_leaf - chunk.first_leaf) * 16 + 1;
    SELECT erased, salts INTO known FROM threadline.audit_seal_openings WHERE leaf = record_leaf;
    IF NOT FOUND THEN
        SELECT '{}'::jsonb, jsonb_object_agg(key, encode(substr(
            sha256('\x03' || substr(chunk.secrets, place, 16) || convert_to(key, 'UTF8')), 1, 16), 'hex'))
        INTO known.erased, known.salts FROM jsonb_object_keys(old_fields) AS key;
    END IF;
    paths := ARRAY(SELECT path FROM unnest(paths) AS path WHERE known.salts ? path);
    INSERT INTO threadline.audit_seal_openings AS opening (leaf, erased, salts, unrecorded)
    SELECT record_leaf, known.erased || coalesce(jsonb_object_agg(path, encode(sha256(
        '\x02' || decode(known.salts ->> path, 'hex') || int4send(octet_length(convert_to(path, 'UTF8')))
        || convert_to(path, 'UTF8') || convert_to(old_fields ->> path, 'UTF8')), 'hex')), '{}'),
        known.salts - paths, paths
    FROM unnest(paths) AS path
    ON CONFLICT (leaf) DO UPDATE
    SET erased = EXCLUDED.erased, salts = EXCLUDED.salts, unrecorded = opening.unrecorded || EXCLUDED.unrecorded;
    UPDATE threadline.audit_seal_chunks
    SET secrets = overlay(secrets PLACING decode(repeat('00', 16), 'hex') FROM place)
    WHERE first_leaf = chunk.first_leaf;
    RETURN NEW;
END
$open$;

-- Adds the leaves and fields that this transaction erased to the record of the erasure.
CREATE FUNCTION threadline.record_openings() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    leaves CONSTANT jsonb := (
        SELECT jsonb_object_agg(leaf, unrecorded) FROM threadline.audit_seal_openings WHERE unrecorded <> '{}'
    );
BEGIN
    IF leaves IS NOT NULL THEN
        NEW.scope := NEW.scope || jsonb_build_object('leaves', leaves);
        PERFORM threadline.allow_trail_delete(true);
        UPDATE threadline.audit_seal_openings SET unrecorded = '{}' WHERE unrecorded <> '{}';
        PERFORM threadline.allow_trail_delete(false);
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER open_seal BEFORE UPDATE ON threadline.audit_transactions
    FOR EACH ROW WHEN (threadline.trail_delete_is_allowed()) EXECUTE FUNCTION threadline.open_seal('T');
CREATE TRIGGER open_seal BEFORE UPDATE ON threadline.audit_changes
    FOR EACH ROW WHEN (threadline.trail_delete_is_allowed()) EXECUTE FUNCTION threadline.open_seal('C', 'id');
CREATE TRIGGER open_seal BEFORE UPDATE ON threadline.audit_actions
    FOR EACH ROW WHEN (threadline.trail_delete_is_allowed()) EXECUTE FUNCTION threadline.open_seal('A', 'order_id');
CREATE TRIGGER record_openings BEFORE INSERT ON threadline.audit_removals
    FOR EACH ROW WHEN (NEW.kind = 'erasure') EXECUTE FUNCTION threadline.record_openings();

-- Erasure of a person: the state of its runs, and functions that erase fields of records by id. The library finds
-- the records; the functions only replace an actor id by a pseudonym, and other values by '[ERASED]'.

CREATE TABLE threadline.audit_erasure_runs (
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

COMMENT ON TABLE threadline.audit_erasure_runs IS 'One row for each erasure of a person. State, not a record.';
COMMENT ON COLUMN threadline.audit_erasure_runs.subject IS
    'The id of the person while the run is unfinished, to continue it under the same pseudonym; then null.';
COMMENT ON COLUMN threadline.audit_erasure_runs.progress IS 'Numbers of erased records: {"changes": 17}.';

-- The same actor under a pseudonym. An actor without an id and a pseudonym stay as they are.
CREATE FUNCTION threadline.pseudonymous_actor(actor text, pseudonym text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN actor LIKE '%:%' AND actor !~ ':erased-[0-9a-f]{32}$'
    THEN split_part(actor, ':', 1) || ':' || pseudonym ELSE actor END;

-- A document in which these members are erased. A document that is not an object is erased as a whole.
CREATE FUNCTION threadline.erased_members(document jsonb, names text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN document IS NULL OR cardinality(names) = 0 THEN document
    WHEN jsonb_typeof(document) <> 'object' THEN '"[ERASED]"'
    ELSE document || (
        SELECT coalesce(jsonb_object_agg(name, '[ERASED]'), '{}') FROM unnest(names) AS name WHERE document ? name
    ) END;

-- Erases the values of columns in changes of a table. Returns the number of updated changes.
CREATE FUNCTION threadline.erase_change_values(
    of_schema text, of_table text, ids bigint[], captured timestamptz[], columns text[], reason text
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    erased bigint;
    row_keys text[];
    includes_key boolean;
BEGIN
    PERFORM threadline.allow_trail_delete(true);
    WITH updated AS (
        UPDATE threadline.audit_changes AS change
        SET data_after = threadline.erased_members(data_after, columns),
            changed_from = threadline.erased_members(changed_from, columns)
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
    PERFORM threadline.allow_trail_delete(false);
    PERFORM threadline.record_removal('erasure', reason, jsonb_build_object('records', 'values', 'table_schema', of_schema,
        'table_name', of_table, 'row_keys', row_keys, 'ids', ids, 'columns', columns), erased);
    RETURN erased;
END
$$;

-- Replaces the actor of changes by a pseudonym. Returns the number of updated changes.
CREATE FUNCTION threadline.erase_change_actors(
    ids bigint[], captured timestamptz[], pseudonym text, reason text
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    erased bigint;
BEGIN
    IF pseudonym IS NULL OR pseudonym !~ '^erased-[0-9a-f]{32}$' THEN
        RAISE EXCEPTION 'not a pseudonym: erased- and 32 hexadecimal digits' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM threadline.allow_trail_delete(true);
    UPDATE threadline.audit_changes AS change
    SET actor = threadline.pseudonymous_actor(change.actor, pseudonym)
    FROM unnest(ids, captured) AS target (id, captured_at)
    WHERE change.captured_at = target.captured_at AND change.id = target.id
        AND change.actor <> threadline.pseudonymous_actor(change.actor, pseudonym);
    GET DIAGNOSTICS erased = ROW_COUNT;
    PERFORM threadline.allow_trail_delete(false);
    PERFORM threadline.record_removal('erasure', reason, jsonb_build_object(
        'records', 'changes', 'ids', ids, 'fields', ARRAY['actor'], 'pseudonym', pseudonym), erased);
    RETURN erased;
END
$$;

-- Erases fields of transactions or actions: actor and on_behalf_of become the pseudonym; remote_addr also erases
-- client_addr and all of a malformed context but source and meta; reason and comment are of actions. Returns the
-- number of records.
CREATE FUNCTION threadline.erase_context(
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
    PERFORM threadline.allow_trail_delete(true);
    IF records = 'transactions' THEN
        UPDATE threadline.audit_transactions SET
            actor = CASE WHEN 'actor' = ANY (fields) THEN threadline.pseudonymous_actor(actor, new_id) ELSE actor END,
            on_behalf_of = CASE WHEN 'on_behalf_of' = ANY (fields)
                THEN threadline.pseudonymous_actor(on_behalf_of, new_id) ELSE on_behalf_of END,
            client_addr = CASE WHEN 'remote_addr' = ANY (fields) THEN NULL ELSE client_addr END,
            context = threadline.erased_members(CASE WHEN jsonb_typeof(context) = 'object' AND context ? 'meta'
                THEN jsonb_set(context, '{meta}', threadline.erased_members(context -> 'meta', meta_keys))
                ELSE context END, CASE
                    WHEN NOT 'remote_addr' = ANY (fields) THEN '{}'::text[]
                    WHEN jsonb_typeof(context) = 'object' AND context ? 'context_error'
                    THEN ARRAY(SELECT jsonb_object_keys(context - '{source,meta}'::text[]))
                    ELSE '{remote_addr}'
                END)
        WHERE id = ANY (ids);
    ELSE
        UPDATE threadline.audit_actions SET
            actor = CASE WHEN 'actor' = ANY (fields) THEN threadline.pseudonymous_actor(actor, new_id) ELSE actor END,
            on_behalf_of = CASE WHEN 'on_behalf_of' = ANY (fields)
                THEN threadline.pseudonymous_actor(on_behalf_of, new_id) ELSE on_behalf_of END,
            reason = CASE WHEN reason IS NOT NULL AND 'reason' = ANY (fields) THEN '[ERASED]' ELSE reason END,
            comment = CASE WHEN comment IS NOT NULL AND 'comment' = ANY (fields) THEN '[ERASED]' ELSE comment END,
            meta = threadline.erased_members(meta, meta_keys)
        WHERE id = ANY (ids);
    END IF;
    GET DIAGNOSTICS erased = ROW_COUNT;
    PERFORM threadline.allow_trail_delete(false);
    PERFORM threadline.record_removal('erasure', why, jsonb_build_object('records', records, 'ids', ids,
        'fields', fields, 'meta', meta_keys, 'pseudonym', new_id), erased);
    RETURN erased;
END
$$;

CREATE OR REPLACE FUNCTION threadline.schema_version() RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN 3;

-- Revokes privileges that default privileges granted on the new objects.
DO $$
BEGIN
    PERFORM threadline.revoke_all(oid::regclass::text, relowner, relacl) FROM pg_class
    WHERE oid IN (
        'threadline.audit_seal_logs'::regclass, 'threadline.audit_seal_chunks'::regclass,
        'threadline.audit_seal_transactions'::regclass, 'threadline.audit_seal_checkpoints'::regclass,
        'threadline.audit_seal_openings'::regclass, 'threadline.audit_erasure_runs'::regclass
    );
    PERFORM threadline.revoke_all('FUNCTION ' || oid::regprocedure, proowner, coalesce(proacl, acldefault('f', proowner)))
    FROM pg_proc
    WHERE oid IN (
        'threadline.seal_fields(jsonb)'::regprocedure, 'threadline.open_seal()'::regprocedure,
        'threadline.record_openings()'::regprocedure,
        'threadline.pseudonymous_actor(text, text)'::regprocedure,
        'threadline.erased_members(jsonb, text[])'::regprocedure,
        'threadline.erase_change_values(text, text, bigint[], timestamptz[], text[], text)'::regprocedure,
        'threadline.erase_change_actors(bigint[], timestamptz[], text, text)'::regprocedure,
        'threadline.erase_context(text, uuid[], text, text[], text[], text)'::regprocedure
    );
END
$$;

-- Restores the search path that the first statement changed.
SELECT set_config('search_path', current_setting('threadline.path_before'), true);
