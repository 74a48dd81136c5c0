-- The audit trail, made by Threadline: its tables, functions and views. Applied again, it brings an
-- older trail up to date and changes nothing else.
--
-- This is one statement, so it is done as a whole or not at all, whether or not whoever runs it
-- begins a transaction. What is in it is run step by step under a search path of its own, while no
-- other installation is at it.
--
-- Writers are not made to wait. A trail that is up to date is brought so without a lock that they would
-- meet. Where something has to change that takes such locks, the tables are locked first, all of them
-- or none within a fraction of the time after which PostgreSQL would end one of two who wait for each
-- other.

DO $threadline_install$
DECLARE
    path CONSTANT text := pg_catalog.current_setting('search_path');
    patience CONSTANT text := pg_catalog.current_setting('lock_timeout');
    loudness CONSTANT text := pg_catalog.current_setting('client_min_messages');
    is_done boolean := false;
    to_change text[] := '{}';
    state text;
    message text;
    explanation text;
    advice text;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('@threadline@ install', 0));
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    -- That something is there already is no news.
    PERFORM set_config('client_min_messages', 'warning', true);
    EXECUTE $threadline_beginning$
@beginning@
$threadline_beginning$;
    FOR attempt IN 1 .. 100 LOOP
        BEGIN
            IF NOT @threadline@.lock_patiently(to_change, 'SHARE ROW EXCLUSIVE') THEN
                EXIT;
            END IF;
            PERFORM set_config('lock_timeout', '250ms', true);
            EXECUTE $threadline_trail$
@trail@
$threadline_trail$;
            is_done := true;
        EXCEPTION
            WHEN SQLSTATE 'TL090' THEN
                -- A table has to change that is to be locked first. What is locked is let go, and all
                -- is begun again.
                GET STACKED DIAGNOSTICS message = TABLE_NAME;
                to_change := ARRAY(SELECT unnest(to_change || message) ORDER BY 1);
            WHEN lock_not_available OR deadlock_detected THEN
                PERFORM pg_sleep(0.05 + random() * 0.1);
            WHEN OTHERS THEN
                -- The context would be all of the above.
                GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
                    explanation = PG_EXCEPTION_DETAIL, advice = PG_EXCEPTION_HINT;
                RAISE EXCEPTION '%', message USING
                    ERRCODE = state,
                    DETAIL = concat_ws(E'\n', NULLIF(explanation, ''), 'Nothing was changed.'),
                    HINT = COALESCE(NULLIF(advice, ''), 'See guides/upgrading.md.');
        END;
        EXIT WHEN is_done;
    END LOOP;
    IF NOT is_done THEN
        RAISE EXCEPTION 'the trail is too busy to be brought up to date'
            USING ERRCODE = 'lock_not_available',
                  HINT = 'Run this again at a quieter time; nothing was changed.';
    END IF;
    PERFORM set_config('lock_timeout', patience, true);
    PERFORM set_config('client_min_messages', loudness, true);
    PERFORM set_config('search_path', path, true);
END
$threadline_install$;
