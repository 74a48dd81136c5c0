-- Partitions of the trail by time, and for each table a default partition for all other rows.

-- One row. A change of partition_width applies to partitions that are created later.
CREATE TABLE @threadline@.audit_settings (
    id              boolean PRIMARY KEY DEFAULT true CHECK (id),
    partition_width text NOT NULL CHECK (partition_width IN ('month', 'week', 'day'))
);
INSERT INTO @threadline@.audit_settings (partition_width) VALUES ('month');
COMMENT ON TABLE @threadline@.audit_settings IS 'Settings of the trail; one row.';

-- The smallest id of transactions that start at an instant or later.
CREATE FUNCTION @threadline@.transaction_id_from(instant timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN encode(timestamptz_send(instant) || '\x0000000000000000'::bytea, 'hex')::uuid;

-- The smallest version 7 uuid of an instant, which is clamped to the range of such uuids.
CREATE FUNCTION @threadline@.action_id_from(instant timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN rpad(lpad(to_hex(
    LEAST(GREATEST(floor(extract(epoch FROM instant) * 1000), 0), 281474976710655)::bigint
), 12, '0'), 32, '0')::uuid;

-- The start of a transaction, from its id; clamped to the range of timestamps.
CREATE FUNCTION @threadline@.transaction_began_at(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN '2000-01-01 00:00:00+00'::timestamptz + '1 microsecond'::interval * LEAST(GREATEST(
    ('x' || left(replace(id::text, '-', ''), 16))::bit(64)::bigint, -200000000000000000
), 9200000000000000000);

-- When an action was recorded, from its id, in milliseconds.
CREATE FUNCTION @threadline@.action_recorded_at(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN '1970-01-01 00:00:00+00'::timestamptz + '1 millisecond'::interval
    * ('x0000' || left(replace(id::text, '-', ''), 12))::bit(64)::bigint;

-- The partitions of the trail with their bounds; a default partition has null for both.
CREATE FUNCTION @threadline@.trail_partitions()
RETURNS TABLE (
    parent text, partition regclass, partition_name text, from_instant timestamptz, to_instant timestamptz
)
LANGUAGE sql STABLE ROWS 20 SET search_path = pg_catalog, pg_temp AS $partitions$
    SELECT parent.relname, class.oid, class.relname, instants[1], instants[2]
    FROM pg_class AS parent
    JOIN pg_inherits AS inherits ON inherits.inhparent = parent.oid
    JOIN pg_class AS class ON class.oid = inherits.inhrelid
    CROSS JOIN regexp_match(
        pg_get_expr(class.relpartbound, class.oid), 'FROM \(''([^'']*)''\) TO \(''([^'']*)''\)'
    ) AS bounds
    CROSS JOIN LATERAL (
        SELECT array_agg(CASE parent.relname
            WHEN 'audit_changes' THEN bound::timestamptz
            WHEN 'audit_transactions' THEN @threadline@.transaction_began_at(bound::uuid)
            ELSE @threadline@.action_recorded_at(bound::uuid)
        END ORDER BY place)
        FROM unnest(bounds) WITH ORDINALITY AS unnested (bound, place)
    ) AS time (instants)
    WHERE parent.relnamespace = '@threadline@'::regnamespace
        AND parent.relname IN ('audit_changes', 'audit_transactions', 'audit_actions')
$partitions$;

-- Raises an error for the statement that fires it. Rows that the current transaction inserted may be updated:
-- the argument of row triggers is the column with the id of the inserting transaction. TRUNCATE triggers are
-- not inherited, so each partition has its own.
CREATE FUNCTION @threadline@.guard_record() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
BEGIN
    IF TG_OP = 'UPDATE' AND to_jsonb(OLD) ->> TG_ARGV[0] = @threadline@.current_transaction_id()::text THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the audit trail is append-only: % of %.% refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Retention removes expired changes; erase_values erases values of a row.';
END
$guard$;

-- Revokes all privileges on an object from all roles but its owner; default privileges may have granted some.
CREATE FUNCTION @threadline@.revoke_all(object text, owner oid, acl aclitem[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $revoke$
DECLARE
    grantees text := (
        SELECT string_agg(DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, ', ')
        FROM aclexplode(acl) WHERE grantee <> owner
    );
BEGIN
    IF grantees IS NOT NULL THEN
        EXECUTE format('REVOKE ALL ON %s FROM %s CASCADE', object, grantees);
    END IF;
END
$revoke$;

-- Creates the TRUNCATE guard of a new partition, copies the SELECT grants of its parent, and revokes all
-- other privileges.
CREATE FUNCTION @threadline@.protect_partition(parent regclass, partition regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $protect$
DECLARE
    readers text := (
        SELECT string_agg(DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, ', ')
        FROM pg_class CROSS JOIN aclexplode(relacl)
        WHERE oid = parent AND grantee <> relowner AND privilege_type = 'SELECT'
    );
BEGIN
    EXECUTE format(
        'CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON %s '
        'FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_record()', partition
    );
    PERFORM @threadline@.revoke_all(partition::text, relowner, relacl) FROM pg_class WHERE oid = partition;
    IF readers IS NOT NULL THEN
        EXECUTE format('GRANT SELECT ON %s TO %s', partition, readers);
    END IF;
END
$protect$;

-- Creates the partition of one table for the period that contains an instant, or for the part of it that
-- no partition covers. Moves up to `move_at_most` rows of that period out of the default partition, with
-- the table locked. Returns the number of moved rows; -1, without moving any, if there are more; null if
-- the period is covered already. The partition is created as a table and then attached, which does not
-- block writers of other partitions.
CREATE FUNCTION @threadline@.create_partition(
    parent text, instant timestamptz, move_at_most bigint
) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $create$
DECLARE
    width CONSTANT text := (SELECT partition_width FROM @threadline@.audit_settings);
    lower_bound timestamptz := date_trunc(width, instant);
    upper_bound timestamptz := lower_bound + ('1 ' || width)::interval;
    partition CONSTANT text := parent || to_char(lower_bound, CASE width
        WHEN 'month' THEN '_YYYY_MM' WHEN 'week' THEN '_IYYY_"w"IW' ELSE '_YYYY_MM_DD' END);
    covered_until timestamptz;
    bounds text[];
    range text;
    to_move bigint;
BEGIN
    EXECUTE format('LOCK TABLE ONLY @threadline@.%I IN SHARE UPDATE EXCLUSIVE MODE', parent);
    LOOP
        SELECT part.to_instant INTO covered_until FROM @threadline@.trail_partitions() AS part
        WHERE part.parent = create_partition.parent
            AND part.from_instant <= lower_bound AND part.to_instant > lower_bound;
        EXIT WHEN NOT FOUND;
        lower_bound := covered_until;
    END LOOP;
    IF lower_bound >= upper_bound OR to_regclass(format('@threadline@.%I', partition)) IS NOT NULL THEN
        RETURN NULL;
    END IF;
    SELECT LEAST(upper_bound, min(part.from_instant)) INTO upper_bound FROM @threadline@.trail_partitions() AS part
    WHERE part.parent = create_partition.parent AND part.from_instant > lower_bound;

    bounds := CASE parent
        WHEN 'audit_changes' THEN ARRAY[lower_bound::text, upper_bound::text]
        WHEN 'audit_transactions' THEN ARRAY[
            @threadline@.transaction_id_from(lower_bound)::text, @threadline@.transaction_id_from(upper_bound)::text]
        ELSE ARRAY[@threadline@.action_id_from(lower_bound)::text, @threadline@.action_id_from(upper_bound)::text]
    END;
    range := format('%1$I >= %2$L AND %1$I < %3$L',
        CASE parent WHEN 'audit_changes' THEN 'captured_at' ELSE 'id' END, bounds[1], bounds[2]);
    EXECUTE format('SELECT count(*) FROM (SELECT FROM @threadline@.%I WHERE %s LIMIT %s) AS found',
        parent || '_default', range, move_at_most + 1) INTO to_move;
    IF to_move > move_at_most THEN
        RETURN -1;
    END IF;
    EXECUTE format(
        'CREATE TABLE @threadline@.%I (LIKE @threadline@.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS '
        'INCLUDING STORAGE INCLUDING COMPRESSION)', partition, parent
    );
    PERFORM @threadline@.protect_partition(
        format('@threadline@.%I', parent)::regclass, format('@threadline@.%I', partition)::regclass
    );
    IF to_move > 0 THEN
        -- Lock the parent, too: a query planned without the new partition would miss the moved rows.
        EXECUTE format('LOCK TABLE ONLY @threadline@.%I, ONLY @threadline@.%I IN ACCESS EXCLUSIVE MODE',
            parent, parent || '_default');
        PERFORM @threadline@.allow_trail_delete(true);
        EXECUTE format(
            'WITH moved AS (DELETE FROM @threadline@.%I WHERE %s RETURNING *) '
            'INSERT INTO @threadline@.%I SELECT * FROM moved', parent || '_default', range, partition
        );
        GET DIAGNOSTICS to_move = ROW_COUNT;
        PERFORM @threadline@.allow_trail_delete(false);
    END IF;
    EXECUTE format(
        'ALTER TABLE @threadline@.%I ATTACH PARTITION @threadline@.%I FOR VALUES FROM (%L) TO (%L)',
        parent, partition, bounds[1], bounds[2]
    );
    RETURN to_move;
END
$create$;

-- Maintenance, for a scheduler: creates partitions ahead, and moves rows out of the default partitions, one
-- period for each call, because the table stays locked until the transaction ends. Returns one row for each
-- partition `created`, with the number of rows moved into it, and for each period that is `left` (it has
-- rows in a default partition: call again, or with a greater `move_at_most`) or `locked` (try again).
-- While it holds a lock, it does not wait for another one, which could cause a deadlock.
CREATE FUNCTION @threadline@.maintain(
    months integer DEFAULT 3, move_at_most bigint DEFAULT 50000, lock_wait interval DEFAULT '500 milliseconds'
) RETURNS TABLE (table_name text, period_start timestamptz, result text, rows_moved bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $maintain$
DECLARE
    width CONSTANT text := (SELECT partition_width FROM @threadline@.audit_settings);
    until CONSTANT timestamptz := now() + make_interval(months => months);
    periods timestamptz[];
BEGIN
    PERFORM set_config('lock_timeout', (extract(epoch FROM lock_wait) * 1000)::integer || 'ms', true);
    FOREACH table_name IN ARRAY ARRAY['audit_changes', 'audit_transactions', 'audit_actions'] LOOP
        -- Rows with impossible times (the clock was wrong) stay in the default partition.
        EXECUTE format(
            'SELECT array_agg(period ORDER BY period) FROM ('
            '    SELECT date_trunc($1, %1$s) AS period FROM @threadline@.%2$I '
            '    WHERE %1$s >= ''2001-01-01'' AND %1$s < $2 '
            '    UNION SELECT generate_series(date_trunc($1, now()), $2, (''1 '' || $1)::interval)'
            ') AS periods',
            CASE table_name
                WHEN 'audit_changes' THEN 'captured_at'
                WHEN 'audit_transactions' THEN '@threadline@.transaction_began_at(id)'
                ELSE '@threadline@.action_recorded_at(id)'
            END, table_name || '_default'
        ) INTO periods USING width, until;
        FOREACH period_start IN ARRAY periods LOOP
            BEGIN
                rows_moved := @threadline@.create_partition(table_name, period_start, move_at_most);
                CONTINUE WHEN rows_moved IS NULL;
                result := CASE WHEN rows_moved < 0 THEN 'left' ELSE 'created' END;
                PERFORM set_config('lock_timeout', '10ms', true) WHERE result = 'created';
                move_at_most := CASE WHEN rows_moved > 0 THEN 0 ELSE move_at_most END;
            EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
                result := 'locked';
                rows_moved := 0;
            END;
            rows_moved := GREATEST(rows_moved, 0);
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$maintain$;

-- Creates the default partitions, and the partitions of this period and the next three months.
DO $$
DECLARE
    parent text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['audit_changes', 'audit_transactions', 'audit_actions'] LOOP
        EXECUTE format('CREATE TABLE @threadline@.%1$I PARTITION OF @threadline@.%2$I DEFAULT', parent || '_default', parent);
        PERFORM @threadline@.protect_partition('@threadline@.' || parent, '@threadline@.' || parent || '_default');
        PERFORM @threadline@.create_partition(parent, period AT TIME ZONE 'UTC', 0)
        FROM @threadline@.audit_settings
        CROSS JOIN generate_series(date_trunc(partition_width, now() AT TIME ZONE 'UTC'),
            (now() + '3 months') AT TIME ZONE 'UTC', ('1 ' || partition_width)::interval) AS period;
    END LOOP;
END
$$;
