-- The feed: the position of each named consumer. The logic is in the library, which reads the trail and
-- updates this table with the privileges of the worker's role: SELECT on the trail, and UPDATE on
-- audit_feed_consumers.
--
-- A change takes its id when it is captured and becomes visible when its transaction commits, which may
-- be long after changes with greater ids. So a consumer reads up to a mark: the last assigned id, and an
-- xid that was assigned after that. Every id up to mark_id belongs to a transaction older than mark_xid,
-- because a transaction gets its xid before it takes an id. When all of these have ended, the mark is
-- settled: every id up to mark_id belongs to a transaction that has committed or was rolled back.

CREATE TABLE @threadline@.audit_feed_consumers (
    name              text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by        text        NOT NULL DEFAULT session_user,
    acknowledged_to   bigint      NOT NULL, -- all ids up to this
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
COMMENT ON COLUMN @threadline@.audit_feed_consumers.lease_token IS
    'The fencing token: only its holder can acknowledge, and only until leased_until.';

CREATE VIEW @threadline@.audit_feed_end AS
SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS last_id
FROM @threadline@.audit_changes_id_seq;

COMMENT ON VIEW @threadline@.audit_feed_end IS
    'The last assigned id. GRANT SELECT ON ALL TABLES includes this view, but not the sequence.';
