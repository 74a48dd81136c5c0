-- On the replica: a database of another server, with the schema of the trail in the same version and without
-- capture. `install --print` prints it. Afterwards, call @threadline@.maintain() once a day: partitions are
-- not replicated.
--
-- Ids come from the primary. A local function that takes one (purge, erasure, evidence) raises an error; its record
-- could have the id of a later record of the primary, which the subscription could then not apply.
SELECT setval('@threadline@.audit_changes_id_seq', 2);
ALTER SEQUENCE @threadline@.audit_changes_id_seq MAXVALUE 2;
-- Creates the replication slot on the primary, copies the trail and follows it. Runs outside a transaction.
CREATE SUBSCRIPTION @threadline@_trail
    CONNECTION @connection@
    PUBLICATION @threadline@_trail
    WITH (slot_name = '@threadline@_trail', streaming = on);
-- Readers, for each role: GRANT SELECT ON ALL TABLES IN SCHEMA @threadline@ TO ...;
