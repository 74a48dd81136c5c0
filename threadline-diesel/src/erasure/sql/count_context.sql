SELECT
    (SELECT count(*) FROM @threadline@.audit_changes WHERE actor = ANY ($1)) AS changes,
    (SELECT count(*) FROM @threadline@.audit_transactions WHERE actor = ANY ($1) OR on_behalf_of = ANY ($1)) AS transactions,
    (SELECT count(*) FROM @threadline@.audit_actions WHERE actor = ANY ($1) OR on_behalf_of = ANY ($1)) AS actions,
    (SELECT count(*) FROM @threadline@.audit_jobs WHERE actor = ANY ($1)) AS jobs,
    (SELECT count(*) FROM @threadline@.audit_schedules WHERE actor = ANY ($1)) AS schedules,
    (SELECT count(*) FROM @threadline@.audit_saved_views WHERE owner = ANY ($1)) AS views
