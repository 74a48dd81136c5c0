-- An update that moves a row to another partition.
--
-- PostgreSQL carries it out as a delete from the partition the row leaves and an insert into the one it
-- comes to, and tells neither trigger why. Recorded like that, a row's history would break at every
-- move; and a delete and an insert that merely follow each other must not be taken for one. What tells
-- them apart is what happens to the row before it leaves. For one row, and with no other row of the
-- statement in between, PostgreSQL
--
-- 1. calls the BEFORE UPDATE triggers of the partition it leaves: ours, the last, notes the row;
-- 2. finds that it has to go, and calls the BEFORE DELETE triggers: ours, the first, finds the note.
--    A row that is deleted for its own sake has none;
-- 3. calls the BEFORE INSERT triggers of the partition it comes to: ours, the first and the last, see
--    that none of the host's refused the row;
-- 4. queues the AFTER DELETE and the AFTER INSERT event, one after the other.
--
-- So at the end of 3 it is certain that two events belong together, and that both will come: what could
-- still stop the insert ends the statement. When the delete comes, capture lays the row aside; when the
-- insert does, it records the update that the two are. Wherever anything is in doubt, a delete and an
-- insert are recorded.

-- Rows that are between two partitions. Empty whenever nothing runs, but for rows that a trigger of the
-- host stopped on their way. A session can write settings, but not this: it keeps what must be
-- believed, the settings only say where to look. A secret may be in `hidden` for as long as its row is
-- under way, so whoever was granted all tables of the trail does not see the rows of this one.
CREATE UNLOGGED TABLE IF NOT EXISTS @threadline@.audit_moving_rows (
    xid         xid8 NOT NULL,
    moved_row   text COLLATE "C" NOT NULL, -- the partition it leaves, and its place there
    depth       integer NOT NULL,          -- of triggers, while it leaves and comes
    step        text COLLATE "C" NOT NULL CHECK (step IN ('leaving', 'coming', 'settled', 'left')),
    destination oid,
    change_id   bigint,                    -- of the update, from before what the host's triggers write
    captured_at timestamptz,
    table_schema text COLLATE "C",
    table_name  text COLLATE "C",
    table_pk    jsonb,
    row_key     text COLLATE "C",
    image       jsonb,                     -- of the row before
    hidden      jsonb,                     -- what of it is not stored, to tell whether the move changes it
    PRIMARY KEY (xid, moved_row)
) WITH (fillfactor = 60);

DO $hide$
BEGIN
    IF NOT (
        SELECT relrowsecurity FROM pg_catalog.pg_class WHERE oid = '@threadline@.audit_moving_rows'::pg_catalog.regclass
    ) THEN
        ALTER TABLE @threadline@.audit_moving_rows ENABLE ROW LEVEL SECURITY;
    END IF;
END
$hide$;

COMMENT ON TABLE @threadline@.audit_moving_rows IS
    'Rows that are being moved to another partition by a running transaction.';

-- These four run inside the host's writes, with the rights of the trail's owner and under whatever
-- search path the session has: every name is qualified, operators and types included.

-- 1. Signed, so that a session cannot make it up; for this statement of the client and this depth of
-- triggers only. (A session that gets at the note of an update it took back could have a delete and an
-- insert of its own recorded as an update between the same two rows, which it may just as well do.)
CREATE OR REPLACE FUNCTION @threadline@.note_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $note$
DECLARE
    v_noted pg_catalog.text;
BEGIN
    v_noted := pg_catalog.set_config(
        'threadline.updating',
        @threadline@.signed(pg_catalog.concat_ws(
            ' ', EXTRACT(EPOCH FROM pg_catalog.statement_timestamp()), pg_catalog.pg_trigger_depth(),
            TG_RELID, OLD.ctid
        )),
        true
    );
    RETURN NEW;
END
$note$;

-- 2. Where a trigger of the host's could come between the two of ours, nothing is certain.
CREATE OR REPLACE FUNCTION @threadline@.leave_partition() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $leave$
DECLARE
    v_note pg_catalog.text := pg_catalog.current_setting('threadline.updating', true);
    v_row pg_catalog.text;
    v_expected pg_catalog.text;
    v_place pg_catalog.text;
