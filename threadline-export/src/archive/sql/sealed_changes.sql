-- The numbers of sealed changes by the day of their time, from $3 to $4, among the leaves with ids from $1 to $2.
SELECT (to_timestamp(sealed.micros / 1000000) AT TIME ZONE 'UTC')::date AS day, count(*) AS changes
FROM (
    -- Detached here, so that its parts are not read one by one.
    SELECT chunk.entries || ''::bytea AS entries FROM @threadline@.audit_seal_chunks AS chunk
    WHERE chunk.last_id >= $1 AND chunk.first_id <= $2 OFFSET 0
) AS chunk
CROSS JOIN LATERAL generate_series(0, length(chunk.entries) / 60 - 1) AS place
CROSS JOIN LATERAL (
    SELECT ('x' || encode(substr(chunk.entries, place * 60 + 13, 8), 'hex'))::bit(64)::bigint AS micros
) AS sealed
WHERE get_byte(chunk.entries, place * 60 + 3) = ascii('C')
    AND sealed.micros >= extract(epoch FROM $3) * 1000000 AND sealed.micros < extract(epoch FROM $4) * 1000000
GROUP BY 1 ORDER BY 1
