-- Recording the rows of a table in batches, and what is known of tables before and after that.

-- The table and its declaration, if its rows can be recorded.
CREATE OR REPLACE FUNCTION @threadline@.baseline_source(
    of_schema text, of_table text, OUT relation regclass, OUT declared jsonb
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $source$
DECLARE
    shown text := format('%I.%I', of_schema, of_table);
BEGIN
    SELECT policy.relation, policy.declared INTO relation, declared
    FROM @threadline@.deployed_policies AS policy
    WHERE policy.by_row AND policy.table_schema = of_schema AND policy.table_name = of_table;
    IF relation IS NULL OR NOT @threadline@.is_captured(relation) THEN
        RAISE EXCEPTION 'table % is not captured, so a baseline of it would be wrong at once', shown
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Generate and apply its capture migration first (gen-triggers).';
    END IF;
    IF cardinality(@threadline@.declared_key(declared)) = 0 THEN
        RAISE EXCEPTION 'table % has no key, so its rows cannot be told apart', shown
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Add a primary key, then generate and apply its capture migration again (gen-triggers).';
    END IF;
END
$source$;

-- Whether a later run may begin at the place that a run has reached: it left nothing behind there, rows
-- are still told apart by the same columns, and none can have come unseen since.
CREATE OR REPLACE FUNCTION @threadline@.is_resumable(
    run @threadline@.audit_baseline_runs, declared jsonb
) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN run.rows_left = 0 AND NOT run.reached_end
    AND ARRAY(SELECT jsonb_object_keys(run.last_key) ORDER BY 1)
        = ARRAY(SELECT unnest(@threadline@.declared_key(declared)) ORDER BY 1)
    AND NOT EXISTS (
        SELECT FROM @threadline@.audit_enrolments AS enrolment
        WHERE enrolment.table_schema = run.table_schema AND enrolment.table_name = run.table_name
            AND enrolment.enrolled_at > run.started_at
    )
    AND NOT EXISTS (
        SELECT FROM @threadline@.audit_suspended_writes AS unseen
        WHERE unseen.table_schema = run.table_schema AND unseen.table_name = run.table_name
            AND unseen.statement_at > run.started_at
    );

-- Begins to record the rows of a table, or goes on where a run that did not finish left off. `work` is
-- as in open_audited_work: who does it, and under which action.
CREATE OR REPLACE FUNCTION @threadline@.begin_baseline(
    of_schema text, of_table text, selection text, work jsonb,
    OUT run bigint, OUT continues bigint
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $begin$
#variable_conflict use_column
DECLARE
    previous @threadline@.audit_baseline_runs;
    wanted text := selection;
    v_run bigint;
    declared jsonb := (SELECT source.declared FROM @threadline@.baseline_source(of_schema, of_table) AS source);
BEGIN
    PERFORM pg_advisory_xact_lock(
        hashtextextended(format('threadline baseline %I.%I', of_schema, of_table), 0)
    );
    SELECT * INTO previous FROM @threadline@.audit_baseline_runs AS former
    WHERE former.table_name = of_table AND former.table_schema = of_schema
        AND former.selection = wanted
    ORDER BY former.id DESC LIMIT 1;
    IF previous.state = 'finished' THEN
        previous := NULL;
    END IF;
    IF work -> 'action' IS NOT NULL THEN
        PERFORM @threadline@.record_action(
            work -> 'action', work -> 'actor_ref', COALESCE(work -> 'context', '{}')
        );
    END IF;
    -- Whoever was at it is not any more: its next batch finds that it was taken over.
    PERFORM @threadline@.sanction(true);
    UPDATE @threadline@.audit_baseline_runs AS former
    SET state = 'interrupted', ended_at = clock_timestamp()
    WHERE former.table_name = of_table AND former.table_schema = of_schema
        AND former.state = 'running';
    PERFORM @threadline@.sanction(false);
    INSERT INTO @threadline@.audit_baseline_runs (
        transaction_id, table_schema, table_name, selection, state, started_at, started_by,
        continues, actor_ref, context, action_id, first_change, last_truncate, last_key
    ) VALUES (
        @threadline@.current_transaction_id(), of_schema, of_table, wanted, 'running',
        clock_timestamp(), session_user, previous.id, work -> 'actor_ref', work -> 'context',
        (work #>> '{action,id}')::uuid,
        COALESCE(previous.first_change, nextval('@threadline@.audit_changes_id_seq')),
        @threadline@.last_truncate(of_schema, of_table),
        CASE WHEN @threadline@.is_resumable(previous, declared) THEN previous.last_key END
    ) RETURNING id INTO v_run;
    run := v_run;
    continues := previous.id;
END
$begin$;

-- Records the next rows of a run, or those of `keys`, which an earlier batch had to leave behind.
--
-- A row is recorded while it is locked FOR SHARE, and only if no change of it is known. So what changed
-- it before is recorded instead, and what changes it later comes later. Rows that somebody
-- else has locked are left behind, never waited for: nobody can deadlock with a baseline, and
-- nobody waits longer for it than a batch takes.
CREATE OR REPLACE FUNCTION @threadline@.baseline_batch(
    run bigint, keys jsonb, batch_size integer,
    OUT rows_seen bigint, OUT rows_recorded bigint, OUT left_behind jsonb, OUT reached_end boolean
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET row_security = off
SET TimeZone = 'UTC'
SET DateStyle = 'ISO, MDY'
SET IntervalStyle = 'postgres'
SET bytea_output = 'hex'
SET extra_float_digits = '1'
SET lc_monetary = 'C'
AS $batch$
#variable_conflict use_column
<<batch>>
DECLARE
    found_run @threadline@.audit_baseline_runs;
    source record;
    stored record;
    walk record;
    v_position jsonb;
    leaves oid[];
    places tid[];
    positions jsonb[];
    leaf oid;
    locked tid[];
    attribution @threadline@.attribution;
    v_transaction uuid := @threadline@.current_transaction_id();
    inserted bigint;
    before text[];
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a baseline needs read committed transactions, to see what was committed while it waited'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Reset default_transaction_isolation for this session.';
    END IF;
    SELECT * INTO found_run FROM @threadline@.audit_baseline_runs WHERE id = run;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no baseline run %', run USING ERRCODE = 'no_data_found';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(
        format('threadline baseline %I.%I', found_run.table_schema, found_run.table_name), 0
    ));
    SELECT * INTO found_run FROM @threadline@.audit_baseline_runs WHERE id = run;
    IF found_run.state <> 'running' THEN
        RAISE EXCEPTION 'baseline run % is not running: it is %', run, found_run.state
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Another run of the same table took it over; audit_baseline_runs has who.';
    END IF;
    IF found_run.transaction_id = v_transaction THEN
        RAISE EXCEPTION 'every batch of a baseline needs a transaction of its own'
            USING ERRCODE = 'invalid_transaction_state',
                  HINT = 'Run it outside of a transaction.';
    END IF;
    SELECT * INTO source FROM @threadline@.baseline_source(found_run.table_schema, found_run.table_name);
    SELECT * INTO stored FROM @threadline@.captured_row(source.relation, source.declared);
    SELECT * INTO walk FROM @threadline@.key_walk(
        source.relation, source.declared, CASE WHEN keys IS NULL THEN '$1' ELSE 'given.key' END
    );

    -- The next rows by the key, and which of them nothing is known of.
    EXECUTE format(
        'SELECT count(*), (array_agg(page.position ORDER BY page.nr DESC))[1],'
        ' array_agg(page.leaf) FILTER (WHERE page.is_unknown),'
        ' array_agg(page.place) FILTER (WHERE page.is_unknown),'
        ' array_agg(page.position) FILTER (WHERE page.is_unknown)'
        ' FROM (SELECT walked.*, row_number() OVER () AS nr, NOT %s AS is_unknown FROM ('
        'SELECT r.tableoid AS leaf, r.ctid AS place, %s AS position, %s AS row_key FROM %s AS r %s'
        ') AS walked) AS page',
        
        @threadline@.settled_row(found_run, 'walked.row_key', @threadline@.instant_not_reached()), walk.place, stored.row_key, source.relation,
        CASE
            WHEN keys IS NOT NULL THEN format(
                'CROSS JOIN jsonb_array_elements($3) AS given (key) WHERE %s', walk.is_at)
            ELSE format('%s ORDER BY %s LIMIT $2',
                CASE WHEN found_run.last_key IS NOT NULL THEN 'WHERE ' || walk.is_after ELSE '' END,
                walk.in_order)
        END
    ) INTO rows_seen, v_position, leaves, places, positions USING found_run.last_key, batch_size, keys;

    rows_recorded := 0;
    left_behind := '[]';
    before := ARRAY[
        current_setting('threadline.actor_ref', true), current_setting('threadline.context', true),
        current_setting('threadline.action_id', true)
    ];
    FOR leaf IN SELECT DISTINCT unnest(leaves) ORDER BY 1 LOOP
        -- A version of a row that was there and is locked now was not changed in between, so what
        -- was not known of it still is not. Of a row that was changed, another version is locked, or
        -- none: that one is for later.
        EXECUTE format(
            'SELECT COALESCE(array_agg(free.ctid), ''{}'') FROM ('
            'SELECT r.ctid FROM ONLY %s AS r WHERE r.ctid = ANY ($1) FOR SHARE OF r SKIP LOCKED'
            ') AS free WHERE free.ctid = ANY ($1)',
            leaf::regclass
        ) INTO locked USING ARRAY(
            SELECT page.place FROM unnest(leaves, places) AS page (leaf, place) WHERE page.leaf = batch.leaf
        );
        left_behind := left_behind || COALESCE((
            SELECT jsonb_agg(page.position)
            FROM unnest(leaves, places, positions) AS page (leaf, place, position)
            WHERE page.leaf = batch.leaf AND NOT page.place = ANY (locked)
        ), '[]');
        CONTINUE WHEN locked = '{}';
        IF rows_recorded = 0 THEN
            PERFORM set_config('threadline.actor_ref', COALESCE(found_run.actor_ref::text, ''), true),
                    set_config('threadline.context', COALESCE(found_run.context::text, ''), true),
                    set_config('threadline.action_id', COALESCE(found_run.action_id::text, ''), true);
            attribution := @threadline@.attribute_change(
                v_transaction, found_run.table_schema, found_run.table_name
            );
            IF attribution.suspension IS NOT NULL THEN
                RAISE EXCEPTION 'capture of %.% is suspended in this transaction',
                    found_run.table_schema, found_run.table_name
                    USING ERRCODE = 'object_not_in_prerequisite_state';
            END IF;
            IF source.declared ->> 'actor' = 'required' AND NOT attribution.attributed THEN
                PERFORM @threadline@.refuse_unattributed(found_run.table_schema, found_run.table_name);
            END IF;
        END IF;
        EXECUTE format(
            'INSERT INTO @threadline@.audit_changes ('
            'id, captured_at, transaction_id, action_id, actor_ref, op, table_schema, table_name,'
            ' table_pk, row_key, data_after)'
            ' SELECT nextval(''@threadline@.audit_changes_id_seq''), $2, $3, $4, $5, ''baseline'','
            ' $6, $7, %s, %s, %s FROM ONLY %s AS r WHERE r.ctid = ANY ($1)',
            stored.table_pk, stored.row_key, stored.image, leaf::regclass
        ) USING locked, clock_timestamp(), v_transaction, attribution.action_id,
            attribution.actor_ref, found_run.table_schema, found_run.table_name;
        GET DIAGNOSTICS inserted = ROW_COUNT;
        rows_recorded := rows_recorded + inserted;
    END LOOP;
    PERFORM set_config('threadline.actor_ref', COALESCE(before[1], ''), true),
            set_config('threadline.context', COALESCE(before[2], ''), true),
            set_config('threadline.action_id', COALESCE(before[3], ''), true);

    reached_end := keys IS NULL AND rows_seen < batch_size;
    PERFORM @threadline@.sanction(true);
    UPDATE @threadline@.audit_baseline_runs AS this_run
    SET rows_seen = this_run.rows_seen + CASE WHEN keys IS NULL THEN baseline_batch.rows_seen ELSE 0 END,
        rows_recorded = this_run.rows_recorded + baseline_batch.rows_recorded,
        rows_left = this_run.rows_left + jsonb_array_length(left_behind)
            - COALESCE(jsonb_array_length(keys), 0),
        last_key = CASE WHEN keys IS NULL THEN COALESCE(v_position, this_run.last_key) ELSE this_run.last_key END,
        reached_end = this_run.reached_end OR baseline_batch.reached_end
    WHERE this_run.id = run;
    PERFORM @threadline@.sanction(false);
END
$batch$;

-- Ends a run: finished if it went through the whole table and left nothing behind, stopped otherwise.
CREATE OR REPLACE FUNCTION @threadline@.end_baseline(run bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $end$
DECLARE
    ended text;
BEGIN
    PERFORM @threadline@.sanction(true);
    UPDATE @threadline@.audit_baseline_runs AS this_run
    SET state = CASE WHEN this_run.reached_end AND this_run.rows_left = 0 THEN 'finished' ELSE 'stopped' END,
        ended_at = clock_timestamp()
    WHERE this_run.id = run AND this_run.state = 'running'
    RETURNING this_run.state INTO ended;
    PERFORM @threadline@.sanction(false);
    RETURN ended;
END
$end$;

-- The captured tables, or one of them: since when each is known, and whether a baseline ran.
CREATE OR REPLACE FUNCTION @threadline@.continuity(of_schema text DEFAULT NULL, of_table text DEFAULT NULL)
RETURNS TABLE (
    table_schema text, table_name text, captured boolean, has_key boolean,
    captured_since timestamptz, first_recorded_at timestamptz,
    baseline_run bigint, baseline_state text, baseline_started_at timestamptz,
    baseline_ended_at timestamptz, baseline_started_by text, baselined_rows bigint
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT
        policy.table_schema, policy.table_name,
        COALESCE(@threadline@.is_captured(policy.relation), false),
        cardinality(@threadline@.declared_key(policy.declared)) > 0,
        (
            SELECT CASE enrolment.event WHEN 'attached' THEN enrolment.enrolled_at END
            FROM @threadline@.audit_enrolments AS enrolment
            WHERE enrolment.table_schema = policy.table_schema
                AND enrolment.table_name = policy.table_name
            ORDER BY enrolment.id DESC LIMIT 1
        ),
        (
            SELECT min(change.captured_at) FROM @threadline@.audit_changes AS change
            WHERE change.table_name = policy.table_name AND change.table_schema = policy.table_schema
        ),
        last_run.id, last_run.state, last_run.started_at, last_run.ended_at, last_run.started_by,
        COALESCE((
            SELECT sum(run.rows_recorded) FROM @threadline@.audit_baseline_runs AS run
            WHERE run.table_name = policy.table_name AND run.table_schema = policy.table_schema
        ), 0)::bigint
    FROM @threadline@.deployed_policies AS policy
    LEFT JOIN LATERAL (
        SELECT run.* FROM @threadline@.audit_baseline_runs AS run
        WHERE run.table_name = policy.table_name AND run.table_schema = policy.table_schema
        ORDER BY run.id DESC LIMIT 1
    ) AS last_run ON true
    WHERE policy.by_row AND policy.relation IS NOT NULL
        AND (of_schema IS NULL OR policy.table_schema = of_schema)
        AND (of_table IS NULL OR policy.table_name = of_table)
    ORDER BY policy.table_schema, policy.table_name;
END;

-- How many rows a captured table has, and of how many of them nothing is known. Reads all of them.
CREATE OR REPLACE FUNCTION @threadline@.count_unknown_rows(
    of_schema text, of_table text, OUT row_count bigint, OUT unknown_count bigint
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET row_security = off
SET TimeZone = 'UTC'
SET DateStyle = 'ISO, MDY'
SET IntervalStyle = 'postgres'
SET bytea_output = 'hex'
SET extra_float_digits = '1'
SET lc_monetary = 'C'
AS $count$
DECLARE
    truncated bigint := @threadline@.last_truncate(of_schema, of_table);
    source record;
    stored record;
BEGIN
    SELECT * INTO source FROM @threadline@.baseline_source(of_schema, of_table);
    SELECT * INTO stored FROM @threadline@.captured_row(source.relation, source.declared);
    -- The last that was heard of every key, at once. Only where the row of a key left it after that
    -- has it to be looked at whether it was the row that is there.
    EXECUTE format(
        'SELECT count(*), count(*) FILTER (WHERE CASE'
        ' WHEN heard.last_id > %1$s AND heard.last_id <> heard.last_delete'
            ' THEN departed.last_id > heard.last_id AND NOT %2$s'
        ' ELSE true END)'
        ' FROM (SELECT %3$s AS row_key FROM %4$s AS r) AS present'
        ' LEFT JOIN ('
            'SELECT row_key, max(id) AS last_id, COALESCE(max(id) FILTER (WHERE op = ''delete''), 0) AS last_delete'
            ' FROM @threadline@.audit_changes WHERE table_name = %5$L AND table_schema = %6$L GROUP BY row_key'
        ') AS heard USING (row_key)'
        ' LEFT JOIN ('
            'SELECT previous_key AS row_key, max(id) AS last_id FROM @threadline@.audit_changes'
            ' WHERE table_name = %5$L AND table_schema = %6$L AND previous_key IS NOT NULL'
            ' GROUP BY previous_key'
        ') AS departed USING (row_key)',
        truncated,
        @threadline@.known_row(
            of_schema, of_table, 'present.row_key', truncated, @threadline@.instant_not_reached()
        ),
        stored.row_key, source.relation, of_table, of_schema
    ) INTO row_count, unknown_count;
END
$count$;
