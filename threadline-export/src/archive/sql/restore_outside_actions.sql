-- The actions of restored changes (in @table@) that were recorded outside the span from $1 to $2, and their days.
SELECT DISTINCT change.action_id::text AS id,
    (@threadline@.action_recorded_at(change.action_id) AT TIME ZONE 'UTC')::date AS day
FROM @table@ AS change
WHERE (change.action_id < @threadline@.action_id_from($1) OR change.action_id >= @threadline@.action_id_from($2))
    AND NOT EXISTS (SELECT FROM @threadline@.audit_actions AS known WHERE known.id = change.action_id)
