-- Suspends capture for bulk maintenance, until the transaction ends or resume_capture is called. Needs
-- EXECUTE on suspend_capture, which no role has by default. The suspension is recorded with its tables,
-- role and reason; the changes made during it are not.

CREATE FUNCTION @threadline@.suspend_capture(tables regclass[], reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    transaction_id uuid := @threadline@.current_transaction_id();
    order_id bigint := nextval('@threadline@.audit_changes_id_seq');
    declared_names text[];
    not_captured regclass;
BEGIN
    IF coalesce(cardinality(tables), 0) = 0 OR coalesce(trim(reason), '') = '' THEN
        RAISE EXCEPTION 'suspend_capture needs tables and a reason' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- The declared names, which capture uses.
    SELECT array_agg(declared_name ORDER BY declared_name),
        (array_agg(given) FILTER (WHERE policy = '{}' OR EXISTS (SELECT FROM pg_inherits WHERE inhrelid = given)))[1]
    INTO declared_names, not_captured
    FROM unnest(tables) AS given
    CROSS JOIN LATERAL @threadline@.deployed_policy(given) AS policy
    CROSS JOIN concat_ws('.', quote_ident(policy #>> '{name,schema}'), quote_ident(policy #>> '{name,name}')) AS declared_name;
    IF not_captured IS NOT NULL THEN
        RAISE EXCEPTION 'capture of % cannot be suspended: it is not captured by that name', not_captured
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'For a partition or an inheritance child, name the root.';
    END IF;
    INSERT INTO @threadline@.audit_suspensions (
        order_id, transaction_id, suspended_at, suspended_by, reason, tables
    ) VALUES (
        order_id, transaction_id, clock_timestamp(), session_user, reason, declared_names
    );
    -- Capture checks for suspensions only if its marker does not match, so clear the marker.
    PERFORM set_config('threadline.recorded', '', true), set_config('threadline.suspended',
        concat_ws(',', nullif(current_setting('threadline.suspended', true), ''), order_id), true);
END
$$;

CREATE FUNCTION @threadline@.resume_capture() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM set_config('threadline.suspended', '', true);
END
$$;
