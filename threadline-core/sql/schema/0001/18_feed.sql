-- The feed: how far each named consumer is. Its logic is not here but in the library, which reads the
-- trail and updates this table with the rights of the worker's role: SELECT on the trail, and UPDATE
-- on audit_feed_consumers.
--
-- A change takes its id when it is captured and becomes visible when its transaction commits, which may
-- be long after changes with greater ids. So a consumer reads up to a mark: the last id given out, and
-- a transaction id that was assigned after that. Every id up to mark_id belongs to a transaction older
-- than mark_xid, because whatever takes an id has a transaction id before. Once all of these have
-- ended, the mark is settled: what is up to mark_id is committed, or never will be.

CREATE TABLE @threadline@.audit_feed_consumers (
    name              text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by        text        NOT NULL DEFAULT session_user,
    acknowledged_to   bigint      NOT NULL,
    seen_until        timestamptz NOT NULL DEFAULT '-infinity',
    settled_to        bigint      NOT NULL DEFAULT 0,
    settled_at        timestamptz NOT NULL DEFAULT '-infinity',
    mark_id           bigint,
    mark_xid          xid8,
    mark_at           timestamptz,
    lease_token       uuid,
    leased_to         bigint,
    leased_seen_until timestamptz,
    leased_until      timestamptz,
    leased_by         text,
    attempt           integer     NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

COMMENT ON TABLE @threadline@.audit_feed_consumers IS
    'One row for each named consumer of the feed: its position and its lease. State, not a record.';
COMMENT ON COLUMN @threadline@.audit_feed_consumers.acknowledged_to IS
    'Changes and actions with ids up to this are acknowledged.';
COMMENT ON COLUMN @threadline@.audit_feed_consumers.seen_until IS 'About when the last of them was captured.';
COMMENT ON COLUMN @threadline@.audit_feed_consumers.settled_to IS
    'Changes and actions with ids up to this are committed, or never will be.';
COMMENT ON COLUMN @threadline@.audit_feed_consumers.settled_at IS 'When that id was the last one given out.';
COMMENT ON COLUMN @threadline@.audit_feed_consumers.mark_id IS
    'The next settled_to, as soon as every transaction older than mark_xid has ended.';
COMMENT ON COLUMN @threadline@.audit_feed_consumers.lease_token IS
    'The fencing token: only its holder can acknowledge, and only until leased_until.';
COMMENT ON COLUMN @threadline@.audit_feed_consumers.leased_to IS 'acknowledged_to after an acknowledgement.';
COMMENT ON COLUMN @threadline@.audit_feed_consumers.leased_seen_until IS 'seen_until after an acknowledgement.';
COMMENT ON COLUMN @threadline@.audit_feed_consumers.attempt IS 'How often what comes after acknowledged_to was leased.';

CREATE VIEW @threadline@.audit_feed_end AS
SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS last_id
FROM @threadline@.audit_changes_id_seq;

COMMENT ON VIEW @threadline@.audit_feed_end IS
    'The last id given out. GRANT SELECT ON ALL TABLES includes this view, and not the sequence.';
