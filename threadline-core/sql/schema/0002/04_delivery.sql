-- Items of the feed that a receiver refused. State, not a record: a worker of the feed inserts and deletes rows
-- with the privileges of its role.
CREATE TABLE @threadline@.audit_delivery_failures (
    consumer        text COLLATE "C" NOT NULL REFERENCES @threadline@.audit_feed_consumers ON DELETE CASCADE,
    item_id         bigint      NOT NULL,
    attempts        integer     NOT NULL,
    last_error      text COLLATE "C" NOT NULL CHECK (last_error ~ '^[a-z0-9_]{1,63}$'),
    first_failed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_failed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, item_id)
);

COMMENT ON TABLE @threadline@.audit_delivery_failures IS
    'One row for each change or action that the receiver of a consumer refused, and that was set aside.';
COMMENT ON COLUMN @threadline@.audit_delivery_failures.item_id IS 'The id of a change or the order_id of an action.';
COMMENT ON COLUMN @threadline@.audit_delivery_failures.last_error IS 'The kind of the last error. Never a message.';
