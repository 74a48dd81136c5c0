-- A trail with the same tables, without triggers: the lower bound of the cost of capture.
CREATE SCHEMA IF NOT EXISTS bounds;
DROP TABLE IF EXISTS bounds.audit_changes;
CREATE TABLE bounds.audit_changes (LIKE threadline.audit_changes INCLUDING ALL)
    PARTITION BY RANGE (captured_at);
CREATE TABLE bounds.audit_changes_all PARTITION OF bounds.audit_changes
    FOR VALUES FROM ('2000-01-01') TO ('2200-01-01');
