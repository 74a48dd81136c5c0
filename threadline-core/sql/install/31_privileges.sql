-- The application can cause changes and say why; it can neither write, alter nor read the trail
-- beyond that. Who may read is granted by the host: GRANT SELECT ON ALL TABLES IN SCHEMA ... .

-- Takes back every privilege that nobody meant to give: what default privileges gave on what is new, and
-- on what was there before whatever coverage would call an error. Who may read the trail, or call what
-- can be granted, goes on to.
CREATE OR REPLACE FUNCTION @threadline@.settle_privileges() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $settle$
DECLARE
    was_there CONSTANT oid[] := string_to_array(current_setting('threadline.installed_before', true), ' ');
    trail CONSTANT oid := '@threadline@'::regnamespace;
    given record;
BEGIN
    FOR given IN
        SELECT class.oid::regclass::text AS object, privilege.grantee,
            CASE class.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind,
            -- A partition has the readers of its table.
            NOT COALESCE(inherits.inhparent, class.oid) = ANY (was_there)
                OR class.relname = 'capture_secret' OR privilege.grantee = 0 AS by_nobody,
            string_agg(privilege.type, ', ') FILTER (WHERE privilege.type NOT LIKE 'SELECT%') AS excess
        FROM pg_class AS class
        LEFT JOIN pg_inherits AS inherits ON inherits.inhrelid = class.oid
        CROSS JOIN LATERAL (
            SELECT of_all.grantee, of_all.privilege_type FROM aclexplode(class.relacl) AS of_all
            UNION ALL
            SELECT of_column.grantee, format('%s (%I)', of_column.privilege_type, attribute.attname)
            FROM pg_attribute AS attribute CROSS JOIN LATERAL aclexplode(attribute.attacl) AS of_column
            WHERE attribute.attrelid = class.oid
        ) AS privilege (grantee, type)
        WHERE class.relnamespace = trail AND class.relkind IN ('r', 'p', 'v', 'S')
            AND privilege.grantee <> class.relowner
        GROUP BY class.oid, inherits.inhparent, privilege.grantee
    LOOP
        IF given.by_nobody THEN
            PERFORM @threadline@.take_back(given.kind, given.object, given.grantee);
        ELSIF given.excess IS NOT NULL THEN
            EXECUTE format('REVOKE %s ON %s %s FROM %s CASCADE', given.excess, given.kind, given.object,
                @threadline@.shown_role(given.grantee));
        END IF;
    END LOOP;

    -- Trigger functions are nobody's to call. Who may was given everything, by default privileges for
    -- instance, so nothing that the role may call was given on purpose.
    FOR given IN
        SELECT DISTINCT privilege.grantee
        FROM pg_proc AS function
        CROSS JOIN LATERAL aclexplode(function.proacl) AS privilege
        WHERE function.pronamespace = trail AND function.prorettype = 'trigger'::regtype
            AND function.oid = ANY (was_there) AND privilege.grantee NOT IN (function.proowner, 0)
    LOOP
        RAISE WARNING 'role % could execute every function of the trail; it can no longer', @threadline@.shown_role(given.grantee)
            USING HINT = 'Look at the default privileges (\ddp in psql), and grant it what it has to call.';
        EXECUTE format('REVOKE ALL ON ALL ROUTINES IN SCHEMA @threadline@ FROM %s CASCADE', @threadline@.shown_role(given.grantee));
    END LOOP;
    FOR given IN
        SELECT function.oid::regprocedure::text AS object, privilege.grantee
        FROM pg_proc AS function
        CROSS JOIN LATERAL aclexplode(COALESCE(function.proacl, acldefault('f', function.proowner))) AS privilege
        WHERE function.pronamespace = trail AND privilege.grantee <> function.proowner
            AND (privilege.grantee = 0 OR NOT function.oid = ANY (was_there))
    LOOP
        PERFORM @threadline@.take_back('ROUTINE', given.object, given.grantee);
    END LOOP;

    FOR given IN
        SELECT privilege.grantee FROM pg_namespace AS namespace
        CROSS JOIN LATERAL aclexplode(namespace.nspacl) AS privilege
        WHERE namespace.oid = trail AND privilege.privilege_type = 'CREATE' AND privilege.grantee <> namespace.nspowner
    LOOP
        EXECUTE format('REVOKE CREATE ON SCHEMA @threadline@ FROM %s CASCADE', @threadline@.shown_role(given.grantee));
    END LOOP;
