-- The period of the trail's partitions that contains a day ($1), and whether the role may create partitions.
SELECT
    setting.partition_width AS width,
    date_trunc(setting.partition_width, $1::timestamp) AT TIME ZONE 'UTC' AS from_instant,
    (date_trunc(setting.partition_width, $1::timestamp) + ('1 ' || setting.partition_width)::interval)
        AT TIME ZONE 'UTC' AS to_instant,
    owner.rolname::text AS owner,
    current_user::text AS role,
    pg_has_role(owner.oid, 'MEMBER') AS may_act_as_owner
FROM @threadline@.audit_settings AS setting
CROSS JOIN pg_class AS trail
JOIN pg_roles AS owner ON owner.oid = trail.relowner
WHERE trail.oid = '@threadline@.audit_changes'::regclass
