-- Monthly partitions of the trail, and one more of each table for what no month catches.

-- The smallest transaction id of transactions that start at an instant or later.
CREATE OR REPLACE FUNCTION @threadline@.transaction_id_from(instant timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN pg_catalog.encode(
    pg_catalog.timestamptz_send(instant) OPERATOR(pg_catalog.||) '\x0000000000000000'::bytea,
    'hex'
)::uuid;

-- The smallest version 7 uuid of an instant.
CREATE OR REPLACE FUNCTION @threadline@.action_id_from(instant timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (
    pg_catalog.lpad(
        pg_catalog.to_hex(
            pg_catalog.floor(EXTRACT(EPOCH FROM instant) OPERATOR(pg_catalog.*) 1000)::bigint
        ),
        12, '0'
    ) OPERATOR(pg_catalog.||) '00000000000000000000'
)::uuid;

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

-- Makes one partition of one table of the trail, if it is not there yet.
CREATE OR REPLACE FUNCTION @threadline@.create_partition(
    parent text, partition text, bounds text
) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $create$
BEGIN
    IF to_regclass(format('@threadline@.%I', partition)) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format(
        'CREATE TABLE @threadline@.%I PARTITION OF @threadline@.%I %s', partition, parent, bounds
    );
    EXECUTE format(
        'CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON @threadline@.%I '
        'FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_truncate()',
        partition
    );
    RETURN true;
END
$create$;

-- Makes the partitions of the month that holds an instant, and of the months after it.
-- Returns how many tables it made.
CREATE OR REPLACE FUNCTION @threadline@.create_partitions(
    from_instant timestamptz, months integer
) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $create$
DECLARE
    first_month timestamp := date_trunc('month', from_instant AT TIME ZONE 'UTC');
    lower_bound timestamptz;
    upper_bound timestamptz;
    suffix text;
    created integer := 0;
BEGIN
    FOR step IN 0 .. months LOOP
        lower_bound := (first_month + make_interval(months => step)) AT TIME ZONE 'UTC';
        upper_bound := (first_month + make_interval(months => step + 1)) AT TIME ZONE 'UTC';
        suffix := to_char(lower_bound AT TIME ZONE 'UTC', 'YYYY_MM');
        created := created
            + @threadline@.create_partition(
                'audit_changes', 'audit_changes_' || suffix,
                format('FOR VALUES FROM (%L) TO (%L)', lower_bound, upper_bound))::integer
            + @threadline@.create_partition(
                'audit_transactions', 'audit_transactions_' || suffix,
                format('FOR VALUES FROM (%L) TO (%L)',
                    @threadline@.transaction_id_from(lower_bound),
                    @threadline@.transaction_id_from(upper_bound)))::integer
            + @threadline@.create_partition(
                'audit_actions', 'audit_actions_' || suffix,
                format('FOR VALUES FROM (%L) TO (%L)',
                    @threadline@.action_id_from(lower_bound),
                    @threadline@.action_id_from(upper_bound)))::integer;
    END LOOP;
    RETURN created;
END
$create$;

-- Rows that no month catches go here; nothing is ever refused for want of a partition.
DO $partitions$
BEGIN
    PERFORM @threadline@.create_partition('audit_changes', 'audit_changes_default', 'DEFAULT');
    PERFORM @threadline@.create_partition('audit_transactions', 'audit_transactions_default', 'DEFAULT');
    PERFORM @threadline@.create_partition('audit_actions', 'audit_actions_default', 'DEFAULT');
    -- The running month and a year ahead: nobody has to remember it in the first year.
    PERFORM @threadline@.create_partitions(pg_catalog.now(), 12);
END
$partitions$;