BEGIN
    IF pg_catalog.concat(v_note, pg_catalog.current_setting('threadline.moving', true))
        OPERATOR(pg_catalog.=) ''
    THEN
        RETURN OLD;
    END IF;
    v_row := pg_catalog.concat_ws(' ', TG_RELID, OLD.ctid);
    v_place := pg_catalog.concat('threadline.moving_', pg_catalog.pg_trigger_depth());
    v_expected := pg_catalog.concat_ws(
        ' ', EXTRACT(EPOCH FROM pg_catalog.statement_timestamp()), pg_catalog.pg_trigger_depth(), v_row
    );
    IF (pg_catalog."right"(v_note, pg_catalog.length(v_expected)) OPERATOR(pg_catalog.=) v_expected) IS TRUE
        AND (@threadline@.verified(v_note) OPERATOR(pg_catalog.=) v_expected) IS TRUE
    THEN
        v_note := pg_catalog.set_config('threadline.updating', '', true);
        IF NOT EXISTS (
            SELECT FROM pg_catalog.pg_trigger AS own
            WHERE own.tgrelid OPERATOR(pg_catalog.=) TG_RELID
                AND own.tgenabled OPERATOR(pg_catalog.<>) 'D'
                AND @threadline@.comes_between(own.tgname, own.tgtype)
        ) AND NOT (CASE
            WHEN pg_catalog.current_setting('threadline.suspended', true) OPERATOR(pg_catalog.<>) ''
                THEN @threadline@.suspension_of(TG_ARGV[0], TG_ARGV[1]) IS NOT NULL
            ELSE false
        END) THEN
            INSERT INTO @threadline@.audit_moving_rows AS moving (xid, moved_row, depth, step)
            VALUES (pg_catalog.pg_current_xact_id(), v_row, pg_catalog.pg_trigger_depth(), 'leaving')
            ON CONFLICT (xid, moved_row) DO UPDATE SET depth = EXCLUDED.depth, step = 'leaving';
            v_note := pg_catalog.concat(
                pg_catalog.set_config(v_place, v_row, true),
                pg_catalog.set_config('threadline.moving', 'yes', true)
            );
            RETURN OLD;
        END IF;
    END IF;
    -- Deleted for its own sake, whatever it was about to do before.
    IF (pg_catalog.current_setting('threadline.moving', true) OPERATOR(pg_catalog.<>) '') IS TRUE THEN
        v_note := pg_catalog.set_config(v_place, '', true);
        PERFORM @threadline@.forget_moving_row(v_row);
    END IF;
    RETURN OLD;
END
$leave$;

-- 3. A row that comes without having left, or after another was refused on its way, is an insert.
CREATE OR REPLACE FUNCTION @threadline@.come_to_partition() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $come$
DECLARE
    v_place pg_catalog.text;
    v_row pg_catalog.text;
BEGIN
    IF (pg_catalog.current_setting('threadline.moving', true) OPERATOR(pg_catalog.<>) '') IS TRUE THEN
        v_place := pg_catalog.concat('threadline.moving_', pg_catalog.pg_trigger_depth());
        v_row := pg_catalog.current_setting(v_place, true);
        IF v_row OPERATOR(pg_catalog.<>) '' THEN
            IF NOT @threadline@.advance_moving_row(v_row, 'leaving', 'coming', NULL) THEN
                v_row := pg_catalog.set_config(v_place, '', true);
            END IF;
        END IF;
    END IF;
    RETURN NEW;
END
$come$;

CREATE OR REPLACE FUNCTION @threadline@.settle_in_partition() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $settle$
DECLARE
    v_place pg_catalog.text;
    v_row pg_catalog.text;
BEGIN
    IF (pg_catalog.current_setting('threadline.moving', true) OPERATOR(pg_catalog.<>) '') IS TRUE THEN
        v_place := pg_catalog.concat('threadline.moving_', pg_catalog.pg_trigger_depth());
        v_row := pg_catalog.current_setting(v_place, true);
        IF v_row OPERATOR(pg_catalog.<>) '' THEN
            IF NOT EXISTS (
                SELECT FROM pg_catalog.pg_trigger AS own
                WHERE own.tgrelid OPERATOR(pg_catalog.=) TG_RELID
                    AND own.tgenabled OPERATOR(pg_catalog.<>) 'D'
                    AND @threadline@.comes_between(own.tgname, own.tgtype)
            ) AND EXISTS (
                -- The insert has to come to capture, too.
                SELECT FROM pg_catalog.pg_trigger AS own
                WHERE own.tgrelid OPERATOR(pg_catalog.=) TG_RELID
                    AND own.tgname OPERATOR(pg_catalog.=) '00_threadline_insert'::pg_catalog.name
                    AND own.tgenabled OPERATOR(pg_catalog.<>) 'D'
            ) THEN
                PERFORM @threadline@.advance_moving_row(v_row, 'coming', 'settled', TG_RELID);
            END IF;
            v_row := pg_catalog.set_config(v_place, '', true);
        END IF;
    END IF;
    RETURN NEW;
