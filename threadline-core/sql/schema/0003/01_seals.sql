-- Seals: a Merkle log of salted commitments of all records, whose format is threadline-seal/FORMAT.md. The
-- sealer in the library fills these tables with the privileges of its role: SELECT on the trail, INSERT and
-- SELECT on these tables, UPDATE on audit_seal_logs, audit_seal_checkpoints and audit_feed_consumers, EXECUTE on
-- seal_fields. It is the consumer threadline.seal of the feed, so retention waits for it.

CREATE TABLE @threadline@.audit_seal_logs (
    log       integer     PRIMARY KEY CHECK (log = 1), -- one log for each trail
    origin    text COLLATE "C" NOT NULL,
    genesis   jsonb       NOT NULL,
    sealed_to bigint      NOT NULL DEFAULT 0, -- all ids up to this
    size      bigint      NOT NULL DEFAULT 0,
    frontier  bytea       NOT NULL DEFAULT ''
);

COMMENT ON TABLE @threadline@.audit_seal_logs IS 'The log of seals: its origin, and the state of the sealer.';
COMMENT ON COLUMN @threadline@.audit_seal_logs.genesis IS 'The fields of the first leaf.';
COMMENT ON COLUMN @threadline@.audit_seal_logs.frontier IS 'The roots of the complete subtrees, the largest first.';

CREATE TABLE @threadline@.audit_seal_chunks (
    first_leaf bigint NOT NULL PRIMARY KEY,
    first_id   bigint NOT NULL,
    last_id    bigint NOT NULL,
    entries    bytea  NOT NULL,
    secrets    bytea  NOT NULL
);
-- Erasure replaces parts of the secrets.
ALTER TABLE @threadline@.audit_seal_chunks ALTER COLUMN entries SET STORAGE EXTERNAL, ALTER COLUMN secrets SET STORAGE EXTERNAL;

COMMENT ON TABLE @threadline@.audit_seal_chunks IS
    'Up to 256 leaves: 60 bytes of each entry, 16 of each secret. The secrets of erased records are zeros.';

-- The leaves of a record, by its id.
CREATE INDEX audit_seal_chunks_id_idx ON @threadline@.audit_seal_chunks (last_id);

CREATE TABLE @threadline@.audit_seal_transactions (
    transaction_id uuid   PRIMARY KEY,
    leaf           bigint NOT NULL UNIQUE
);

COMMENT ON TABLE @threadline@.audit_seal_transactions IS 'The leaf of each sealed transaction.';

CREATE TABLE @threadline@.audit_seal_checkpoints (
    size         bigint      PRIMARY KEY,
    clock        jsonb       NOT NULL,
    root         bytea       NOT NULL,
    note         text        NOT NULL,
    signed_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at timestamptz
);

COMMENT ON TABLE @threadline@.audit_seal_checkpoints IS 'One row for each signed checkpoint.';
COMMENT ON COLUMN @threadline@.audit_seal_checkpoints.clock IS 'The fields of its last leaf.';

CREATE TABLE @threadline@.audit_seal_openings (
    leaf       bigint PRIMARY KEY,
    erased     jsonb  NOT NULL,
    salts      jsonb  NOT NULL,
    unrecorded text[] NOT NULL
);

COMMENT ON TABLE @threadline@.audit_seal_openings IS
    'Of each sealed record with erased fields: the commitments of these, and the salts of all others.';
COMMENT ON COLUMN @threadline@.audit_seal_openings.unrecorded IS
    'Fields erased in this transaction, until audit_removals has the record of it.';

-- The erasures of this transaction.
CREATE INDEX audit_seal_openings_unrecorded_idx ON @threadline@.audit_seal_openings (leaf) WHERE unrecorded <> '{}';

CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON @threadline@.audit_seal_chunks
    FOR EACH ROW WHEN (NOT @threadline@.trail_delete_is_allowed()) EXECUTE FUNCTION @threadline@.guard_record();
CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON @threadline@.audit_seal_openings
    FOR EACH ROW WHEN (NOT @threadline@.trail_delete_is_allowed()) EXECUTE FUNCTION @threadline@.guard_record();
CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON @threadline@.audit_seal_transactions
    FOR EACH ROW EXECUTE FUNCTION @threadline@.guard_record();
CREATE TRIGGER guard_delete BEFORE DELETE ON @threadline@.audit_seal_logs
    FOR EACH ROW EXECUTE FUNCTION @threadline@.guard_record();
CREATE TRIGGER guard_delete BEFORE DELETE ON @threadline@.audit_seal_checkpoints
    FOR EACH ROW EXECUTE FUNCTION @threadline@.guard_record();
-- A published checkpoint does not change.
CREATE TRIGGER guard_published BEFORE UPDATE ON @threadline@.audit_seal_checkpoints
    FOR EACH ROW WHEN (
        OLD.published_at IS NOT NULL
        OR (OLD.size, OLD.clock, OLD.root, OLD.note) IS DISTINCT FROM (NEW.size, NEW.clock, NEW.root, NEW.note)
    )
    EXECUTE FUNCTION @threadline@.guard_record();

