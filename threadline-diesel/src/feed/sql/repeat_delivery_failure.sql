-- Records that the receiver refused the item $2 again.
UPDATE @threadline@.audit_delivery_failures
SET attempts = attempts + 1, last_error = $3, last_failed_at = clock_timestamp()
WHERE consumer = $1 AND item_id = $2
