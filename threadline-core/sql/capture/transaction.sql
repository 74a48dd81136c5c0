-- Which transaction, and in what context. Few expressions: each costs as much again in every
-- transaction.
v_transaction := pg_catalog.encode(
    pg_catalog.timestamptz_send(pg_catalog.now())
        OPERATOR(pg_catalog.||) pg_catalog.xid8send(pg_catalog.pg_current_xact_id_if_assigned()),
    'hex'
)::pg_catalog.uuid;
@unless_rows@v_expected := pg_catalog.concat(
    pg_catalog.txid_current_if_assigned(),
    '|', pg_catalog.current_setting('threadline.actor_ref', true),
    '|', pg_catalog.current_setting('threadline.context', true),
    '|', pg_catalog.current_setting('threadline.action_id', true)
);
