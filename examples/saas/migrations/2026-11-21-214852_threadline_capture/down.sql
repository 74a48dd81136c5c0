-- Back to the capture that was in force before this migration.

SELECT threadline.detach_capture('public', 'invoice_lines');
DROP FUNCTION IF EXISTS "threadline"."capture_row_public_invoice_lines_11fd7ac7"();
DROP FUNCTION IF EXISTS "threadline"."capture_statement_public_invoice_lines_11fd7ac7"();

SELECT threadline.detach_capture('public', 'invoices');
DROP FUNCTION IF EXISTS "threadline"."capture_row_public_invoices_f73f84a5"();
DROP FUNCTION IF EXISTS "threadline"."capture_statement_public_invoices_f73f84a5"();

SELECT threadline.detach_capture('public', 'members');
DROP FUNCTION IF EXISTS "threadline"."capture_row_public_members_d3e2403f"();
DROP FUNCTION IF EXISTS "threadline"."capture_statement_public_members_d3e2403f"();

SELECT threadline.detach_capture('public', 'organizations');
DROP FUNCTION IF EXISTS "threadline"."capture_row_public_organizations_296f3331"();
DROP FUNCTION IF EXISTS "threadline"."capture_statement_public_organizations_296f3331"();
