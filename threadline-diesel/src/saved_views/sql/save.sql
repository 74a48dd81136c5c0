-- Inserts or replaces a view. Returns no row if the owner has the maximum number of other views.
INSERT INTO @threadline@.audit_saved_views (owner, name, is_shared, filters)
SELECT $1, $2, $3, $4::jsonb
WHERE (SELECT count(*) FROM @threadline@.audit_saved_views WHERE owner = $1 AND name <> $2) < $5
ON CONFLICT (owner, name) DO UPDATE
SET is_shared = EXCLUDED.is_shared, filters = EXCLUDED.filters, updated_at = clock_timestamp()
RETURNING @columns@
