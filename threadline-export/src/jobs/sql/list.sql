SELECT @columns@ FROM @threadline@.audit_jobs
WHERE ($1 IS NULL OR kind = $1)
    AND ($2 IS NULL OR state = $2)
    AND ($3 IS NULL OR actor = $3)
    AND ($4 IS NULL OR schedule = $4)
    AND ($5 IS NULL OR scope_key = $5)
    AND ($6 IS NULL OR id < $6)
ORDER BY id DESC
LIMIT $7
