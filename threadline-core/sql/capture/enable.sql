CREATE OR REPLACE FUNCTION @function@() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp@settings@
AS @body@;

COMMENT ON FUNCTION @function@() IS
    @policy@;

SELECT @threadline@.enable_capture(@schema_literal@, @name_literal@, @function_literal@);
