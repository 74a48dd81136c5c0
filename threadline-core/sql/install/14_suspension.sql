-- Suspending capture for bulk maintenance. It needs a privilege of its own (EXECUTE on
-- suspend_capture, which nobody has by default), holds for the running transaction only, and leaves
-- a record of who did it, why, for which tables, and how many rows of each statement went by.

CREATE TABLE IF NOT EXISTS @threadline@.audit_suspensions (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_id uuid        NOT NULL,
    suspended_at   timestamptz NOT NULL,
    suspended_by   text        NOT NULL,
    reason         text        NOT NULL,
    tables         text[]      NOT NULL
);

COMMENT ON TABLE @threadline@.audit_suspensions IS
    'One row for each transaction that suspended capture.';

CREATE TABLE IF NOT EXISTS @threadline@.audit_suspended_writes (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    suspension_id bigint      NOT NULL,
    statement_at  timestamptz NOT NULL,
    table_schema  text        NOT NULL,
    table_name    text        NOT NULL,
    op            text        NOT NULL,
    row_count     bigint      NOT NULL
);

COMMENT ON TABLE @threadline@.audit_suspended_writes IS
    'How many rows of which statements went by while capture was suspended.';

-- A text that only this database can make, and only in the running transaction: what a session cannot
-- put into a setting. Null where the secret is missing. Hashed twice, so that nothing can be added to
-- a signed text; in the database's own encoding, so that nothing has to be converted.
CREATE OR REPLACE FUNCTION @threadline@.signed(content text) RETURNS text
LANGUAGE plpgsql STABLE AS $signed$
DECLARE
    secret pg_catalog.bytea := pg_catalog.int8send(
            pg_catalog.pg_sequence_last_value('@threadline@.capture_secret'::pg_catalog.regclass)
        ) OPERATOR(pg_catalog.||) pg_catalog.int8send(
            pg_catalog.pg_sequence_last_value('@threadline@.capture_secret_rest'::pg_catalog.regclass)
        );
BEGIN
    RETURN pg_catalog.encode(
        pg_catalog.sha256(secret OPERATOR(pg_catalog.||) pg_catalog.sha256(
            secret OPERATOR(pg_catalog.||) pg_catalog.convert_to(
                pg_catalog.concat(@threadline@.current_transaction_id(), ' ', content),
                pg_catalog.getdatabaseencoding()
            )
        )),
        'hex'
    ) OPERATOR(pg_catalog.||) ' ' OPERATOR(pg_catalog.||) content;
END
$signed$;

-- The content of a signed text, or null if nobody here signed it.
CREATE OR REPLACE FUNCTION @threadline@.verified(signature text) RETURNS text
LANGUAGE plpgsql STABLE AS $verified$
DECLARE
    content pg_catalog.text := pg_catalog.substr(
        signature, pg_catalog.strpos(signature, ' ') OPERATOR(pg_catalog.+) 1
    );
BEGIN
    IF @threadline@.signed(content) OPERATOR(pg_catalog.=) signature THEN
        RETURN content;
    END IF;
    RETURN NULL;
END
$verified$;

