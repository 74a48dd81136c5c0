CREATE TABLE organizations (
    id        bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name      text NOT NULL UNIQUE,
    closed_on date
);

CREATE TABLE members (
    handle          text PRIMARY KEY,
    organization_id bigint NOT NULL REFERENCES organizations (id),
    name            text NOT NULL,
    email           text NOT NULL UNIQUE,
    password_hash   text NOT NULL
);

CREATE INDEX members_of_organization ON members (organization_id);

CREATE TABLE invoices (
    id              bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    organization_id bigint NOT NULL REFERENCES organizations (id),
    customer        text NOT NULL,
    total_cents     bigint NOT NULL CHECK (total_cents > 0),
    due_on          date NOT NULL,
    reminded_on     date,
    paid_on         date,
    voided_on       date,
    CHECK (paid_on IS NULL OR voided_on IS NULL)
);

CREATE INDEX invoices_of_organization ON invoices (organization_id);

CREATE TABLE invoice_lines (
    invoice_id   bigint NOT NULL REFERENCES invoices (id),
    line_no      integer NOT NULL,
    description  text NOT NULL,
    amount_cents bigint NOT NULL,
    PRIMARY KEY (invoice_id, line_no)
);
