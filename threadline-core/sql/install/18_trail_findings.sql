-- What is wrong with the trail itself: who could change it, what guards it, whether its parts fit
-- together, and what the server does around it.

-- Everything the schema of the trail holds that is not as it was installed.
CREATE OR REPLACE FUNCTION @threadline@.installation_findings() RETURNS TABLE (
    severity text, code text, table_schema text, table_name text, explanation text, remedy text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $findings$
#variable_conflict use_column
DECLARE
    installed CONSTANT jsonb := @threadline@.installation();
    same_server CONSTANT boolean :=
        installed -> 'server' = to_jsonb(current_setting('server_version_num')::integer / 10000);
BEGIN
    RETURN QUERY
    SELECT 'error', 'trail_function_changed', '@threadline@', NULL::text,
        format('function @threadline@.%s %s', noted.key, CASE WHEN found.function IS NULL
            THEN 'is gone' ELSE 'is not the one that was installed' END),
        'find out who changed it, then install --print, and run what it prints'
    FROM jsonb_each(installed -> 'functions') AS noted
    LEFT JOIN @threadline@.trail_functions() AS found ON found.signature = noted.key
    WHERE found.function IS NULL OR found.plain <> noted.value ->> 'plain'
        OR same_server AND found.body IS DISTINCT FROM noted.value ->> 'body';

    RETURN QUERY
    SELECT 'error', 'trail_function_executable', '@threadline@', NULL::text,
        format('everybody may execute %s', found.function::regprocedure),
        format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', found.function::regprocedure)
    FROM @threadline@.trail_functions() AS found
    WHERE found.is_public AND NOT COALESCE((installed -> 'functions' -> found.signature ->> 'public')::boolean, false)
    UNION ALL
    -- Whoever may execute a trigger function of the trail can put it on a table of their own.
    SELECT 'error', 'trail_function_executable', '@threadline@', NULL::text,
        format('role %s may execute %s', grantee.shown, function.oid::regprocedure),
        format('REVOKE ALL ON ROUTINE %s FROM %s', function.oid::regprocedure, grantee.shown)
    FROM @threadline@.trail_functions() AS found
    JOIN pg_proc AS function ON function.oid = found.function AND function.prorettype = 'trigger'::regtype
    CROSS JOIN LATERAL aclexplode(function.proacl) AS privilege
    CROSS JOIN LATERAL (SELECT @threadline@.shown_role(privilege.grantee) AS shown) AS grantee
    WHERE privilege.grantee NOT IN (function.proowner, 0);

    RETURN QUERY
    SELECT 'error', 'guard_missing', '@threadline@', noted.value ->> 'table',
        format('trigger %I, which guards what is recorded, is %s', noted.value ->> 'name',
            CASE WHEN trigger.oid IS NULL THEN 'missing' ELSE 'disabled' END),
        CASE WHEN trigger.oid IS NULL THEN noted.value ->> 'sql'
            ELSE format('ALTER TABLE %s ENABLE TRIGGER %I', class.oid::regclass, trigger.tgname) END
    FROM jsonb_array_elements(installed -> 'triggers') AS noted
    JOIN pg_class AS class
        ON class.relnamespace = to_regnamespace('@threadline@') AND class.relname = noted.value ->> 'table'
    LEFT JOIN pg_trigger AS trigger ON trigger.tgrelid = class.oid AND trigger.tgname = noted.value ->> 'name'
    WHERE trigger.oid IS NULL OR trigger.tgenabled NOT IN ('O', 'A');

    -- Partitions have the guards of their root, and one against TRUNCATE of their own.
    RETURN QUERY
    SELECT 'error', 'guard_missing', '@threadline@', class.relname::text,
        format('trigger %I, which guards what is recorded, is %s', noted.value ->> 'name',
            CASE WHEN trigger.oid IS NULL THEN 'missing' ELSE 'disabled' END),
        CASE WHEN trigger.oid IS NULL
            THEN replace(noted.value ->> 'sql', ' ON @threadline@.' || (noted.value ->> 'table') || ' ', format(' ON %s ', class.oid::regclass))
            ELSE format('ALTER TABLE %s ENABLE TRIGGER %I', class.oid::regclass, trigger.tgname) END
    FROM jsonb_array_elements(installed -> 'triggers') AS noted
    JOIN pg_inherits AS inherits ON inherits.inhparent = to_regclass(format('@threadline@.%I', noted.value ->> 'table'))
    JOIN pg_class AS class ON class.oid = inherits.inhrelid
    LEFT JOIN pg_trigger AS trigger ON trigger.tgrelid = class.oid AND trigger.tgname = noted.value ->> 'name'
    WHERE noted.value ->> 'name' LIKE 'guard\_%' AND CASE
        WHEN trigger.oid IS NOT NULL THEN trigger.tgenabled NOT IN ('O', 'A')
        -- A guard of rows comes back with the root's, where that is the one that is missing.
        ELSE noted.value ->> 'sql' LIKE '%FOR EACH STATEMENT%' OR EXISTS (
            SELECT FROM pg_trigger AS of_root
            WHERE of_root.tgrelid = inherits.inhparent AND of_root.tgname = noted.value ->> 'name'
        )
    END;

    RETURN QUERY
    SELECT 'warning', 'trail_index_missing', '@threadline@', noted.value ->> 'table',
        format('index %I is gone; reading the trail gets slow', noted.value ->> 'name'), noted.value ->> 'sql'
    FROM jsonb_array_elements(installed -> 'indexes') AS noted
    WHERE to_regclass(format('@threadline@.%I', noted.value ->> 'name')) IS NULL;
END
$findings$;

-- Who could read what is secret, or change what is recorded.
CREATE OR REPLACE FUNCTION @threadline@.rights_findings() RETURNS TABLE (
    severity text, code text, table_schema text, table_name text, explanation text, remedy text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $findings$
#variable_conflict use_column
DECLARE
    trail CONSTANT oid := to_regnamespace('@threadline@');
    owner CONSTANT oid := (SELECT nspowner FROM pg_namespace WHERE oid = trail);
BEGIN
    -- Tables and their columns: more than SELECT is too much. Sequences: anything is.
    RETURN QUERY
    SELECT 'error', 'trail_writable', '@threadline@', class.relname::text,
        format('role %s may %s the trail', grantee.shown, lower(string_agg(privilege.type, ', ' ORDER BY privilege.type))),
        format('REVOKE %s ON %s FROM %s', string_agg(privilege.type || privilege.columns, ', ' ORDER BY privilege.type),
            class.oid::regclass, grantee.shown)
    FROM pg_class AS class
    CROSS JOIN LATERAL (
        SELECT given.grantee, given.privilege_type AS type, '' AS columns FROM aclexplode(class.relacl) AS given
        UNION ALL
        SELECT given.grantee, given.privilege_type, format(' (%I)', attribute.attname)
        FROM pg_attribute AS attribute CROSS JOIN LATERAL aclexplode(attribute.attacl) AS given
        WHERE attribute.attrelid = class.oid
    ) AS privilege
    CROSS JOIN LATERAL (SELECT @threadline@.shown_role(privilege.grantee) AS shown) AS grantee
    WHERE class.relnamespace = trail AND class.relkind IN ('r', 'p', 'v')
        AND privilege.type <> 'SELECT' AND privilege.grantee <> class.relowner
    GROUP BY class.oid, class.relname, grantee.shown
    UNION ALL
    SELECT 'error', CASE WHEN class.relname LIKE 'capture\_secret%' THEN 'secret_readable' ELSE 'trail_writable' END,
        '@threadline@', class.relname::text,
        format('role %s may %s sequence %I', grantee.shown, lower(string_agg(privilege.privilege_type, ', ')), class.relname),
        format('REVOKE ALL ON SEQUENCE %s FROM %s', class.oid::regclass, grantee.shown)
    FROM pg_class AS class
    CROSS JOIN LATERAL aclexplode(class.relacl) AS privilege
    CROSS JOIN LATERAL (SELECT @threadline@.shown_role(privilege.grantee) AS shown) AS grantee
    WHERE class.relnamespace = trail AND class.relkind = 'S' AND privilege.grantee <> class.relowner
        AND (class.relname LIKE 'capture\_secret%' OR privilege.privilege_type <> 'SELECT')
    GROUP BY class.oid, class.relname, grantee.shown
    UNION ALL
    SELECT 'error', 'schema_writable', '@threadline@', NULL::text,
        format('role %s may create objects in the schema of the trail', grantee.shown),
        format('REVOKE CREATE ON SCHEMA @threadline@ FROM %s', grantee.shown)
    FROM pg_namespace AS namespace
    CROSS JOIN LATERAL aclexplode(namespace.nspacl) AS privilege
    CROSS JOIN LATERAL (SELECT @threadline@.shown_role(privilege.grantee) AS shown) AS grantee
    WHERE namespace.oid = trail AND privilege.privilege_type = 'CREATE' AND privilege.grantee <> namespace.nspowner;

    -- Parts of the trail that somebody else owns can be changed by somebody else.
    RETURN QUERY
    SELECT 'error', 'trail_owner_mixed', '@threadline@', class.relname::text,
        format('it belongs to %s and not to the owner of the trail, %s',
            @threadline@.shown_role(class.relowner), @threadline@.shown_role(owner)),
        format('ALTER %s %s OWNER TO %s', CASE class.relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
            class.oid::regclass, @threadline@.shown_role(owner))
    FROM pg_class AS class
    WHERE class.relnamespace = trail AND class.relkind IN ('r', 'p', 'v', 'S') AND class.relowner <> owner
    UNION ALL
    SELECT 'error', 'trail_owner_mixed', '@threadline@', NULL::text,
        format('function %s belongs to %s and not to the owner of the trail, %s', found.function::regprocedure,
            @threadline@.shown_role(function.proowner), @threadline@.shown_role(owner)),
        format('ALTER ROUTINE %s OWNER TO %s', found.function::regprocedure, @threadline@.shown_role(owner))
    FROM @threadline@.trail_functions() AS found
    JOIN pg_proc AS function ON function.oid = found.function
    WHERE function.proowner <> owner;

    RETURN QUERY
    SELECT 'error', 'trail_owned_by_writer', captured.table_schema, captured.table_name,
        format('role %s owns the table and the trail: whoever logs in as it can switch capture off and change what is recorded',
            @threadline@.shown_role(owner)),
        'let a role of its own own the trail; see guides/roles-and-trust.md'
    FROM @threadline@.captured_tables() AS captured
    JOIN pg_class AS class ON class.oid = captured.relation AND class.relowner = owner
    JOIN pg_roles AS role ON role.oid = owner AND NOT role.rolsuper;

    -- Who may do what its owner may, and is nobody in particular's application.
    RETURN QUERY
    SELECT 'info', 'trail_owner_member', '@threadline@', NULL::text,
        format('role %s can log in and may act as %s, which owns the trail: right for migrations, wrong for an application',
            @threadline@.shown_role(role.oid), @threadline@.shown_role(owner)),
        'look that no application logs in as it'
    FROM pg_roles AS role
    WHERE role.rolcanlogin AND NOT role.rolsuper AND role.oid <> owner
        AND pg_has_role(role.oid, owner, 'MEMBER')
    UNION ALL
    SELECT 'info', 'suspension_granted', '@threadline@', NULL::text,
        format('role %s may call %s', @threadline@.shown_role(privilege.grantee), function.oid::regprocedure),
        format('REVOKE ALL ON ROUTINE %s FROM %s', function.oid::regprocedure, @threadline@.shown_role(privilege.grantee))
    FROM pg_proc AS function
    CROSS JOIN LATERAL aclexplode(function.proacl) AS privilege
    WHERE function.pronamespace = trail AND function.proname IN ('suspend_capture', 'remove_changes', 'erase_values')
        AND privilege.grantee NOT IN (function.proowner, 0);

    RETURN QUERY
    SELECT CASE WHEN class.relforcerowsecurity THEN 'error' ELSE 'warning' END,
        'trail_row_security', '@threadline@', class.relname::text,
        CASE WHEN class.relforcerowsecurity
            THEN 'row-level security is in force for the owner too, so capture may not write it'
            ELSE 'row-level security hides rows of the trail from some of its readers' END,
        format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY', class.oid::regclass)
    FROM pg_class AS class
    WHERE class.relnamespace = trail AND class.relrowsecurity
        -- What is in it is nobody's to read.
        AND (class.relname <> 'audit_moving_rows' OR class.relforcerowsecurity);

    -- Capture writes with the rights of the trail's owner, who can take them from itself.
    RETURN QUERY
    SELECT 'error', 'trail_owner_lacks', '@threadline@', class.relname::text,
        format('%s, which owns the trail, may not %s it: writes of captured tables fail, or reading and keeping the trail does',
            @threadline@.shown_role(owner), lower(string_agg(needed.privilege, ', '))),
        format('GRANT %s ON %s %s TO %s', string_agg(needed.privilege, ', '),
            CASE class.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, class.oid::regclass,
            @threadline@.shown_role(owner))
    FROM pg_class AS class
    CROSS JOIN LATERAL unnest(CASE class.relkind
        WHEN 'S' THEN ARRAY['USAGE', 'SELECT', 'UPDATE'] WHEN 'v' THEN ARRAY['SELECT']
        ELSE ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'] END) AS needed (privilege)
    WHERE class.relnamespace = trail AND class.relkind IN ('r', 'p', 'v', 'S') AND CASE class.relkind
        WHEN 'S' THEN NOT has_sequence_privilege(owner, class.oid, needed.privilege)
        ELSE NOT has_table_privilege(owner, class.oid, needed.privilege) END
    GROUP BY class.oid, class.relname, class.relkind
    UNION ALL
    SELECT 'error', 'trail_owner_lacks', '@threadline@', NULL::text,
        format('%s, which owns the trail, may not execute %s: writes of captured tables fail, or reading and keeping the trail does',
            @threadline@.shown_role(owner), found.function::regprocedure),
        format('GRANT EXECUTE ON ROUTINE %s TO %s', found.function::regprocedure, @threadline@.shown_role(owner))
    FROM @threadline@.trail_functions() AS found
    WHERE NOT has_function_privilege(owner, found.function, 'EXECUTE')
    UNION ALL
    SELECT 'error', 'trail_owner_lacks', '@threadline@', NULL::text,
        format('%s, which owns the trail, may not use its schema: writes of captured tables fail', @threadline@.shown_role(owner)),
        format('GRANT USAGE, CREATE ON SCHEMA @threadline@ TO %s', @threadline@.shown_role(owner))
    WHERE NOT has_schema_privilege(owner, trail, 'USAGE') OR NOT has_schema_privilege(owner, trail, 'CREATE');
END
$findings$;

-- The roles an application writes as: those that were given, or those that wrote since an instant.
CREATE OR REPLACE FUNCTION @threadline@.writer_findings(writers text[]) RETURNS TABLE (
    severity text, code text, table_schema text, table_name text, explanation text, remedy text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $findings$
#variable_conflict use_column
DECLARE
    owner CONSTANT oid := (SELECT nspowner FROM pg_namespace WHERE nspname = '@threadline@');
BEGIN
    RETURN QUERY
    SELECT 'warning', 'writer_is_superuser', NULL::text, NULL::text,
        format('%I writes captured tables and is a superuser, whom nothing stops from changing the trail', role.rolname),
        'let the application log in as a role of its own; see guides/roles-and-trust.md'
    FROM pg_roles AS role WHERE role.rolname = ANY (writers) AND role.rolsuper;

    RETURN QUERY
    SELECT 'error', 'writer_is_trail_owner', NULL::text, NULL::text,
        format('%I writes captured tables and owns the trail', role.rolname),
        'let a role of its own own the trail; see guides/roles-and-trust.md'
    FROM pg_roles AS role WHERE role.rolname = ANY (writers) AND NOT role.rolsuper AND role.oid = owner;

    RETURN QUERY
    SELECT 'error', 'writer_may_own_trail', NULL::text, NULL::text,
        format('%I writes captured tables and, as a member of %s, may act as the owner of the trail',
            role.rolname, @threadline@.shown_role(membership.roleid)),
        format('REVOKE %s FROM %I', @threadline@.shown_role(membership.roleid), role.rolname)
    FROM pg_roles AS role
    JOIN pg_auth_members AS membership ON membership.member = role.oid
    WHERE role.rolname = ANY (writers) AND NOT role.rolsuper AND role.oid <> owner
        AND pg_has_role(membership.roleid, owner, 'MEMBER');

    RETURN QUERY
    SELECT 'warning', 'writer_owns_table', captured.table_schema, captured.table_name,
        format('%I writes this table and may act as its owner, who can switch capture off without a trace', role.rolname),
        format('let another role own it: ALTER TABLE %s OWNER TO ...; see guides/roles-and-trust.md', captured.relation)
    FROM @threadline@.captured_tables() AS captured
    JOIN pg_class AS class ON class.oid = captured.relation
    JOIN pg_roles AS role ON role.rolname = ANY (writers) AND NOT role.rolsuper AND role.oid <> owner
    WHERE pg_has_role(role.oid, class.relowner, 'MEMBER');
END
$findings$;

-- What the server does around the trail: sessions in which no trigger fires, capture suspended.
CREATE OR REPLACE FUNCTION @threadline@.server_findings(since timestamptz) RETURNS TABLE (
    severity text, code text, table_schema text, table_name text, explanation text, remedy text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $findings$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT 'error', 'replication_role_default', NULL::text, NULL::text,
        format('%s starts sessions with %s, in which no trigger fires', COALESCE(
            'role ' || role.rolname || COALESCE(' in database ' || database.datname, ''),
            'database ' || database.datname, 'the server'), setting),
        CASE
            WHEN role.oid IS NULL THEN format('ALTER DATABASE %I RESET session_replication_role', database.datname)
            WHEN database.oid IS NULL THEN format('ALTER ROLE %I RESET session_replication_role', role.rolname)
            ELSE format('ALTER ROLE %I IN DATABASE %I RESET session_replication_role', role.rolname, database.datname)
        END
    FROM pg_db_role_setting AS defaults
    CROSS JOIN LATERAL unnest(defaults.setconfig) AS setting
    LEFT JOIN pg_roles AS role ON role.oid = defaults.setrole
    LEFT JOIN pg_database AS database ON database.oid = defaults.setdatabase
    WHERE setting LIKE 'session\_replication\_role=%' AND setting NOT LIKE '%=origin'
        AND (defaults.setdatabase = 0 OR database.datname = current_database());

    RETURN QUERY
    SELECT 'warning', 'replication_role_settable', NULL::text, NULL::text,
        format('role %s may set session_replication_role, and write without a trigger firing', @threadline@.shown_role(privilege.grantee)),
        format('REVOKE SET ON PARAMETER session_replication_role FROM %s', @threadline@.shown_role(privilege.grantee))
    FROM pg_parameter_acl AS parameter
    CROSS JOIN LATERAL aclexplode(parameter.paracl) AS privilege
    LEFT JOIN pg_roles AS role ON role.oid = privilege.grantee
    WHERE parameter.parname = 'session_replication_role' AND privilege.privilege_type = 'SET'
        AND role.rolsuper IS NOT TRUE;

    -- Who suspends capture holds a lock on the record of it until the end of the transaction. A
    -- transaction that was prepared holds it without a session.
    RETURN QUERY
    SELECT 'warning', 'capture_suspended', NULL::text, NULL::text,
        CASE WHEN held.pid IS NULL THEN 'a prepared transaction suspended capture, and is not finished'
            ELSE format('capture is suspended right now by process %s%s', held.pid,
                ', since ' || to_char(activity.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC') END,
        CASE WHEN held.pid IS NULL THEN COALESCE(
                (SELECT string_agg(format('ROLLBACK PREPARED %L', gid), '; ')
                 FROM pg_prepared_xacts WHERE held.virtualtransaction = '-1/' || transaction),
                'find the transaction in pg_prepared_xacts')
            ELSE format('SELECT pg_terminate_backend(%s)', held.pid) END
    FROM pg_locks AS held
    LEFT JOIN pg_stat_activity AS activity ON activity.pid = held.pid
    WHERE held.locktype = 'relation' AND held.granted AND held.mode = 'RowExclusiveLock'
        AND held.relation = to_regclass('@threadline@.audit_suspensions')
        AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND held.pid IS DISTINCT FROM pg_backend_pid();

    IF has_table_privilege('@threadline@.audit_suspensions', 'SELECT')
        AND has_table_privilege('@threadline@.audit_suspended_writes', 'SELECT')
    THEN
        RETURN QUERY
        SELECT 'info', 'capture_was_suspended', NULL::text, NULL::text,
            format('%s suspended capture of %s at %s UTC (%s); %s rows went by', suspension.suspended_by,
                array_to_string(suspension.tables, ', '),
                to_char(suspension.suspended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), suspension.reason,
                (SELECT COALESCE(sum(write.row_count), 0) FROM @threadline@.audit_suspended_writes AS write
                 WHERE write.suspension_id = suspension.id)),
            'nothing, if that was meant'
        FROM @threadline@.audit_suspensions AS suspension
        WHERE suspension.suspended_at >= since
        ORDER BY suspension.id DESC LIMIT 100;
    END IF;
END
$findings$;

-- Whether the ids that changes are given come after those that were given: not where rows were brought
-- here without their sequence. The newest changes are looked at.
CREATE OR REPLACE FUNCTION @threadline@.change_ids_are_behind() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
BEGIN ATOMIC
    SELECT COALESCE(max(newest.id) > COALESCE(
        pg_sequence_last_value('@threadline@.audit_changes_id_seq'::regclass), 0
    ), false)
    FROM (
        SELECT change.id FROM @threadline@.audit_changes AS change
        WHERE change.captured_at < 'infinity'
        ORDER BY change.captured_at DESC, change.id DESC LIMIT 1000
    ) AS newest;
END;

-- What to ask of one table's default partition: whether it holds rows that have a month, and rows that
-- have none.
CREATE OR REPLACE FUNCTION @threadline@.default_partition_query(of_parent text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $query$
DECLARE
    span CONSTANT record := @threadline@.trail_span(of_parent);
    bounds CONSTANT text[] := @threadline@.partition_bounds(of_parent, span.from_instant, span.to_instant);
BEGIN
    RETURN format($$
        SELECT 'warning', 'default_partition_used', '@threadline@', %1$L,
            'it holds rows of a month that has no partition', 'CALL @threadline@.maintain()'
        WHERE EXISTS (SELECT FROM @threadline@.%1$I WHERE %2$I >= %3$s AND %2$I < %4$s)
        UNION ALL
        SELECT 'info', 'implausible_instants', '@threadline@', %1$L,
            'it holds rows of no plausible time, which stay there: a clock was wrong, or an id was made up',
            'find out who recorded them'
        WHERE EXISTS (SELECT FROM @threadline@.%1$I WHERE %2$I < %3$s)
            OR EXISTS (SELECT FROM @threadline@.%1$I WHERE %2$I >= %4$s)
    $$, of_parent || '_default', @threadline@.partition_column(of_parent), bounds[1], bounds[2]);
END
$query$;

-- Whether what is recorded fits together, and will have a place. Of what was recorded since an
-- instant the newest hundred thousand are looked at, so that this stays cheap on a busy trail.
CREATE OR REPLACE FUNCTION @threadline@.record_findings(since timestamptz) RETURNS TABLE (
    severity text, code text, table_schema text, table_name text, explanation text, remedy text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $findings$
#variable_conflict use_column
DECLARE
    next_month CONSTANT timestamp := (now() + interval '1 month') AT TIME ZONE 'UTC';
    removed_before timestamptz;
    of_parent text;
BEGIN
    RETURN QUERY
    SELECT 'warning', 'partition_missing', '@threadline@', root.name,
        format('there is no partition for %s; what is recorded then goes to the default partition', to_char(next_month, 'YYYY-MM')),
        'SELECT @threadline@.create_partitions(now(), 12)'
    FROM (VALUES ('audit_changes'), ('audit_transactions'), ('audit_actions')) AS root (name)
    WHERE to_regclass(format('@threadline@.%I', root.name || '_' || to_char(next_month, 'YYYY_MM'))) IS NULL;

    IF NOT (
        has_table_privilege('@threadline@.audit_changes', 'SELECT')
        AND has_table_privilege('@threadline@.audit_changes_default', 'SELECT')
        AND has_table_privilege('@threadline@.audit_transactions', 'SELECT')
        AND has_table_privilege('@threadline@.audit_transactions_default', 'SELECT')
        AND has_table_privilege('@threadline@.audit_actions_default', 'SELECT')
        AND has_table_privilege('@threadline@.audit_removals', 'SELECT')
    ) THEN
        RETURN QUERY SELECT 'info', 'trail_unreadable', '@threadline@', NULL::text,
            format('%I may not read the trail, so orphans, writers and default partitions were not looked for', current_user),
            format('GRANT SELECT ON ALL TABLES IN SCHEMA @threadline@ TO %I', current_user);
        RETURN;
    END IF;

    FOR of_parent IN SELECT unnest(ARRAY['audit_changes', 'audit_transactions', 'audit_actions']) LOOP
        RETURN QUERY EXECUTE @threadline@.default_partition_query(of_parent);
    END LOOP;

    -- It is asked with the owner's rights; that the owner lacks them is another finding.
    IF (
        SELECT has_table_privilege(nspowner, '@threadline@.audit_changes', 'SELECT')
            AND has_sequence_privilege(nspowner, '@threadline@.audit_changes_id_seq', 'USAGE, SELECT')
        FROM pg_namespace WHERE nspname = '@threadline@'
    ) THEN
        RETURN QUERY
        SELECT 'error', 'change_ids_behind', '@threadline@', 'audit_changes'::text,
            'changes get ids that come before those of older changes, so histories are in the wrong order: rows were brought here without their sequence',
            'SELECT setval(''@threadline@.audit_changes_id_seq'', (SELECT max(id) FROM @threadline@.audit_changes))'
        WHERE @threadline@.change_ids_are_behind();
    END IF;

    RETURN QUERY
    SELECT 'error', 'orphan_changes', change.table_schema, change.table_name,
        format('%s changes belong to transactions whose row is gone', count(*)),
        'find out who removed it: the trail was tampered with'
    FROM (
        SELECT recent.transaction_id, recent.table_schema, recent.table_name
        FROM @threadline@.audit_changes AS recent
        WHERE recent.captured_at >= since
        ORDER BY recent.captured_at DESC LIMIT 100000
    ) AS change
    WHERE NOT EXISTS (
        SELECT FROM @threadline@.audit_transactions AS recorded WHERE recorded.id = change.transaction_id
    )
    GROUP BY change.table_schema, change.table_name;

    -- Retention removes changes and leaves their transactions.
    SELECT max((removal.scope ->> 'before')::timestamptz) INTO removed_before
    FROM @threadline@.audit_removals AS removal WHERE removal.kind = 'retention';
    RETURN QUERY
    SELECT 'error', 'transactions_without_changes', '@threadline@', 'audit_transactions'::text,
        format('%s transactions have no change left, the newest of %s UTC', count(*),
            to_char(max(recorded.occurred_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')),
        'find out who removed them: the trail was tampered with'
    FROM (
        SELECT recent.id, recent.occurred_at
        FROM @threadline@.audit_transactions AS recent
        WHERE recent.id >= @threadline@.transaction_id_from(since)
            AND recent.occurred_at >= COALESCE(removed_before, '-infinity')
        ORDER BY recent.id DESC LIMIT 100000
    ) AS recorded
    WHERE NOT EXISTS (
        SELECT FROM @threadline@.audit_changes AS change
        WHERE change.transaction_id = recorded.id AND change.captured_at >= since - interval '1 day'
    )
    HAVING count(*) > 0;

    RETURN QUERY
    SELECT * FROM @threadline@.writer_findings(ARRAY(
        SELECT DISTINCT recent.db_user FROM (
            SELECT recorded.db_user FROM @threadline@.audit_transactions AS recorded
            WHERE recorded.id >= @threadline@.transaction_id_from(since)
            ORDER BY recorded.id DESC LIMIT 10000
        ) AS recent
    ));
END
$findings$;

-- Everything that is wrong with capture, or could make somebody believe it sees more than it does.
-- What it says is for whoever may read deployed_policies; what it may not read it says.
CREATE OR REPLACE FUNCTION @threadline@.coverage_findings(
    generator_version integer DEFAULT 1, orphans_since timestamptz DEFAULT now() - interval '1 day'
) RETURNS TABLE (
    severity text, code text, table_schema text, table_name text, explanation text, remedy text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $findings$
BEGIN
    RETURN QUERY SELECT * FROM @threadline@.function_findings(generator_version);
    RETURN QUERY SELECT * FROM @threadline@.trigger_findings();
    RETURN QUERY SELECT * FROM @threadline@.table_findings();
    RETURN QUERY SELECT * FROM @threadline@.installation_findings();
    RETURN QUERY SELECT * FROM @threadline@.rights_findings();
    RETURN QUERY SELECT * FROM @threadline@.server_findings(orphans_since);
    RETURN QUERY SELECT * FROM @threadline@.record_findings(orphans_since);
END
$findings$;
