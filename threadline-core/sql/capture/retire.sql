SELECT @threadline@.detach_capture(@schema_literal@, @name_literal@);
DROP FUNCTION IF EXISTS @row_function@();
DROP FUNCTION IF EXISTS @statement_function@();
