
BEGIN
    PERFORM @threadline@.check_declaration(@table_json@);

    CREATE OR REPLACE FUNCTION @row_function@() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER AS @row_body@;

    CREATE OR REPLACE FUNCTION @statement_function@() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER AS @statement_body@;

    -- A trigger function that anybody may execute could be put on any table, to forge changes.
    REVOKE ALL ON FUNCTION @row_function@() FROM PUBLIC;
    REVOKE ALL ON FUNCTION @statement_function@() FROM PUBLIC;

    PERFORM @threadline@.deploy_policy(@policy_json@, @row_literal@, @statement_literal@);
    PERFORM @threadline@.attach_capture(@table_json@, @row_literal@, @statement_literal@);
END
