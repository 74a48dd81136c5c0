-- 100,000 orders of 5,000 customers with a million changes, and copies of the tables after half of the
-- changes, before the last thousand, and at the end.
INSERT INTO customers SELECT g, 'customer ' || g FROM generate_series(1, 5000) AS g;
INSERT INTO orders SELECT $order FROM generate_series(1, 100000) AS g;
CREATE INDEX ON orders (customer_id);
CREATE TABLE marks (name text, instant timestamptz);

DO $fill$
BEGIN
    FOR i IN 1 .. 900 LOOP
        UPDATE orders SET status = (ARRAY['open', 'paid', 'sent'])[1 + i % 3], total = total + 1.5
        WHERE id IN (SELECT 1 + (i * 7919 + n * 97) % 100000 FROM generate_series(1, 1000) AS n);
        COMMIT;
        IF i IN (450, 899, 900) THEN
            INSERT INTO marks VALUES ('copy_' || i, clock_timestamp());
            EXECUTE format('CREATE TABLE copy_%s AS SELECT * FROM orders', i);
            EXECUTE format('ALTER TABLE copy_%s ADD PRIMARY KEY (id)', i);
            EXECUTE format('CREATE INDEX ON copy_%s (customer_id)', i);
            COMMIT;
        END IF;
    END LOOP;
END
$fill$;
