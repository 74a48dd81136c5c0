-- The chunks with ids after $1.
SELECT * FROM @threadline@.audit_seal_chunks WHERE last_id > $1 ORDER BY last_id, first_leaf
