-- On the primary: the server of the application. It needs wal_level = logical.
--
-- A role for the connection of the replica. Set its password, and allow it in pg_hba.conf.
CREATE ROLE @threadline@_replica LOGIN REPLICATION;
GRANT USAGE ON SCHEMA @threadline@ TO @threadline@_replica;
GRANT SELECT ON
    @tables@
TO @threadline@_replica;
-- Deletes are not published: the replica keeps what retention removes on the primary. Erasures are updates.
-- Tables with the state of operations (purges, consumers, jobs, settings) belong to one server.
CREATE PUBLICATION @threadline@_trail FOR TABLE
    @tables@
WITH (publish = 'insert, update', publish_via_partition_root = true);
