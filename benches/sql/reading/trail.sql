-- A trail of a given size, inserted by its owner without capture: months of transactions over forty
-- tables, with a skewed distribution of tables, keys and actors, as in applications.
--
-- $1 is replaced by the number of changes, $2 by the number of transactions.

SELECT threadline.create_partition(parent, period, 0)
FROM unnest(ARRAY['audit_changes', 'audit_transactions', 'audit_actions']) AS parent,
    generate_series(date_trunc('month', timestamptz '2026-01-01 00:00+00'), timestamptz '2026-01-01 00:00+00' + '11 months'::interval, '1 month') AS period;

SET synchronous_commit = off;
SET work_mem = '256MB';
SELECT setseed(0.5);

-- The transactions and their sizes. One in four makes a single change, one in the middle makes 5,000, and
-- the others share the rest.
CREATE TEMP TABLE work AS
SELECT
    t,
    encode(timestamptz_send(at) || xid8send((1000 + t)::text::xid8), 'hex')::uuid AS id,
    at,
    CASE
        WHEN t = $2 / 2 THEN 5000
        WHEN t % 4 = 0 THEN 1
        -- At least a third of the mean, and the mean on average.
        ELSE 1 + (2 * ($1::float8 / $2 * 4 / 3 - 1) * random())::int
    END AS changes,
    CASE WHEN t % 2 = 0 THEN
        encode(int8send((extract(epoch FROM at) * 1000)::bigint << 16 | (28672 + t % 4096)), 'hex')
        || lpad(to_hex(t), 16, '8')
    END AS action_id,
    CASE
        WHEN t % 20 = 0 THEN NULL
        WHEN t % 20 = 1 THEN 'job:nightly'
        ELSE 'user:' || (1 + floor(5000 * random() ^ 3))::text
    END AS actor
FROM (
    SELECT t, '2026-01-01 00:00:01+00'::timestamptz + t * (interval '330 days' / $2) AS at
    FROM generate_series(1, $2) AS t
) AS start;

INSERT INTO threadline.audit_transactions (
    id, occurred_at, xid, action_id, backend_pid, actor, request_id, correlation_id, context, db_user,
    application_name
)
SELECT
    id, at, (1000 + t)::text::xid8, action_id::uuid, 4242, actor, 'request-' || t,
    'correlation-' || t / 3, '{"source": "web", "meta": {"tenant": "acme"}}', 'app', 'shop'
FROM work;

INSERT INTO threadline.audit_actions (
    id, order_id, transaction_id, recorded_at, name, status, actor, reason, comment, correlation_id,
    request_id
)
SELECT
    action_id::uuid, nextval('threadline.audit_changes_id_seq'), id, at, (ARRAY['order.place', 'order.pay', 'order.ship', 'user.edit'])[1 + t % 4],
    'ok', actor, 'customer asked', 'by telephone', 'correlation-' || t / 3, 'request-' || t
FROM work
WHERE action_id IS NOT NULL;

-- Forty tables; the first has a quarter of the changes. The first rows of a table change most often. Five
-- rows of the first table have 10,000 changes each, one has three.
INSERT INTO threadline.audit_changes (
    id, captured_at, transaction_id, action_id, actor, op, table_schema, table_name, row_key, table_pk,
    data_after, changed_from
)
SELECT
    n, at, transaction_id, action_id, actor, op, 'public', table_name, row_key,
    jsonb_build_object('id', row_key),
    CASE WHEN op <> 'delete' THEN image END,
    CASE op
        WHEN 'delete' THEN image
        WHEN 'update' THEN jsonb_build_object('status', 'open', 'total', n % 1000)
    END
FROM (
    SELECT
        n, at, transaction_id, action_id, actor,
        CASE
            WHEN hot OR cold OR n % 10 > 2 THEN 'update'
            WHEN n % 10 = 0 THEN 'delete'
            ELSE 'insert'
        END AS op,
        CASE
            WHEN hot OR cold THEN 'table_1'
            ELSE 'table_' || (1 + floor(40 * random() ^ 2.5))::int
        END AS table_name,
        CASE
            WHEN hot THEN 'hot-' || (n * 10000 / $1) % 5
            WHEN cold THEN 'cold'
            ELSE (1 + floor($1 / 10 * random() ^ 3))::bigint::text
        END AS row_key,
        jsonb_build_object(
            'id', n, 'customer_id', n % 5000, 'number', 'N-' || n, 'status', 'paid',
            'total', (n % 1000)::numeric / 10, 'currency', 'EUR', 'placed_at', at, 'paid', true,
            'tags', '["retail", "priority"]'::jsonb, 'shipped_on', '2026-01-02',
            'details', '{"channel": "web", "items": 3, "address": "12 Some Street, Some Town"}'::jsonb,
            'note', repeat('a note text ', 15)
        ) AS image
    FROM (
        SELECT
            nextval('threadline.audit_changes_id_seq') AS n,
            w.at + k * interval '20 microseconds' AS at,
            w.id AS transaction_id,
            w.action_id::uuid AS action_id,
            w.actor,
            (row_number() OVER ()) % greatest($1 / 50000, 2) = 1 AS hot,
            (row_number() OVER ()) IN ($1 / 4, $1 / 2, $1 / 4 * 3) AS cold
        FROM work AS w
        CROSS JOIN LATERAL generate_series(1, w.changes) AS k
        ORDER BY w.t, k
    ) AS numbered
) AS described;

RESET work_mem;