-- The fields of a record that are sealed, as path to value. The record is a row as JSON.
CREATE FUNCTION @threadline@.seal_fields(record jsonb) RETURNS jsonb
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
CREATE FUNCTION @threadline@.open_seal() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $open$
DECLARE
    old_row CONSTANT jsonb := to_jsonb(OLD);
    old_fields CONSTANT jsonb := @threadline@.seal_fields(old_row);
    new_fields CONSTANT jsonb := @threadline@.seal_fields(to_jsonb(NEW));
    paths text[] := ARRAY(
        SELECT key FROM jsonb_each_text(old_fields) WHERE value IS DISTINCT FROM new_fields ->> key ORDER BY key
    );
    entry_start bytea;
    record_leaf bigint;
    chunk @threadline@.audit_seal_chunks;
    place integer;
    known record;
BEGIN
    PERFORM FROM @threadline@.audit_seal_logs FOR SHARE;
    IF NOT FOUND OR paths = '{}' THEN
        RETURN NEW;
    ELSIF TG_ARGV[0] = 'T' THEN
        SELECT leaf INTO record_leaf FROM @threadline@.audit_seal_transactions
        WHERE transaction_id = (old_row ->> 'id')::uuid;
        SELECT * INTO chunk FROM @threadline@.audit_seal_chunks
        WHERE first_leaf <= record_leaf ORDER BY first_leaf DESC LIMIT 1;
    ELSE
        entry_start := '\x544c01' || convert_to(TG_ARGV[0], 'UTF8') || int8send((old_row ->> TG_ARGV[1])::bigint);
        -- The chunks with this id: two if one begins between a transaction and its first change, and one of a clock.
        SELECT * INTO chunk FROM (
            SELECT * FROM @threadline@.audit_seal_chunks
            WHERE last_id >= (old_row ->> TG_ARGV[1])::bigint ORDER BY last_id, first_leaf LIMIT 3
        ) AS near WHERE position(entry_start IN near.entries) > 0;
        record_leaf := chunk.first_leaf + (position(entry_start IN chunk.entries) - 1) / 60;
    END IF;
    IF record_leaf IS NULL THEN
        RETURN NEW; -- The record is not sealed yet.
    END IF;
    place := (record_leaf - chunk.first_leaf) * 16 + 1;
    SELECT erased, salts INTO known FROM @threadline@.audit_seal_openings WHERE leaf = record_leaf;
    IF NOT FOUND THEN
        SELECT '{}'::jsonb, jsonb_object_agg(key, encode(substr(
            sha256('\x03' || substr(chunk.secrets, place, 16) || convert_to(key, 'UTF8')), 1, 16), 'hex'))
        INTO known.erased, known.salts FROM jsonb_object_keys(old_fields) AS key;
    END IF;
    paths := ARRAY(SELECT path FROM unnest(paths) AS path WHERE known.salts ? path);
    INSERT INTO @threadline@.audit_seal_openings AS opening (leaf, erased, salts, unrecorded)
    SELECT record_leaf, known.erased || coalesce(jsonb_object_agg(path, encode(sha256(
        '\x02' || decode(known.salts ->> path, 'hex') || int4send(octet_length(convert_to(path, 'UTF8')))
        || convert_to(path, 'UTF8') || convert_to(old_fields ->> path, 'UTF8')), 'hex')), '{}'),
        known.salts - paths, paths
    FROM unnest(paths) AS path
    ON CONFLICT (leaf) DO UPDATE
    SET erased = EXCLUDED.erased, salts = EXCLUDED.salts, unrecorded = opening.unrecorded || EXCLUDED.unrecorded;
    UPDATE @threadline@.audit_seal_chunks
    SET secrets = overlay(secrets PLACING decode(repeat('00', 16), 'hex') FROM place)
    WHERE first_leaf = chunk.first_leaf;
    RETURN NEW;
END
$open$;

-- Adds the leaves and fields that this transaction erased to the record of the erasure.
CREATE FUNCTION @threadline@.record_openings() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    leaves CONSTANT jsonb := (
        SELECT jsonb_object_agg(leaf, unrecorded) FROM @threadline@.audit_seal_openings WHERE unrecorded <> '{}'
    );
BEGIN
    IF leaves IS NOT NULL THEN
        NEW.scope := NEW.scope || jsonb_build_object('leaves', leaves);
        PERFORM @threadline@.allow_trail_delete(true);
        UPDATE @threadline@.audit_seal_openings SET unrecorded = '{}' WHERE unrecorded <> '{}';
        PERFORM @threadline@.allow_trail_delete(false);
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER open_seal BEFORE UPDATE ON @threadline@.audit_transactions
    FOR EACH ROW WHEN (@threadline@.trail_delete_is_allowed()) EXECUTE FUNCTION @threadline@.open_seal('T');
CREATE TRIGGER open_seal BEFORE UPDATE ON @threadline@.audit_changes
    FOR EACH ROW WHEN (@threadline@.trail_delete_is_allowed()) EXECUTE FUNCTION @threadline@.open_seal('C', 'id');
CREATE TRIGGER open_seal BEFORE UPDATE ON @threadline@.audit_actions
    FOR EACH ROW WHEN (@threadline@.trail_delete_is_allowed()) EXECUTE FUNCTION @threadline@.open_seal('A', 'order_id');
CREATE TRIGGER record_openings BEFORE INSERT ON @threadline@.audit_removals
    FOR EACH ROW WHEN (NEW.kind = 'erasure') EXECUTE FUNCTION @threadline@.record_openings();
