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
