-- What is not stored, masked or not classified, to tell whether the move changes it. Writes nothing.
BEGIN
    v_hidden := (pg_catalog.to_jsonb(@row@) OPERATOR(pg_catalog.-) @known_columns@)
        OPERATOR(pg_catalog.||) @hidden_values@;
EXCEPTION WHEN OTHERS THEN
    EXECUTE @threadline@.drifted_hidden(TG_RELID) INTO v_hidden USING @row@;
END;
