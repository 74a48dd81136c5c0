SELECT @threadline@.disable_capture(@schema_literal@, @name_literal@);
DROP FUNCTION IF EXISTS @function@();
