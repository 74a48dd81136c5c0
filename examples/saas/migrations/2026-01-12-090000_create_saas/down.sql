DROP TABLE invoice_lines;
DROP TABLE invoices;
DROP TABLE members;
DROP TABLE organizations;
