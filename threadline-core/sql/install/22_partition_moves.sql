-- Partitions made ahead, and the default partitions emptied: one bounded step a call.
--
-- A month that has rows in the default partition cannot get a partition of its own while they are
-- there. So they are copied, some at a time, into a table beside the trail, while a trigger on the
-- default partition copies what is still written there. When all is copied, the default partition
-- is exchanged for those tables and a new one, which takes a moment. Readers see every row all the
-- time, once.

CREATE TABLE IF NOT EXISTS @threadline@.audit_partition_moves (
    partition_name text COLLATE "C" PRIMARY KEY,
    parent         text COLLATE "C" NOT NULL,
    from_instant   timestamptz NOT NULL,
    to_instant     timestamptz NOT NULL,
    moved_up_to    jsonb,
    is_copied      boolean     NOT NULL DEFAULT false
);

COMMENT ON TABLE @threadline@.audit_partition_moves IS
    'Months that are being copied out of a default partition, and how far that got.';

-- The name of a month's table while it is filled.
CREATE OR REPLACE FUNCTION @threadline@.moving_name(partition text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN pg_catalog.concat('moving_', partition);

-- Copies what is written into a default partition while its rows are moved.
CREATE OR REPLACE FUNCTION @threadline@.mirror_default() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $mirror$
DECLARE
    of_parent CONSTANT text := TG_ARGV[0];
    instant timestamptz;
    target regclass;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        instant := @threadline@.instant_of(of_parent, to_jsonb(OLD));
        SELECT to_regclass(format('@threadline@.%I', @threadline@.moving_name(move.partition_name)))
        INTO target FROM @threadline@.audit_partition_moves AS move
        WHERE move.parent = of_parent AND move.from_instant <= instant AND move.to_instant > instant;
        IF target IS NOT NULL THEN
            EXECUTE format('DELETE FROM %s AS copy WHERE copy.id = ($1).id', target)
                || CASE of_parent WHEN 'audit_changes' THEN ' AND copy.captured_at = ($1).captured_at' ELSE '' END
                USING OLD;
        END IF;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        instant := @threadline@.instant_of(of_parent, to_jsonb(NEW));
        SELECT to_regclass(format('@threadline@.%I', @threadline@.moving_name(move.partition_name)))
        INTO target FROM @threadline@.audit_partition_moves AS move
        WHERE move.parent = of_parent AND move.from_instant <= instant AND move.to_instant > instant;
        IF target IS NOT NULL THEN
            EXECUTE format('INSERT INTO %s SELECT ($1).* ON CONFLICT DO NOTHING', target) USING NEW;
        END IF;
    END IF;
    RETURN NULL;
END
$mirror$;

-- The instant by which a row of the trail is partitioned.
CREATE OR REPLACE FUNCTION @threadline@.instant_of(parent text, recorded jsonb) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN CASE parent
    WHEN 'audit_changes' THEN (recorded ->> 'captured_at')::timestamptz
    WHEN 'audit_transactions' THEN @threadline@.transaction_began_at((recorded ->> 'id')::uuid)
    ELSE @threadline@.action_recorded_at((recorded ->> 'id')::uuid)
END;

-- The first month that has rows in a default partition and is not being moved. Rows of no plausible
-- time belong to no month: see trail_span.
CREATE OR REPLACE FUNCTION @threadline@.unmoved_month(of_parent text) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET enable_seqscan = off SET jit = off AS $month$
DECLARE
    column_name CONSTANT text := @threadline@.partition_column(of_parent);
    span CONSTANT record := @threadline@.trail_span(of_parent);
    lower_bound timestamptz := span.from_instant;
    bounds text[];
    first_row jsonb;
BEGIN
    WHILE lower_bound < span.to_instant LOOP
        bounds := @threadline@.partition_bounds(of_parent, lower_bound, span.to_instant);
        EXECUTE format(
            'SELECT jsonb_build_object(%2$L, d.%2$I) FROM @threadline@.%1$I AS d '
            'WHERE d.%2$I >= %3$s AND d.%2$I < %4$s ORDER BY d.%2$I LIMIT 1',
            of_parent || '_default', column_name, bounds[1], bounds[2]
        ) INTO first_row;
        IF first_row IS NULL THEN
            RETURN NULL;
        END IF;
        lower_bound := date_trunc('month', @threadline@.instant_of(of_parent, first_row));
        IF NOT EXISTS (
            SELECT FROM @threadline@.audit_partition_moves AS move
            WHERE move.parent = of_parent AND move.from_instant = lower_bound
        ) THEN
            RETURN lower_bound;
        END IF;
        lower_bound := lower_bound + interval '1 month';
    END LOOP;
    RETURN NULL;
END
$month$;

-- Gives up moves of months that get no partition after all: their rows are still in the default
-- partition.
CREATE OR REPLACE FUNCTION @threadline@.abandon_implausible_moves(of_parent text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $abandon$
DECLARE
    span CONSTANT record := @threadline@.trail_span(of_parent);
    partition text;
BEGIN
    FOR partition IN
        SELECT move.partition_name FROM @threadline@.audit_partition_moves AS move
        WHERE move.parent = of_parent
            AND (move.from_instant < span.from_instant OR move.to_instant > span.to_instant)
    LOOP
        EXECUTE format('DROP TABLE IF EXISTS @threadline@.%I', @threadline@.moving_name(partition));
        DELETE FROM @threadline@.audit_partition_moves AS move WHERE move.partition_name = partition;
    END LOOP;
END
$abandon$;

-- Makes the table that a month is copied into, and the trigger that keeps it up to date. Waits, for a
-- moment, until nobody has uncommitted rows in the default partition: those would be missed.
CREATE OR REPLACE FUNCTION @threadline@.begin_move(of_parent text, month timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $begin$
DECLARE
    upper_bound CONSTANT timestamptz := month + interval '1 month';
    partition CONSTANT text := format('%s_%s', of_parent, to_char(month, 'YYYY_MM'));
    bounds CONSTANT text[] := @threadline@.partition_bounds(of_parent, month, upper_bound);
BEGIN
    EXECUTE format('LOCK TABLE @threadline@.%I IN SHARE ROW EXCLUSIVE MODE', of_parent || '_default');
    EXECUTE format(
        'CREATE TABLE @threadline@.%I (LIKE @threadline@.%I INCLUDING ALL, '
        'CONSTRAINT month CHECK (%I IS NOT NULL AND %3$I >= %4$s AND %3$I < %5$s))',
        @threadline@.moving_name(partition), of_parent, @threadline@.partition_column(of_parent),
        bounds[1], bounds[2]
    );
    PERFORM @threadline@.readable_as(
        format('@threadline@.%I', @threadline@.moving_name(partition))::regclass,
        format('@threadline@.%I', of_parent)::regclass
    );
    INSERT INTO @threadline@.audit_partition_moves (partition_name, parent, from_instant, to_instant)
    VALUES (partition, of_parent, month, upper_bound);
    IF NOT EXISTS (
        SELECT FROM pg_trigger
        WHERE tgrelid = to_regclass(format('@threadline@.%I', of_parent || '_default'))
            AND tgname = 'mirror_default'
    ) THEN
        EXECUTE format(
            'CREATE TRIGGER mirror_default AFTER INSERT OR UPDATE OR DELETE ON @threadline@.%I '
            'FOR EACH ROW EXECUTE FUNCTION @threadline@.mirror_default(%L)',
            of_parent || '_default', of_parent
        );
    END IF;
    RETURN partition;
END
$begin$;

-- Copies the next rows of a month. Returns how many.
CREATE OR REPLACE FUNCTION @threadline@.copy_moving(
    move @threadline@.audit_partition_moves, batch integer
) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET enable_seqscan = off SET jit = off AS $copy$
DECLARE
    bounds CONSTANT text[] := @threadline@.partition_bounds(move.parent, move.from_instant, move.to_instant);
    is_changes CONSTANT boolean := move.parent = 'audit_changes';
    place jsonb := move.moved_up_to;
    last jsonb;
    copied bigint;
BEGIN
    EXECUTE format(
        'WITH page AS MATERIALIZED ('
        '    SELECT d.* FROM @threadline@.%1$I AS d WHERE d.%2$I >= %3$s AND d.%2$I < %4$s AND %5$s '
        '    ORDER BY %6$s LIMIT $1 FOR SHARE'
        '), copied AS ('
        '    INSERT INTO @threadline@.%7$I SELECT * FROM page ON CONFLICT DO NOTHING'
        ') SELECT count(*), (SELECT %8$s FROM page AS d ORDER BY %9$s LIMIT 1) FROM page',
        move.parent || '_default', @threadline@.partition_column(move.parent), bounds[1], bounds[2],
        CASE
            WHEN place IS NULL THEN 'true'
            WHEN is_changes THEN format('(d.captured_at, d.id) > (%L, %L)', place ->> 'captured_at', place ->> 'id')
            ELSE format('d.id > %L', place ->> 'id')
        END,
        CASE WHEN is_changes THEN 'd.captured_at, d.id' ELSE 'd.id' END,
        @threadline@.moving_name(move.partition_name),
        CASE WHEN is_changes THEN 'jsonb_build_object(''captured_at'', d.captured_at, ''id'', d.id)'
            ELSE 'jsonb_build_object(''id'', d.id)' END,
        CASE WHEN is_changes THEN 'd.captured_at DESC, d.id DESC' ELSE 'd.id DESC' END
    ) INTO copied, last USING batch;
    UPDATE @threadline@.audit_partition_moves AS moving
    SET moved_up_to = COALESCE(last, moving.moved_up_to), is_copied = copied < batch
    WHERE moving.partition_name = move.partition_name;
    RETURN copied;
END
$copy$;

-- Copies the rows of a default partition that no month takes, because nothing plausible is known of
-- their time, into the one that takes its place.
CREATE OR REPLACE FUNCTION @threadline@.keep_implausible(of_parent text, exchanged text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET enable_seqscan = off SET jit = off AS $keep$
DECLARE
    move @threadline@.audit_partition_moves;
    bounds text[];
    lower_bound text := 'true';
    outside text[] := '{}';
    range text;
BEGIN
    -- What is between the months, one stretch of the index after another.
    FOR move IN
        SELECT * FROM @threadline@.audit_partition_moves AS m WHERE m.parent = of_parent ORDER BY m.from_instant
    LOOP
        bounds := @threadline@.partition_bounds(of_parent, move.from_instant, move.to_instant);
        outside := outside || format('%s AND d.%I < %s', lower_bound, @threadline@.partition_column(of_parent), bounds[1]);
        lower_bound := format('d.%I >= %s', @threadline@.partition_column(of_parent), bounds[2]);
    END LOOP;
    FOREACH range IN ARRAY outside || lower_bound LOOP
        EXECUTE format(
            'INSERT INTO @threadline@.%I SELECT d.* FROM @threadline@.%I AS d WHERE %s',
            of_parent || '_default', exchanged, range
        );
    END LOOP;
END
$keep$;

-- Exchanges a default partition for the months that were copied out of it, and one with what no month
-- takes: nothing, if all is well.
CREATE OR REPLACE FUNCTION @threadline@.exchange_default(of_parent text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $exchange$
DECLARE
    exchanged CONSTANT text := concat('exchanged_', of_parent, '_default');
    move @threadline@.audit_partition_moves;
    bounds text[];
BEGIN
    EXECUTE format('LOCK TABLE ONLY @threadline@.%I IN ACCESS EXCLUSIVE MODE', of_parent);
    EXECUTE format('LOCK TABLE @threadline@.%I IN ACCESS EXCLUSIVE MODE', of_parent || '_default');
    IF @threadline@.unmoved_month(of_parent) IS NOT NULL THEN
        RETURN false; -- another month has begun
    END IF;
    EXECUTE format('ALTER TABLE @threadline@.%I DETACH PARTITION @threadline@.%I', of_parent, of_parent || '_default');
    EXECUTE format('ALTER TABLE @threadline@.%I RENAME TO %I', of_parent || '_default', exchanged);
    FOR move IN SELECT * FROM @threadline@.audit_partition_moves AS m WHERE m.parent = of_parent LOOP
        bounds := @threadline@.partition_bounds(of_parent, move.from_instant, move.to_instant);
        EXECUTE format('ALTER TABLE @threadline@.%I RENAME TO %I',
            @threadline@.moving_name(move.partition_name), move.partition_name);
        EXECUTE format('ALTER TABLE @threadline@.%I ATTACH PARTITION @threadline@.%I FOR VALUES FROM (%s) TO (%s)',
            of_parent, move.partition_name, bounds[1], bounds[2]);
        EXECUTE format('ALTER TABLE @threadline@.%I DROP CONSTRAINT month', move.partition_name);
        PERFORM @threadline@.guard_partition(move.partition_name);
    END LOOP;
    PERFORM @threadline@.create_partition(of_parent, of_parent || '_default', 'DEFAULT');
    PERFORM @threadline@.keep_implausible(of_parent, exchanged);
    EXECUTE format('DROP TABLE @threadline@.%I', exchanged);
    DELETE FROM @threadline@.audit_partition_moves AS m WHERE m.parent = of_parent;
    RETURN true;
END
$exchange$;

-- One step of maintenance. Call it, each time in a transaction of its own, until `step` is done:
-- moved (rows copied out of a default partition), exchanged, created (how many partitions), locked
-- (somebody uses the table; try again), busy (somebody else is at it).
CREATE OR REPLACE FUNCTION @threadline@.maintain_partitions(
    months integer, batch integer, lock_wait interval
) RETURNS TABLE (step text, subject text, rows bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $maintain$
#variable_conflict use_column
DECLARE
    owner text;
    month timestamptz;
    move @threadline@.audit_partition_moves;
BEGIN
    rows := 0;
    IF NOT pg_try_advisory_xact_lock(hashtextextended('@threadline@.maintain_partitions', 0)) THEN
        step := 'busy';
        RETURN NEXT;
        RETURN;
    END IF;
    PERFORM set_config('lock_timeout', (EXTRACT(EPOCH FROM lock_wait) * 1000)::integer || 'ms', true);
    -- What triggers of the host's stopped on its way to another partition.
    DELETE FROM @threadline@.audit_moving_rows AS stopped
    WHERE CASE WHEN stopped.xid < pg_snapshot_xmax(pg_current_snapshot())
        THEN pg_xact_status(stopped.xid) IS DISTINCT FROM 'in progress' END;
    BEGIN
        FOREACH owner IN ARRAY ARRAY['audit_changes', 'audit_transactions', 'audit_actions'] LOOP
            PERFORM @threadline@.abandon_implausible_moves(owner);
            month := @threadline@.unmoved_month(owner);
            IF month IS NOT NULL THEN
                step := 'moved';
                subject := @threadline@.begin_move(owner, month);
                RETURN NEXT;
                RETURN;
            END IF;
            SELECT * INTO move FROM @threadline@.audit_partition_moves AS m
            WHERE m.parent = owner AND NOT m.is_copied ORDER BY m.from_instant LIMIT 1;
            IF FOUND THEN
                step := 'moved';
                subject := move.partition_name;
                rows := @threadline@.copy_moving(move, batch);
                RETURN NEXT;
                RETURN;
            END IF;
            IF EXISTS (SELECT FROM @threadline@.audit_partition_moves AS m WHERE m.parent = owner) THEN
                subject := owner;
                step := CASE WHEN @threadline@.exchange_default(owner) THEN 'exchanged' ELSE 'locked' END;
                RETURN NEXT;
                RETURN;
            END IF;
        END LOOP;
        rows := @threadline@.create_partitions(now(), months);
        step := CASE WHEN rows > 0 THEN 'created' ELSE 'done' END;
        subject := NULL;
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
        step := 'locked';
        rows := 0;
    END;
    RETURN NEXT;
END
$maintain$;

-- All of maintenance by one command, for psql and cron: steps, each committed, until nothing is left
-- to do. Call it outside of a transaction. Gives up where somebody else is at it, or where a table
-- stays locked.
CREATE OR REPLACE PROCEDURE @threadline@.maintain(
    months integer DEFAULT 12, batch integer DEFAULT 5000, lock_wait interval DEFAULT '1 second'
)
LANGUAGE plpgsql AS $maintain$
DECLARE
    reached pg_catalog.text;
    refusals integer := 0;
BEGIN
    LOOP
        SELECT done.step INTO reached
        FROM @threadline@.maintain_partitions(months, batch, lock_wait) AS done;
        COMMIT;
        EXIT WHEN reached OPERATOR(pg_catalog.=) 'done';
        IF reached OPERATOR(pg_catalog.=) 'busy' THEN
            RAISE NOTICE 'somebody else is at it';
            EXIT;
        END IF;
        IF reached OPERATOR(pg_catalog.=) 'locked' THEN
            refusals := refusals OPERATOR(pg_catalog.+) 1;
            IF refusals OPERATOR(pg_catalog.>) 30 THEN
                RAISE EXCEPTION 'a table of the trail stays locked'
                    USING ERRCODE = 'lock_not_available', HINT = 'See who holds the lock, and call it again.';
            END IF;
            PERFORM pg_catalog.pg_sleep(0.1);
        END IF;
    END LOOP;
END
$maintain$;
