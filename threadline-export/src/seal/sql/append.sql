-- Adds chunks.
INSERT INTO @threadline@.audit_seal_chunks (first_leaf, first_id, last_id, entries, secrets)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[])
