DROP TABLE invoices, members;
