-- Back to the capture that was in force before this migration.

SELECT threadline.disable_capture('public', 'invoice_lines');
DROP FUNCTION IF EXISTS threadline."capture_public_invoice_lines_11fd7ac7"();

SELECT threadline.disable_capture('public', 'invoices');
DROP FUNCTION IF EXISTS threadline."capture_public_invoices_f73f84a5"();

SELECT threadline.disable_capture('public', 'members');
DROP FUNCTION IF EXISTS threadline."capture_public_members_d3e2403f"();

SELECT threadline.disable_capture('public', 'organizations');
DROP FUNCTION IF EXISTS threadline."capture_public_organizations_296f3331"();