END
$settle$;

-- A row that gets one step further. Like all that looks for a row here it goes by the index: the table
-- is empty when a plan is made, and a plan is kept.
CREATE OR REPLACE FUNCTION @threadline@.advance_moving_row(
    of_row text, from_step text, to_step text, comes_to oid
) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $advance$
BEGIN
    UPDATE @threadline@.audit_moving_rows AS moving SET step = to_step, destination = comes_to
    WHERE moving.xid = pg_current_xact_id() AND moving.moved_row = of_row
        AND moving.depth = pg_trigger_depth() AND moving.step = from_step;
    RETURN FOUND;
END
$advance$;

CREATE OR REPLACE FUNCTION @threadline@.forget_moving_row(of_row text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $forget$
BEGIN
    DELETE FROM @threadline@.audit_moving_rows AS moving
    WHERE moving.xid = pg_current_xact_id() AND moving.moved_row = of_row;
END
$forget$;

-- Whether a trigger can refuse a row where capture does not see it: a BEFORE ROW trigger of the host's
-- whose name sorts outside of capture's own. A literal of the type is written for every operand, so
-- that this can be made part of the query that asks.
CREATE OR REPLACE FUNCTION @threadline@.comes_between(name pg_catalog.name, events pg_catalog.int2)
RETURNS pg_catalog.bool
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (events OPERATOR(pg_catalog.&) 3::pg_catalog.int2) OPERATOR(pg_catalog.=) 3::pg_catalog.int2
    AND (
        (events OPERATOR(pg_catalog.&) 16::pg_catalog.int2) OPERATOR(pg_catalog.<>) 0::pg_catalog.int2
            AND name OPERATOR(pg_catalog.>) '~threadline_update'::pg_catalog.name
        OR (events OPERATOR(pg_catalog.&) 8::pg_catalog.int2) OPERATOR(pg_catalog.<>) 0::pg_catalog.int2
            AND name OPERATOR(pg_catalog.<) '00_threadline_leave'::pg_catalog.name
        OR (events OPERATOR(pg_catalog.&) 4::pg_catalog.int2) OPERATOR(pg_catalog.<>) 0::pg_catalog.int2
            AND (
                name OPERATOR(pg_catalog.<) '00_threadline_come'::pg_catalog.name
                OR name OPERATOR(pg_catalog.>) '~threadline_insert'::pg_catalog.name
            )
    );

-- 4. The rest is called by the generated functions, with the owner's rights.

-- A delete: lays the row aside if it is on its way elsewhere, and says whether it is. The next event at
-- this depth is the insert then; what the host's own AFTER DELETE triggers write comes between, but
-- deeper.
CREATE OR REPLACE FUNCTION @threadline@.lay_aside(
    relation oid, place tid, of_schema text, of_table text, old_pk jsonb, old_key text,
    old_image jsonb, old_hidden jsonb
) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $aside$
DECLARE
    v_row text := concat_ws(' ', relation, place);
BEGIN
    UPDATE @threadline@.audit_moving_rows AS moving
    SET step = 'left', table_schema = of_schema, table_name = of_table, table_pk = old_pk,
        row_key = old_key, image = old_image, hidden = old_hidden,
        change_id = nextval('@threadline@.audit_changes_id_seq'), captured_at = clock_timestamp()
    WHERE moving.xid = pg_current_xact_id() AND moving.moved_row = v_row AND moving.step = 'settled';
    IF FOUND THEN
        PERFORM set_config(concat('threadline.moving_', pg_trigger_depth()), v_row, true);
        RETURN true;
    END IF;
    RETURN false;
END
$aside$;

-- Records at the end of the transaction, as the delete it is by itself, what was laid aside and never
-- asked for: a trigger of the host's can clear the settings that say where to look. Where the session
-- wants its constraints looked at immediately, that is before the insert, and both are recorded.
CREATE OR REPLACE FUNCTION @threadline@.record_left_behind() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $behind$
DECLARE
    v_transaction uuid := @threadline@.current_transaction_id();
    v_attribution @threadline@.attribution;
BEGIN
    DELETE FROM @threadline@.audit_moving_rows AS moving
    WHERE moving.xid = NEW.xid AND moving.moved_row = NEW.moved_row AND moving.change_id = NEW.change_id;
    IF FOUND THEN
        v_attribution := @threadline@.attribute_change(v_transaction, NEW.table_schema, NEW.table_name);
        INSERT INTO @threadline@.audit_changes (
            id, captured_at, transaction_id, action_id, actor_ref, op, table_schema, table_name,
            table_pk, row_key, changed_from
        ) VALUES (
            NEW.change_id, NEW.captured_at, v_transaction, v_attribution.action_id,
            v_attribution.actor_ref, 'delete', NEW.table_schema, NEW.table_name, NEW.table_pk,
            NEW.row_key, NEW.image
        );
    END IF;
    RETURN NULL;
END
$behind$;

SELECT @threadline@.ensure_guard($guard$
CREATE CONSTRAINT TRIGGER record_left_behind AFTER UPDATE ON @threadline@.audit_moving_rows
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((new.step = 'left'::text))
EXECUTE FUNCTION @threadline@.record_left_behind()
$guard$);

-- An insert: the departure it belongs to, if it ends a move.
CREATE OR REPLACE FUNCTION @threadline@.departure_of(relation pg_catalog.oid)
RETURNS @threadline@.audit_moving_rows
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $arrival$
DECLARE
    v_place pg_catalog.text := pg_catalog.concat('threadline.moving_', pg_catalog.pg_trigger_depth());
    v_row pg_catalog.text := pg_catalog.current_setting(v_place, true);
    v_found @threadline@.audit_moving_rows;
BEGIN
    IF v_row OPERATOR(pg_catalog.<>) '' THEN
        v_place := pg_catalog.set_config(v_place, '', true);
        DELETE FROM @threadline@.audit_moving_rows AS moving
        WHERE moving.xid OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id()
            AND moving.moved_row OPERATOR(pg_catalog.=) v_row
            AND moving.step OPERATOR(pg_catalog.=) 'left'
            AND moving.destination OPERATOR(pg_catalog.=) relation
        RETURNING moving.* INTO v_found;
    END IF;
    RETURN v_found;
END
$arrival$;

-- The fields of an old image whose values are not the new one's. As texts: 1.0 is not 1.00.
CREATE OR REPLACE FUNCTION @threadline@.changed_values(before jsonb, after jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    SELECT COALESCE(pg_catalog.jsonb_object_agg(field.key, field.value), '{}')
    FROM pg_catalog.jsonb_each(before) AS field
    WHERE (field.value::text OPERATOR(pg_catalog.=) (after OPERATOR(pg_catalog.->) field.key)::text)
        IS NOT TRUE
);

-- The query that yields the values of a row, given as $1, that are masked or not classified.
CREATE OR REPLACE FUNCTION @threadline@.drifted_hidden(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT format(
        'SELECT %s FROM (SELECT ($1).*) AS r',
        COALESCE(
            string_agg(
                format('pg_catalog.jsonb_build_object(%L, r.%I::pg_catalog.text)', name, name),
                ' OPERATOR(pg_catalog.||) '
            ),
            '''{}''::pg_catalog.jsonb'
        )
    )
    FROM @threadline@.drifted_columns(relation, @threadline@.deployed_policy(relation), 'r')
    WHERE rule IS NULL OR rule = 'mask'
);

-- The old values of what a move changed, as any update would have stored them; that a masked or
-- unclassified column changed, but not from what. Empty if nothing changed that is stored.
CREATE OR REPLACE FUNCTION @threadline@.changed_by_move(
    departure @threadline@.audit_moving_rows, image jsonb, hidden jsonb
) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $changed$
DECLARE
    changed jsonb := @threadline@.changed_values(departure.image, image);
BEGIN
    IF departure.hidden::text <> hidden::text THEN -- 1.0 is not 1.00
        changed := changed || (
            SELECT jsonb_object_agg(key, COALESCE(image -> key, '"[UNCLASSIFIED]"'))
            FROM jsonb_object_keys(@threadline@.changed_values(departure.hidden, hidden)) AS key
        );
    END IF;
    RETURN changed;
END
$changed$;

-- What the delta form stores of the new image: the new values of what changed.
CREATE OR REPLACE FUNCTION @threadline@.new_values(image jsonb, changed jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE
RETURN (
    SELECT pg_catalog.jsonb_object_agg(key, image OPERATOR(pg_catalog.->) key)
    FROM pg_catalog.jsonb_object_keys(changed) AS key
    WHERE image OPERATOR(pg_catalog.?) key
);
