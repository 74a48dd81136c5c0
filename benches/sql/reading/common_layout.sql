-- The same changes in a common layout: random uuid keys, no partitions, the row's key as jsonb, actor and
-- action only in the tables of transactions and actions.
CREATE SCHEMA common;

SET synchronous_commit = off;
SET maintenance_work_mem = '256MB';

CREATE TABLE common.actions (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    actor_ref jsonb NOT NULL,
    status text NOT NULL,
    reason text,
    comment text,
    correlation_id text,
    request_id text,
    recorded_at timestamptz NOT NULL
);
INSERT INTO common.actions
SELECT id, name, CASE WHEN actor IS NULL THEN '{"type": "anonymous"}' ELSE
        jsonb_build_object('type', split_part(actor, ':', 1), 'id', split_part(actor, ':', 2)) END, status, reason, comment,
    correlation_id, request_id, recorded_at
FROM threadline.audit_actions;
CREATE INDEX ON common.actions USING gin (actor_ref);
CREATE INDEX ON common.actions (recorded_at);
CREATE INDEX ON common.actions (name);

CREATE TABLE common.transactions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    xid bigint NOT NULL UNIQUE,
    occurred_at timestamptz NOT NULL,
    source text,
    meta jsonb,
    actor_ref jsonb,
    action_id uuid REFERENCES common.actions ON DELETE SET NULL
);
INSERT INTO common.transactions (xid, occurred_at, source, meta, actor_ref, action_id)
SELECT xid::text::bigint, occurred_at, context ->> 'source', context -> 'meta', CASE WHEN actor IS NOT NULL THEN
    jsonb_build_object('type', split_part(actor, ':', 1), 'id', split_part(actor, ':', 2)) END, action_id
FROM threadline.audit_transactions ORDER BY id;
CREATE INDEX ON common.transactions (xid);

CREATE TABLE common.changes (
    id uuid DEFAULT gen_random_uuid(),
    transaction_id uuid NOT NULL,
    table_schema text NOT NULL,
    table_name text NOT NULL,
    table_pk jsonb NOT NULL,
    op text NOT NULL,
    data_after jsonb,
    changed_fields text[],
    changed_from jsonb,
    captured_at timestamptz NOT NULL
);
INSERT INTO common.changes (
    transaction_id, table_schema, table_name, table_pk, op, data_after, changed_fields, changed_from,
    captured_at
)
SELECT
    t.id, c.table_schema, c.table_name, c.table_pk, c.op, c.data_after,
    CASE WHEN c.op = 'update' THEN ARRAY['status', 'total'] END, c.changed_from, c.captured_at
FROM threadline.audit_changes AS c
JOIN threadline.audit_transactions AS o ON o.id = c.transaction_id
JOIN common.transactions AS t ON t.xid = o.xid::text::bigint
ORDER BY c.captured_at, c.id;
ALTER TABLE common.changes ADD PRIMARY KEY (id);
CREATE INDEX ON common.changes (transaction_id);
CREATE INDEX ON common.changes (table_name);
CREATE INDEX ON common.changes (captured_at);
CREATE INDEX ON common.changes
    (table_schema, table_name, table_pk, captured_at DESC, id DESC);
ALTER TABLE common.changes
    ADD FOREIGN KEY (transaction_id) REFERENCES common.transactions ON DELETE CASCADE;
