DO $$
BEGIN
    IF to_regclass('@threadline@.audit_seal_logs') IS NOT NULL THEN
        RAISE EXCEPTION 'migration threadline_0003 is already applied in schema @threadline@'
            USING ERRCODE = 'duplicate_table', HINT = 'No action is needed.';
    END IF;
    -- Unqualified names resolve to pg_catalog only, until 99_privileges.sql restores the search path.
    PERFORM set_config('threadline.path_before', current_setting('search_path'), true),
        set_config('search_path', 'pg_catalog, pg_temp', true);
END
$$;
