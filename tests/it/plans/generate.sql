-- A trail as if it had been written from January 2020 to February 2021.
SELECT threadline.create_partition(parent, period, 0)
FROM unnest(ARRAY['audit_changes', 'audit_transactions', 'audit_actions']) AS parent,
    generate_series(date_trunc('month', timestamptz '2020-01-01 00:00+00'), timestamptz '2020-01-01 00:00+00' + '13 months'::interval, '1 month') AS period;
INSERT INTO threadline.audit_transactions (id, occurred_at, xid, action_id, backend_pid, actor, on_behalf_of, request_id, correlation_id, job_id, context, db_user)
SELECT (encode(timestamptz_send(s) || int8send(n), 'hex'))::uuid, s, n::text::xid8,
  (lpad(to_hex((extract(epoch from s)*1000)::bigint),12,'0') || '7000' || '8' || lpad(to_hex(n),15,'0'))::uuid, 1,
  CASE WHEN n % 1000 <> 7 THEN concat(CASE WHEN n%50=0 THEN 'admin' ELSE 'user' END, ':', CASE WHEN n % 3 = 0 THEN 'everywhere' ELSE 'u' || (n % 997) END) END,
  CASE WHEN n % 500 = 0 THEN 'user:u5' END,
  'r' || n, 'c' || n/3, CASE WHEN n % 20 = 0 THEN 'j' || n/20 END,
  jsonb_build_object('meta', jsonb_build_object('tenant', 't' || n % 20)), 'app'
FROM (SELECT n, '2020-01-01 00:00+00'::timestamptz + n * (interval '424 days' / 25001) AS s FROM generate_series(1,25000) n) x;
INSERT INTO threadline.audit_actions (id, order_id, transaction_id, recorded_at, name, status, actor, category, correlation_id, request_id, job_id)
SELECT action_id, nextval('threadline.audit_changes_id_seq'), id, occurred_at, CASE WHEN xid::text::int % 300 = 0 THEN 'rare' ELSE 'a.' || xid::text::int % 20 END, CASE WHEN xid::text::int % 400 = 0 THEN 'error' ELSE 'ok' END, actor, 'cat' || xid::text::int % 7, correlation_id, request_id, job_id FROM threadline.audit_transactions ORDER BY id;
INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, action_id, actor, op, table_schema, table_name, row_key, table_pk, data_after, changed_from)
SELECT nextval('threadline.audit_changes_id_seq'), t.occurred_at + k * interval '1 ms', t.id, t.action_id, t.actor,
  CASE WHEN k = 1 THEN 'insert' ELSE 'update' END, 'public', CASE WHEN (n*4+k) % 2000 = 3 THEN 'rare' ELSE 'table' || (n + k) % 10 END,
  ((n*4+k) % 3000)::text, jsonb_build_object('id', ((n*4+k) % 3000)::text),
  jsonb_build_object('id', (n*4+k)%3000, 'v', n, 'note', repeat('x', 300)), CASE WHEN k > 1 THEN jsonb_build_object('v', n - 1) END
FROM (SELECT *, xid::text::int AS n FROM threadline.audit_transactions) t, generate_series(1,4) k ORDER BY t.id, k;
-- One row is changed in every eighth transaction.
INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, action_id, actor, op, table_schema, table_name, row_key, table_pk, data_after, changed_from)
SELECT nextval('threadline.audit_changes_id_seq'), occurred_at + interval '5 ms', id, action_id, actor, 'update', 'public', 'table9', 'hot',
  '{"id": "hot"}', jsonb_build_object('id', 'hot', 'v', xid::text::int), jsonb_build_object('v', xid::text::int - 8)
FROM threadline.audit_transactions WHERE xid::text::int % 8 = 0 ORDER BY id;
