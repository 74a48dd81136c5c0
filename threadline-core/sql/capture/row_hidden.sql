-- What is not stored, to tell whether the move changes it. Writes nothing.
BEGIN
    IF @threadline@.has_unclassified(TG_RELID, @known_columns@) THEN
        RAISE EXCEPTION 'a column that nobody classified';
    END IF;
    v_hidden := @hidden_values@;
EXCEPTION WHEN OTHERS THEN
    EXECUTE @threadline@.drifted_hidden(TG_RELID) INTO v_hidden USING @row@;
END;
