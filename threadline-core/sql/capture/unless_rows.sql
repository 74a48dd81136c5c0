IF v_transaction IS NULL THEN
    RETURN NULL; -- without an id, the database transaction has written no row
END IF;
