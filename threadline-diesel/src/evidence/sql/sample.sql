-- Of the newest changes ($3) of a table ($1, $2: schema and name) since its policy was deployed: their number, their
-- times, and in how many of them a column has a value that the policy does not allow. Columns $4 are excluded, $5
-- masked, $6 masked unless null; $7 is the placeholder.
WITH deployed AS MATERIALIZED (
    SELECT enrolled.order_id, enrolled.recorded_at FROM @threadline@.current_enrolment($1, $2) AS enrolled
),
sampled AS (
    SELECT change.id, change.captured_at, change.data_after, change.changed_from
    FROM @threadline@.audit_changes AS change
    WHERE change.table_schema = $1 AND change.table_name = $2
        AND change.id > (SELECT deployed.order_id FROM deployed)
        -- For the index; one day of tolerance for clocks that are set back.
        AND change.captured_at >= (SELECT deployed.recorded_at - interval '1 day' FROM deployed)
    ORDER BY change.captured_at DESC, change.id DESC
    LIMIT $3
),
stored AS (
    SELECT sampled.id, field.key AS name, field.value
    FROM sampled
    CROSS JOIN LATERAL (VALUES (sampled.data_after), (sampled.changed_from)) AS image (fields)
    CROSS JOIN LATERAL pg_catalog.jsonb_each(image.fields) AS field
    WHERE pg_catalog.jsonb_typeof(image.fields) = 'object'
),
-- Values of an erased row are replaced by the text [ERASED].
violation AS (
    SELECT stored.name, pg_catalog.count(DISTINCT stored.id) AS changes
    FROM stored
    WHERE stored.value <> pg_catalog.to_jsonb('[ERASED]'::text) AND (
        stored.name = ANY ($4)
        OR stored.name = ANY ($5) AND stored.value <> pg_catalog.to_jsonb($7::text)
        OR stored.name = ANY ($6) AND stored.value NOT IN (pg_catalog.to_jsonb($7::text), 'null'::jsonb)
    )
    GROUP BY stored.name
)
SELECT pg_catalog.count(*) AS changes, pg_catalog.min(sampled.captured_at) AS first_at,
    pg_catalog.max(sampled.captured_at) AS last_at,
    COALESCE((SELECT pg_catalog.jsonb_object_agg(violation.name, violation.changes) FROM violation), '{}') AS violations
FROM sampled
