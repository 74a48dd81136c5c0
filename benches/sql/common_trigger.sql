-- Capture of the common kind, written for comparison: one row-level function for every table,
-- generic over columns, with random uuid keys and the usual indexes, those of
-- reading/common_layout.sql, on which the same queries run.
CREATE SCHEMA common;

CREATE TABLE common.transactions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    xid bigint NOT NULL UNIQUE,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    actor jsonb,
    meta jsonb
);
CREATE INDEX ON common.transactions (xid);
CREATE INDEX ON common.transactions USING gin (actor);
-- Cached plans should be those for filled tables, not for empty ones.
INSERT INTO common.transactions (xid) SELECT -g FROM generate_series(1, 20000) AS g;
ANALYZE common.transactions;

CREATE TABLE common.changes (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    transaction_id uuid NOT NULL REFERENCES common.transactions ON DELETE CASCADE,
    table_schema text NOT NULL,
    table_name text NOT NULL,
    table_pk jsonb NOT NULL,
    op text NOT NULL CHECK (op IN ('insert', 'update', 'delete')),
    data_after jsonb,
    changed_fields text[],
    changed_from jsonb,
    captured_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON common.changes (transaction_id);
CREATE INDEX ON common.changes (table_name);
CREATE INDEX ON common.changes (captured_at);
CREATE INDEX ON common.changes
    (table_schema, table_name, table_pk, captured_at DESC, id DESC);

CREATE FUNCTION common.capture() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, common AS $capture$
DECLARE
    this_transaction uuid;
    old_row jsonb;
    new_row jsonb;
    pk jsonb := '{}';
    key_column text;
    fields text[];
    before jsonb;
BEGIN
    INSERT INTO common.transactions (xid, actor)
    VALUES (txid_current(), NULLIF(current_setting('app.actor', true), '')::jsonb)
    ON CONFLICT (xid) DO NOTHING;
    SELECT id INTO STRICT this_transaction FROM common.transactions WHERE xid = txid_current();
    IF TG_OP <> 'INSERT' THEN old_row := to_jsonb(OLD); END IF;
    IF TG_OP <> 'DELETE' THEN new_row := to_jsonb(NEW); END IF;
    FOREACH key_column IN ARRAY TG_ARGV LOOP
        pk := pk || jsonb_build_object(key_column, COALESCE(new_row, old_row) ->> key_column);
    END LOOP;
    IF TG_OP = 'UPDATE' THEN
        SELECT array_agg(n.key ORDER BY n.key) INTO fields
        FROM jsonb_each(new_row) AS n JOIN jsonb_each(old_row) AS o USING (key)
        WHERE n.value IS DISTINCT FROM o.value;
        IF fields IS NULL THEN RETURN NULL; END IF;
        SELECT jsonb_object_agg(field, old_row -> field) INTO before
        FROM unnest(fields) AS field;
    ELSIF TG_OP = 'DELETE' THEN
        before := old_row;
    END IF;
    INSERT INTO common.changes (
        transaction_id, table_schema, table_name, table_pk, op, data_after, changed_fields,
        changed_from
    ) VALUES (
        this_transaction, TG_TABLE_SCHEMA, TG_TABLE_NAME, pk, lower(TG_OP), new_row, fields, before
    );
    RETURN NULL;
END
$capture$;