END
$settle$;

SELECT @threadline@.settle_privileges();

GRANT USAGE ON SCHEMA @threadline@ TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.open_audited_work(jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.leave_audited_work(jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.close_audited_work(jsonb, uuid) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.record_action(jsonb, jsonb, jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.current_transaction_id() TO PUBLIC;
-- Readers need these to make use of what they were granted.
GRANT EXECUTE ON FUNCTION @threadline@.changed_fields(text, jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.row_key(text[]) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.transaction_id_from(timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.action_id_from(timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.looked_up(uuid) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.looked_up(bigint) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.row_from_image(anyelement, jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.base_type(oid) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.row_segments(text, text, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.late_transactions(timestamptz, timestamptz, uuid) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.late_transactions_by_summary(timestamptz, timestamptz, uuid, uuid) TO PUBLIC;
-- Coverage is for whoever may read deployed_policies; what it is made of shows only the catalog.
GRANT EXECUTE ON FUNCTION @threadline@.policy_of(oid) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.captured_tables() TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.installation() TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.trail_functions() TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.shown_role(oid) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.expected_triggers() TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.trigger_arguments(text[]) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.is_declared_type(jsonb, text, "char") TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.is_unique_key(regclass, text[]) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.comes_between(name, int2) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.function_findings(integer) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.trigger_findings() TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.table_findings() TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.captured_above(regclass) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.installation_findings() TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.rights_findings() TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.writer_findings(text[]) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.server_findings(timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.record_findings(timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.default_partition_query(text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.change_ids_are_behind() TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.trail_span(text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.trail_partitions() TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.partition_bounds(text, timestamptz, timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.partition_column(text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.transaction_began_at(uuid) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.action_recorded_at(uuid) TO PUBLIC;
-- As of an instant: they read the trail with the caller's rights.
GRANT EXECUTE ON FUNCTION @threadline@.is_delta(text, jsonb, jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.whole_image(text, text, text, bigint) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.relation_named(text, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.tells_rows_apart(regclass, text[]) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.rows_by_counting(text, text, timestamptz, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.was_in_partition(text, regclass, jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.deployed_policy(oid) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.unknown_columns(regclass, jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.row_as_of(text, text, text, timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.known_null(jsonb, text, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.columns_from_image(regclass, boolean) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.images_as_of(regclass, text, text, text[], timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.table_as_of(text, text, timestamptz, boolean) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.functions_that_may_read(text[]) TO PUBLIC;
-- By way of the present.
GRANT EXECUTE ON FUNCTION @threadline@.kept_policy(regclass) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.rewinding_obstacle(text, text, timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.can_still_rewind(text, text, timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.is_known_whole(text, text, timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.columns_of_present(regclass, boolean) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.images_of_keys(text, text, text, timestamptz, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.images_of_older_keys(text, text, timestamptz, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.erased_keys(text, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.touched_keys(text, text, timestamptz, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.rows_without_changes(regclass, text, text, timestamptz, boolean, timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.rewound_table(regclass, text, text, timestamptz, boolean, boolean, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.completed_table(regclass, text, text, timestamptz, boolean, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.expected_changes(text, text, text, timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.table_rewound(text, text, timestamptz, boolean, boolean) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.sees_whole_table(regclass) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.narrowing_column(regclass) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.table_of_keys(text, text, timestamptz, boolean, boolean, text, regtype, boolean) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.declared_key(jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.lossless(text, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.audit_horizon(text, text) TO PUBLIC;
