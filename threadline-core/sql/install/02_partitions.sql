-- Monthly partitions of the trail, and one more of each table for what no month catches.

-- The smallest transaction id of transactions that start at an instant or later.
CREATE OR REPLACE FUNCTION @threadline@.transaction_id_from(instant timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN pg_catalog.encode(
    pg_catalog.timestamptz_send(instant) OPERATOR(pg_catalog.||) '\x0000000000000000'::bytea,
    'hex'
)::uuid;

-- The smallest version 7 uuid of an instant. Of one that none can say: the first or last of them.
CREATE OR REPLACE FUNCTION @threadline@.action_id_from(instant timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (
    pg_catalog.lpad(
        pg_catalog.to_hex(
            LEAST(GREATEST(
                pg_catalog.floor(EXTRACT(EPOCH FROM instant) OPERATOR(pg_catalog.*) 1000), 0
            ), 281474976710655)::bigint
        ),
        12, '0'
    ) OPERATOR(pg_catalog.||) '00000000000000000000'
)::uuid;

-- When the transaction of an id began. An id that nobody's transaction has can say more than an
-- instant can: it is taken for the far past, or the far future.
CREATE OR REPLACE FUNCTION @threadline@.transaction_began_at(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN '2000-01-01 00:00:00+00'::timestamptz OPERATOR(pg_catalog.+) (
    LEAST(GREATEST(pg_catalog.concat(
        'x', pg_catalog.substr(pg_catalog.replace(id::text, '-', ''), 1, 16)
    )::bit(64)::bigint, -200000000000000000), 9200000000000000000)
        OPERATOR(pg_catalog.*) '1 microsecond'::interval
);

-- When the action of an id was recorded, to the millisecond.
CREATE OR REPLACE FUNCTION @threadline@.action_recorded_at(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN '1970-01-01 00:00:00+00'::timestamptz OPERATOR(pg_catalog.+) (
    pg_catalog.concat(
        'x0000', pg_catalog.substr(pg_catalog.replace(id::text, '-', ''), 1, 12)
    )::bit(64)::bigint OPERATOR(pg_catalog.*) '1 millisecond'::interval
);

-- Always true, and dear: the planner asks it of as few rows as it can. Questions that name what they
-- look up have it among their conditions, or a month with few rows would be read from end to end. Unsafe
-- in parallel, because starting workers takes longer than looking up. Of a transaction or an action:
CREATE OR REPLACE FUNCTION @threadline@.looked_up(id uuid) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL UNSAFE COST 1000 AS $looked_up$
BEGIN
    RETURN true;
END
$looked_up$;

-- Of a change. There may be many, and so dear that they were worth compiling just in time is too dear.
CREATE OR REPLACE FUNCTION @threadline@.looked_up(id bigint) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL UNSAFE COST 100 AS $looked_up$
BEGIN
    RETURN true;
END
$looked_up$;

-- TRUNCATE passes row triggers by, so every partition is guarded by a trigger of its own.
CREATE OR REPLACE FUNCTION @threadline@.guard_truncate() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
BEGIN
    RAISE EXCEPTION 'the audit trail is append-only: TRUNCATE of %.% refused',
        TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'What has to go goes by remove_changes or erase_values, which record what they remove.';
END
$guard$;

-- The partitions of the trail, each with the time it is for. Of a default partition, and of one that
-- is not bounded by time on both sides, both instants are null.
CREATE OR REPLACE FUNCTION @threadline@.trail_partitions()
RETURNS TABLE (
    parent text, partition regclass, partition_name text,
    from_instant timestamptz, to_instant timestamptz
)
LANGUAGE sql STABLE ROWS 60 SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT parent.relname::text, class.oid::regclass, class.relname::text,
        CASE parent.relname
            WHEN 'audit_changes' THEN bounds.parts[1]::timestamptz
            WHEN 'audit_transactions' THEN @threadline@.transaction_began_at(bounds.parts[1]::uuid)
            ELSE @threadline@.action_recorded_at(bounds.parts[1]::uuid)
        END,
        CASE parent.relname
            WHEN 'audit_changes' THEN bounds.parts[2]::timestamptz
            WHEN 'audit_transactions' THEN @threadline@.transaction_began_at(bounds.parts[2]::uuid)
            ELSE @threadline@.action_recorded_at(bounds.parts[2]::uuid)
        END
    FROM pg_class AS parent
    JOIN pg_inherits AS inherits ON inherits.inhparent = parent.oid
    JOIN pg_class AS class ON class.oid = inherits.inhrelid
    CROSS JOIN LATERAL regexp_match(
        pg_get_expr(class.relpartbound, class.oid), $$^FOR VALUES FROM \('([^']*)'\) TO \('([^']*)'\)$$
    ) AS bounds (parts)
    WHERE parent.relnamespace = '@threadline@'::regnamespace AND parent.relkind = 'p'
        AND parent.relname IN ('audit_changes', 'audit_transactions', 'audit_actions');
END;

-- The bounds of one table's partition for a span of time, as literals: timestamps of changes, ids of
-- the others.
CREATE OR REPLACE FUNCTION @threadline@.partition_bounds(
    parent text, from_instant timestamptz, to_instant timestamptz
) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
RETURN CASE parent
    WHEN 'audit_changes' THEN ARRAY[quote_literal(from_instant), quote_literal(to_instant)]
    WHEN 'audit_transactions' THEN ARRAY[
        quote_literal(@threadline@.transaction_id_from(from_instant)),
        quote_literal(@threadline@.transaction_id_from(to_instant))
    ]
    ELSE ARRAY[
        quote_literal(@threadline@.action_id_from(from_instant)),
        quote_literal(@threadline@.action_id_from(to_instant))
    ]
END;

-- The time for which one table of the trail is given partitions, whole months: not before a trail
-- can have begun, and a year ahead. What says it is of another time (a clock was wrong, somebody made
-- an id up) stays in the default partition. An application says when its actions were, so theirs is
-- the time of the changes.
CREATE OR REPLACE FUNCTION @threadline@.trail_span(
    of_parent text, OUT from_instant timestamptz, OUT to_instant timestamptz
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $span$
DECLARE
    -- No uuid, timestamp or clock in order is of before.
    beginning CONSTANT timestamptz := '2001-01-01';
BEGIN
    from_instant := beginning;
    to_instant := date_trunc('month', now()) + interval '13 months';
    IF of_parent = 'audit_actions' THEN
        SELECT COALESCE(min(part.from_instant), date_trunc('month', now())) INTO from_instant
        FROM @threadline@.trail_partitions() AS part
        WHERE part.parent = 'audit_changes' AND part.from_instant >= beginning;
    END IF;
END
$span$;

-- The column by which one table of the trail is partitioned.
CREATE OR REPLACE FUNCTION @threadline@.partition_column(parent text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE WHEN parent OPERATOR(pg_catalog.=) 'audit_changes' THEN 'captured_at' ELSE 'id' END;

-- Guards one partition against TRUNCATE.
CREATE OR REPLACE FUNCTION @threadline@.guard_partition(partition text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
BEGIN
    EXECUTE format(
        'CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON @threadline@.%I '
        'FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_truncate()',
        partition
    );
END
$guard$;

-- Makes one partition of one table of the trail, if it is not there yet. It is attached: that lets
-- writers go on, where CREATE TABLE ... PARTITION OF would lock them out.
CREATE OR REPLACE FUNCTION @threadline@.create_partition(
    parent text, partition text, bounds text
) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $create$
BEGIN
    IF to_regclass(format('@threadline@.%I', partition)) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format(
        'CREATE TABLE @threadline@.%I (LIKE @threadline@.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS '
        'INCLUDING STORAGE INCLUDING COMPRESSION)', partition, parent
    );
    PERFORM @threadline@.readable_as(
        format('@threadline@.%I', partition)::regclass, format('@threadline@.%I', parent)::regclass
    );
    EXECUTE format(
        'ALTER TABLE @threadline@.%I ATTACH PARTITION @threadline@.%I %s', parent, partition, bounds
    );
    PERFORM @threadline@.guard_partition(partition);
    RETURN true;
END
$create$;

-- Makes the partitions of the month that holds an instant, and of the months after it. A month that
-- another partition covers, or that has rows in the default partition, is left as it is: those rows
-- are moved by maintain_partitions. Returns how many tables it made.
CREATE OR REPLACE FUNCTION @threadline@.create_partitions(
    from_instant timestamptz, months integer
) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $create$
DECLARE
    first_month timestamp := date_trunc('month', from_instant AT TIME ZONE 'UTC');
    missing record;
    bounds text[];
    is_taken boolean;
    created integer := 0;
BEGIN
    FOR missing IN
        SELECT owner.name AS parent, month.lower_bound, month.upper_bound,
            format('%s_%s', owner.name, to_char(month.lower_bound AT TIME ZONE 'UTC', 'YYYY_MM')) AS partition
        FROM generate_series(0, months) AS step
        CROSS JOIN LATERAL (
            SELECT (first_month + make_interval(months => step)) AT TIME ZONE 'UTC' AS lower_bound,
                (first_month + make_interval(months => step + 1)) AT TIME ZONE 'UTC' AS upper_bound
        ) AS month
        CROSS JOIN (VALUES ('audit_changes'), ('audit_transactions'), ('audit_actions')) AS owner (name)
        WHERE NOT EXISTS (
            SELECT FROM @threadline@.trail_partitions() AS found
            WHERE found.parent = owner.name
                AND found.from_instant < month.upper_bound AND found.to_instant > month.lower_bound
        )
        ORDER BY step, owner.name
    LOOP
        bounds := @threadline@.partition_bounds(missing.parent, missing.lower_bound, missing.upper_bound);
        IF to_regclass(format('@threadline@.%I', missing.parent || '_default')) IS NOT NULL THEN
            EXECUTE format(
                'SELECT EXISTS (SELECT FROM @threadline@.%I WHERE %I >= %s AND %2$I < %4$s)',
                missing.parent || '_default', @threadline@.partition_column(missing.parent),
                bounds[1], bounds[2]
            ) INTO is_taken;
            CONTINUE WHEN is_taken;
        END IF;
        created := created + @threadline@.create_partition(
            missing.parent, missing.partition, format('FOR VALUES FROM (%s) TO (%s)', bounds[1], bounds[2])
        )::integer;
    END LOOP;
    RETURN created;
END
$create$;

-- Rows that no month catches go here; nothing is ever refused for want of a partition. A year is made
-- ahead, so that nobody has to remember it in the first one. Later that is for maintenance to do; only
-- where it was forgotten is it done here, if that is possible without waiting for anybody.
DO $partitions$
DECLARE
    next_month CONSTANT text := to_char((now() + interval '1 month') AT TIME ZONE 'UTC', 'YYYY_MM');
BEGIN
    PERFORM @threadline@.create_partition('audit_changes', 'audit_changes_default', 'DEFAULT');
    PERFORM @threadline@.create_partition('audit_transactions', 'audit_transactions_default', 'DEFAULT');
    PERFORM @threadline@.create_partition('audit_actions', 'audit_actions_default', 'DEFAULT');
    IF to_regclass('@threadline@.audit_changes_' || next_month) IS NULL
        OR to_regclass('@threadline@.audit_transactions_' || next_month) IS NULL
        OR to_regclass('@threadline@.audit_actions_' || next_month) IS NULL
    THEN
        PERFORM @threadline@.create_partitions(now(), 12);
    END IF;
EXCEPTION WHEN lock_not_available THEN
    RAISE WARNING 'partitions are not made ahead, because the trail is busy'
        USING HINT = 'CALL @threadline@.maintain()';
END
$partitions$;
