CREATE TABLE members (
    handle text PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL,
    password_hash text NOT NULL
);
CREATE TABLE invoices (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer text NOT NULL,
    total_cents bigint NOT NULL,
    paid_on date
);
INSERT INTO invoices (customer, total_cents) VALUES ('Initech', 120000);
