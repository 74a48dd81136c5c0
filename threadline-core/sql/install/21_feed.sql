-- The feed: changes for named consumers, in order, none skipped and none of a rolled-back transaction.
--
-- A change takes its id when it is captured, and can be seen when its transaction commits, which may
-- be long after changes with greater ids. So a consumer never reads up to the greatest id it sees.
-- It reads up to a mark: the id that was last given out, and with it a transaction id that was given
-- out after it. Whoever holds an id up to the mark had a transaction id before, because whatever writes
-- changes takes its transaction's id first, and must. So once no transaction older than the mark's
-- runs any more, whatever is up to the mark is committed or gone: the mark is settled.
--
-- Only ids of changes are kept for good. The transaction id lives as long as a mark waits; in a
-- restored cluster, where it means nothing, it is either greater than any there, and the mark is made
-- again, or it delays the mark, which a restore has settled anyway.
--
-- Ids also follow the order of each row: whoever changes a row after somebody else waited for the
-- other's commit first, and took the id after it had waited.

CREATE TABLE IF NOT EXISTS @threadline@.audit_feed_consumers (
    name            text COLLATE "C" PRIMARY KEY
        CHECK (name ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
    created_at      timestamptz NOT NULL,
    created_by      text        NOT NULL,
    acknowledged_to bigint      NOT NULL,
    seen_until      timestamptz NOT NULL,
    settled_to      bigint      NOT NULL,
    settled_at      timestamptz NOT NULL,
    mark_id         bigint,
    mark_xid        xid8,
    mark_at         timestamptz,
    lease_token     uuid,
    leased_to       bigint,
    leased_until    timestamptz,
    leased_by       text,
    attempt         integer     NOT NULL
) WITH (fillfactor = 50);

COMMENT ON TABLE @threadline@.audit_feed_consumers IS
    'One row for each named consumer of the feed: how far it is, and who works for it.';
COMMENT ON COLUMN @threadline@.audit_feed_consumers.acknowledged_to IS
    'Changes with ids up to this are done with.';
COMMENT ON COLUMN @threadline@.audit_feed_consumers.seen_until IS
    'About when the last of them was captured.';
COMMENT ON COLUMN @threadline@.audit_feed_consumers.settled_to IS
    'Changes with ids up to this are committed, or never will be.';
COMMENT ON COLUMN @threadline@.audit_feed_consumers.mark_id IS
    'An id that waits to be settled: for every transaction older than mark_xid to end.';
COMMENT ON COLUMN @threadline@.audit_feed_consumers.attempt IS
    'How often the changes after acknowledged_to were leased.';

-- The last id that a change was given.
CREATE OR REPLACE FUNCTION @threadline@.last_change_id() RETURNS bigint
LANGUAGE sql VOLATILE
RETURN COALESCE(
    pg_catalog.pg_sequence_last_value('@threadline@.audit_changes_id_seq'::pg_catalog.regclass), 0
);

-- Whether every transaction of this database with an older id than a mark's has ended. A snapshot
-- lists who runs below its xmax, except the transaction that asks; from its xmax on, nobody has ended.
CREATE OR REPLACE FUNCTION @threadline@.feed_is_settled(mark_xid xid8) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $settled$
    SELECT pg_snapshot_xmax(pg_current_snapshot()) >= mark_xid AND NOT EXISTS (
        SELECT FROM pg_snapshot_xip(pg_current_snapshot()) AS running (xid)
        WHERE running.xid < mark_xid
            -- Transactions of other databases cannot write here.
            AND NOT EXISTS (
                SELECT FROM pg_stat_get_activity(NULL) AS elsewhere
                WHERE elsewhere.backend_xid = running.xid::xid
                    AND elsewhere.datid <> (
                        SELECT oid FROM pg_database WHERE datname = current_database()
                    )
            )
            AND NOT EXISTS (
                SELECT FROM pg_prepared_xacts AS elsewhere
                WHERE elsewhere.transaction = running.xid::xid
                    AND elsewhere.database <> current_database()
            )
    )
$settled$;

-- Makes a consumer. It gets the changes after an id: all with 0, those captured from now on with
-- NULL. Returns false if there is one of this name.
CREATE OR REPLACE FUNCTION @threadline@.create_feed_consumer(
    consumer text, after_id bigint
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s'
AS $create$
DECLARE
    last_id bigint := @threadline@.last_change_id();
BEGIN
    IF after_id NOT BETWEEN 0 AND last_id THEN
        RAISE EXCEPTION 'no change has the id % yet: the last is %', after_id, last_id
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- "What came after this id?" Only hosts with a consumer pay for this index.
    IF to_regclass('@threadline@.audit_changes_feed_idx') IS NULL THEN
        BEGIN
            CREATE INDEX audit_changes_feed_idx ON @threadline@.audit_changes (id);
        EXCEPTION WHEN lock_not_available THEN
            RAISE EXCEPTION 'the index of the feed cannot be made while somebody writes for long'
                USING ERRCODE = 'lock_not_available',
                      HINT = 'Try again, or make it without a lock: see guides/feed.md.';
        END;
    END IF;
    INSERT INTO @threadline@.audit_feed_consumers (
        name, created_at, created_by, acknowledged_to, seen_until, settled_to, settled_at, attempt
    ) VALUES (
        consumer, clock_timestamp(), session_user, COALESCE(after_id, last_id),
        CASE WHEN after_id IS NULL THEN clock_timestamp() ELSE COALESCE(
            (SELECT change.captured_at FROM @threadline@.audit_changes AS change
             WHERE change.id = after_id),
            '-infinity'
        ) END,
        0, '-infinity', 0
    ) ON CONFLICT DO NOTHING;
    RETURN FOUND;
END
$create$;

-- Drops a consumer, also one that is at work. Returns whether there was one.
CREATE OR REPLACE FUNCTION @threadline@.drop_feed_consumer(consumer text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $drop$
BEGIN
    DELETE FROM @threadline@.audit_feed_consumers AS feed WHERE feed.name = consumer;
    RETURN FOUND;
END
$drop$;

-- What would make the feed skip changes, refused.
CREATE OR REPLACE FUNCTION @threadline@.guard_feed(reached bigint, last_id bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
BEGIN
    -- An older snapshot would pair a new id with an old transaction id.
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'a lease takes a transaction at the level READ COMMITTED, not %',
            upper(current_setting('transaction_isolation'))
            USING ERRCODE = 'invalid_transaction_state';
    END IF;
    -- The transaction's own changes would be read, which it may still roll back.
    IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
        RAISE EXCEPTION 'a lease takes a transaction that has written nothing'
            USING ERRCODE = 'invalid_transaction_state',
                  HINT = 'Lease outside of a transaction. To acknowledge inside one is fine.';
    END IF;
    IF last_id < reached THEN
        RAISE EXCEPTION 'the last change has the id %, and the consumer is at % already', last_id, reached
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'The sequence @threadline@.audit_changes_id_seq was set back, or not restored '
                      'with the trail. Set it beyond the greatest id: until then changes go unseen.';
    END IF;
    -- With a cache, a session takes ids that were given out to it long before.
    IF (SELECT seqcache FROM pg_sequence
        WHERE seqrelid = '@threadline@.audit_changes_id_seq'::regclass) <> 1
    THEN
        RAISE EXCEPTION 'the sequence of changes has a cache, so the feed cannot know what is settled'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'ALTER SEQUENCE @threadline@.audit_changes_id_seq CACHE 1';
    END IF;
END
$guard$;

-- Leases the next changes of a consumer: those with ids after `after_id`, up to `to_id`, at most
-- `batch` of them. Read them by these ids, in the order of id. `outcome` is
--
--   batch    there are some;
--   empty    there are none;
--   waiting  there may be some, as soon as transactions that run now have ended;
--   held     somebody else has the lease, until `leased_until` if that is known;
--   unknown  there is no such consumer.
--
-- `attempt` counts how often these changes were leased. Changes captured before `removed_before` may
-- have been removed by retention before the consumer saw them.
CREATE OR REPLACE FUNCTION @threadline@.feed_lease(
    consumer text, duration interval, batch integer,
    OUT outcome text, OUT token uuid, OUT after_id bigint, OUT to_id bigint,
    OUT leased_until timestamptz, OUT attempt integer, OUT removed_before timestamptz
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $lease$
#variable_conflict use_variable
DECLARE
    last_id bigint := @threadline@.last_change_id();
    state @threadline@.audit_feed_consumers;
    found_rows bigint;
BEGIN
    IF (batch >= 1 AND duration > interval '0') IS NOT TRUE THEN
        RAISE EXCEPTION 'a lease takes a batch of at least one change, and a duration'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO state FROM @threadline@.audit_feed_consumers AS feed WHERE feed.name = consumer;
    IF NOT FOUND THEN
        outcome := 'unknown';
        RETURN;
    END IF;
    PERFORM @threadline@.guard_feed(
        GREATEST(state.acknowledged_to, state.settled_to, state.mark_id), last_id
    );
    -- Whoever only waits writes nothing, and takes no transaction id.
    outcome := @threadline@.feed_idle(state, last_id);
    IF outcome IS NOT NULL THEN
        leased_until := CASE WHEN outcome = 'held' THEN state.leased_until END;
        RETURN;
    END IF;

    -- This takes a transaction id, the mark's, after last_id was read.
    SELECT * INTO state FROM @threadline@.audit_feed_consumers AS feed WHERE feed.name = consumer
    FOR UPDATE SKIP LOCKED;
    IF NOT FOUND OR state.leased_until > clock_timestamp() THEN
        outcome := 'held';
        leased_until := state.leased_until;
        RETURN;
    END IF;
    outcome := 'empty';
    -- Twice: there may be nothing up to an old mark, and something up to a new one.
    FOR step IN 1 .. 2 LOOP
        IF state.acknowledged_to >= state.settled_to THEN
            IF state.mark_id IS NULL
                OR state.mark_xid > pg_snapshot_xmax(pg_current_snapshot()) -- of another cluster
            THEN
                EXIT WHEN last_id <= state.settled_to;
                state.mark_id := last_id;
                state.mark_xid := pg_current_xact_id();
                state.mark_at := clock_timestamp();
            END IF;
            IF NOT @threadline@.feed_is_settled(state.mark_xid) THEN
                outcome := 'waiting';
                EXIT;
            END IF;
            state.settled_to := state.mark_id;
            state.settled_at := state.mark_at;
            state.mark_id := NULL;
            state.mark_xid := NULL;
            state.mark_at := NULL;
        END IF;
        SELECT max(next.id), count(*) INTO to_id, found_rows FROM (
            SELECT change.id FROM @threadline@.audit_changes AS change
            WHERE change.id > state.acknowledged_to AND change.id <= state.settled_to
            ORDER BY change.id LIMIT batch
        ) AS next;
        IF found_rows > 0 THEN
            outcome := 'batch';
            EXIT;
        END IF;
        state.acknowledged_to := GREATEST(state.acknowledged_to, state.settled_to);
        state.seen_until := GREATEST(state.seen_until, state.settled_at);
        state.attempt := 0;
    END LOOP;

    IF outcome = 'batch' THEN
        token := gen_random_uuid();
        after_id := state.acknowledged_to;
        IF found_rows < batch THEN
            to_id := state.settled_to;
        END IF;
        leased_until := clock_timestamp() + duration;
        attempt := state.attempt + 1;
        SELECT max((removal.scope ->> 'before')::timestamptz) INTO removed_before
        FROM @threadline@.audit_removals AS removal
        WHERE removal.kind = 'retention' AND removal.change_count > 0
            AND removal.removed_at > state.created_at
            AND (removal.scope ->> 'before')::timestamptz > state.seen_until;
    END IF;
    UPDATE @threadline@.audit_feed_consumers AS feed
    SET acknowledged_to = state.acknowledged_to, seen_until = state.seen_until,
        settled_to = state.settled_to, settled_at = state.settled_at,
        mark_id = state.mark_id, mark_xid = state.mark_xid, mark_at = state.mark_at,
        lease_token = token, leased_to = to_id, leased_until = leased_until,
        leased_by = CASE WHEN token IS NOT NULL THEN session_user END,
        attempt = COALESCE(attempt, state.attempt)
    WHERE feed.name = consumer;
END
$lease$;

-- Why there is nothing to lease, as far as that can be told without writing.
CREATE OR REPLACE FUNCTION @threadline@.feed_idle(
    state @threadline@.audit_feed_consumers, last_id bigint
) RETURNS text
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $idle$
    SELECT CASE
        WHEN state.leased_until > clock_timestamp() THEN 'held'
        WHEN state.acknowledged_to < state.settled_to THEN NULL
        WHEN state.mark_id IS NULL AND last_id <= state.settled_to THEN 'empty'
        WHEN state.mark_xid <= pg_snapshot_xmax(pg_current_snapshot())
            AND NOT @threadline@.feed_is_settled(state.mark_xid) THEN 'waiting'
    END
$idle$;

-- Says that what was leased is done with. Returns false, and does nothing, where the lease has run
-- out, was given up, or is not the consumer's.
CREATE OR REPLACE FUNCTION @threadline@.feed_acknowledge(consumer text, token uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $acknowledge$
BEGIN
    UPDATE @threadline@.audit_feed_consumers AS feed
    SET acknowledged_to = feed.leased_to,
        seen_until = GREATEST(feed.seen_until, CASE
            WHEN feed.leased_to = feed.settled_to THEN feed.settled_at
            ELSE (SELECT change.captured_at FROM @threadline@.audit_changes AS change
                  WHERE change.id = feed.leased_to)
        END),
        lease_token = NULL, leased_to = NULL, leased_until = NULL, leased_by = NULL, attempt = 0
    WHERE feed.name = consumer AND feed.lease_token = token
        AND feed.leased_until > clock_timestamp();
    RETURN FOUND;
END
$acknowledge$;

-- Has a lease last for a duration from now. Returns until when; NULL where it is refused as above.
CREATE OR REPLACE FUNCTION @threadline@.feed_renew(
    consumer text, token uuid, duration interval
) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $renew$
DECLARE
    renewed timestamptz;
BEGIN
    UPDATE @threadline@.audit_feed_consumers AS feed
    SET leased_until = clock_timestamp() + duration
    WHERE feed.name = consumer AND feed.lease_token = token
        AND feed.leased_until > clock_timestamp()
    RETURNING feed.leased_until INTO renewed;
    RETURN renewed;
END
$renew$;

-- Gives a lease up, so that the same changes can be leased at once. Returns false where it is
-- refused as above.
CREATE OR REPLACE FUNCTION @threadline@.feed_release(consumer text, token uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $release$
BEGIN
    UPDATE @threadline@.audit_feed_consumers AS feed
    SET lease_token = NULL, leased_to = NULL, leased_until = NULL, leased_by = NULL
    WHERE feed.name = consumer AND feed.lease_token = token
        AND feed.leased_until > clock_timestamp();
    RETURN FOUND;
END
$release$;

-- How far consumers are, by name; one of them, or all.
--
-- `behind_at_most` counts ids, and ids are also taken by what is rolled back. `oldest_at` is when the
-- first change that is not acknowledged was captured. `settled` says whether everything up to
-- `acknowledged_to` is decided: not yet, where a consumer began at a change that others, captured
-- before it, may still follow. The last four tell of the oldest transaction of this database that
-- newer changes wait for, if they do: its id, its session, since when, and its name if it is prepared.
CREATE OR REPLACE FUNCTION @threadline@.feed_lag(consumer text DEFAULT NULL) RETURNS TABLE (
    name text, created_at timestamptz, acknowledged_to bigint, last_id bigint,
    behind_at_most bigint, oldest_at timestamptz, settled boolean,
    leased_until timestamptz, leased_by text, attempt integer,
    waiting_for bigint, waiting_for_pid integer, waiting_since timestamptz, waiting_for_prepared text
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $lag$
    SELECT
        feed.name, feed.created_at, feed.acknowledged_to, last.id,
        GREATEST(last.id - feed.acknowledged_to, 0),
        (SELECT change.captured_at FROM @threadline@.audit_changes AS change
         WHERE change.id > feed.acknowledged_to ORDER BY change.id LIMIT 1),
        feed.settled_to >= feed.acknowledged_to,
        feed.leased_until, feed.leased_by, feed.attempt,
        running.xid, running.pid, running.since, running.prepared
    FROM @threadline@.audit_feed_consumers AS feed
    CROSS JOIN (SELECT @threadline@.last_change_id() AS id) AS last
    LEFT JOIN LATERAL (
        SELECT backend_xid::text::bigint, pid, xact_start, NULL::text, age(backend_xid)
        FROM pg_stat_activity
        WHERE backend_xid IS NOT NULL AND datname = current_database() AND pid <> pg_backend_pid()
        UNION ALL
        SELECT transaction::text::bigint, NULL, prepared, gid, age(transaction)
        FROM pg_prepared_xacts WHERE database = current_database()
        ORDER BY 5 DESC LIMIT 1
    ) AS running (xid, pid, since, prepared, age) ON feed.settled_to < last.id
    WHERE feed.name = consumer OR consumer IS NULL
    ORDER BY feed.name
$lag$;

-- Changes with ids up to this are done with by every consumer; NULL where there is none. What is to
-- be removed from the trail can be held against it.
CREATE OR REPLACE FUNCTION @threadline@.feed_horizon() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $horizon$
    SELECT min(feed.acknowledged_to) FROM @threadline@.audit_feed_consumers AS feed
$horizon$;

-- The consumers that have not acknowledged everything captured before an instant.
CREATE OR REPLACE FUNCTION @threadline@.feed_consumers_behind(instant timestamptz) RETURNS TABLE (
    name text, acknowledged_to bigint
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $behind$
    SELECT feed.name, feed.acknowledged_to FROM @threadline@.audit_feed_consumers AS feed
    WHERE EXISTS (
        SELECT FROM @threadline@.audit_changes AS change
        WHERE change.id > feed.acknowledged_to AND change.captured_at < instant
    )
    ORDER BY feed.name
$behind$;