-- Suspends capture of the tables, besides those whose capture the transaction suspended before.
CREATE OR REPLACE FUNCTION @threadline@.suspend_capture(tables regclass[], reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $suspend$
DECLARE
    suspension bigint;
    before text := @threadline@.verified(current_setting('threadline.suspended', true));
    not_captured text;
    -- By the names that capture knows them by.
    names text[] := ARRAY(
        SELECT format('%I.%I', policy #>> '{name,schema}', policy #>> '{name,name}')
        FROM unnest(tables) AS given CROSS JOIN LATERAL @threadline@.deployed_policy(given) AS policy
        WHERE policy <> '{}'
        ORDER BY 1
    );
BEGIN
    IF COALESCE(cardinality(tables), 0) = 0 OR COALESCE(trim(reason), '') = '' THEN
        RAISE EXCEPTION 'suspending capture takes the tables it is for, and a reason'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT given::text INTO not_captured
    FROM unnest(tables) AS given
    WHERE @threadline@.deployed_policy(given) = '{}'
        OR EXISTS (SELECT FROM pg_inherits WHERE inhrelid = given);
    IF FOUND THEN
        RAISE EXCEPTION 'capture of % cannot be suspended: it is not captured by that name', not_captured
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Of a partitioned or inherited table, name the root.';
    END IF;
    INSERT INTO @threadline@.audit_suspensions (transaction_id, suspended_at, suspended_by, reason, tables)
    VALUES (@threadline@.current_transaction_id(), clock_timestamp(), session_user, reason, names)
    RETURNING id INTO suspension;
    -- Capture asks whether it is suspended only where its note of the context is not the one in
    -- force, so the note goes.
    PERFORM set_config(
                'threadline.suspended',
                @threadline@.signed(
                    (COALESCE(before::jsonb, '[]') || jsonb_build_array(jsonb_build_array(suspension, names)))::text
                ),
                true
            ),
            set_config('threadline.recorded', '', true);
END
$suspend$;

CREATE OR REPLACE FUNCTION @threadline@.resume_capture() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $resume$
BEGIN
    PERFORM @threadline@.write_suspended_count();
    PERFORM set_config('threadline.suspended', '', true);
END
$resume$;

-- The suspension in force for a table, if there is one. It is looked up, since a session could put the
-- setting back after the record was rolled back.
CREATE OR REPLACE FUNCTION @threadline@.suspension_of(table_schema text, table_name text) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT recorded.id
    FROM jsonb_array_elements(
        @threadline@.verified(current_setting('threadline.suspended', true))::jsonb
    ) AS suspension
    JOIN @threadline@.audit_suspensions AS recorded ON recorded.id = (suspension ->> 0)::bigint
    WHERE suspension -> 1 ? format('%I.%I', table_schema, table_name)
        AND recorded.transaction_id = @threadline@.current_transaction_id()
    ORDER BY recorded.id DESC
    LIMIT 1
);

-- Writes down how many rows of a statement went by, where that is known at once.
CREATE OR REPLACE FUNCTION @threadline@.record_suspended(
    suspension bigint, table_schema text, table_name text, op text, row_count bigint
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $record$
BEGIN
    PERFORM @threadline@.write_suspended_count();
    INSERT INTO @threadline@.audit_suspended_writes (
        suspension_id, statement_at, table_schema, table_name, op, row_count
    ) VALUES (suspension, statement_timestamp(), table_schema, table_name, op, row_count);
END
$record$;

-- Counts rows that went by, where they are seen one by one. The count of the running statement is kept in a setting, signed; the
-- next statement, resume_capture, or the commit writes it down.
CREATE OR REPLACE FUNCTION @threadline@.count_suspended(
    suspension bigint, table_schema text, table_name text, op text, row_count bigint
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $count$
DECLARE
    counted jsonb := @threadline@.verified(current_setting('threadline.suspended_count', true));
    statement jsonb := jsonb_build_array(suspension, statement_timestamp(), table_schema, table_name, op);
BEGIN
    IF counted IS NOT NULL AND counted -> 0 <> statement THEN
        PERFORM @threadline@.write_suspended_count();
        counted := NULL;
    END IF;
    PERFORM set_config(
        'threadline.suspended_count',
        @threadline@.signed(
            jsonb_build_array(statement, COALESCE((counted ->> 1)::bigint, 0) + row_count)::text
        ),
        true
    );
END
$count$;

CREATE OR REPLACE FUNCTION @threadline@.write_suspended_count() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $write$
DECLARE
    counted jsonb := @threadline@.verified(current_setting('threadline.suspended_count', true));
BEGIN
    IF counted IS NOT NULL THEN
        INSERT INTO @threadline@.audit_suspended_writes (
            suspension_id, statement_at, table_schema, table_name, op, row_count
        ) VALUES (
            (counted #>> '{0,0}')::bigint, (counted #>> '{0,1}')::timestamptz, counted #>> '{0,2}',
            counted #>> '{0,3}', counted #>> '{0,4}', (counted ->> 1)::bigint
        );
        PERFORM set_config('threadline.suspended_count', '', true);
    END IF;
END
$write$;

CREATE OR REPLACE FUNCTION @threadline@.write_last_suspended_count() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $write$
BEGIN
    PERFORM @threadline@.write_suspended_count();
    RETURN NULL;
END
$write$;

SELECT @threadline@.ensure_guard($guard$
CREATE CONSTRAINT TRIGGER write_last_count AFTER INSERT ON @threadline@.audit_suspensions
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION @threadline@.write_last_suspended_count()
$guard$);
