-- The application can cause changes and say why; it can neither write, alter nor read the trail
-- beyond that. Who may read is granted by the host: GRANT SELECT ON ALL TABLES IN SCHEMA ... .

REVOKE ALL ON ALL TABLES IN SCHEMA @threadline@ FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA @threadline@ FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA @threadline@ FROM PUBLIC;
REVOKE ALL ON SCHEMA @threadline@ FROM PUBLIC;

GRANT USAGE ON SCHEMA @threadline@ TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.open_audited_work(jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.close_audited_work(jsonb, uuid) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.record_action(jsonb, jsonb, jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.current_transaction_id() TO PUBLIC;
-- Readers need these to make use of what they were granted.
GRANT EXECUTE ON FUNCTION @threadline@.changed_fields(text, jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.row_key(text[]) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.transaction_id_from(timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.action_id_from(timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.row_from_image(anyelement, jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.base_type(oid) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.row_segments(text, text, text) TO PUBLIC;
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
GRANT EXECUTE ON FUNCTION @threadline@.function_findings(integer) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.trigger_findings() TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.table_findings() TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.installation_findings() TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.rights_findings() TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.writer_findings(text[]) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.server_findings(timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION @threadline@.record_findings(timestamptz) TO PUBLIC;
