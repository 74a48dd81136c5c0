// @generated automatically by Diesel CLI.

diesel::table! {
    invoice_lines (invoice_id, line_no) {
        invoice_id -> Int8,
        line_no -> Int4,
        description -> Text,
        amount_cents -> Int8,
    }
}

diesel::table! {
    invoices (id) {
        id -> Int8,
        organization_id -> Int8,
        customer -> Text,
        total_cents -> Int8,
        due_on -> Date,
        reminded_on -> Nullable<Date>,
        paid_on -> Nullable<Date>,
        voided_on -> Nullable<Date>,
    }
}

diesel::table! {
    members (handle) {
        handle -> Text,
        organization_id -> Int8,
        name -> Text,
        email -> Text,
        password_hash -> Text,
    }
}

diesel::table! {
    organizations (id) {
        id -> Int8,
        name -> Text,
        closed_on -> Nullable<Date>,
    }
}

diesel::joinable!(invoice_lines -> invoices (invoice_id));
diesel::joinable!(invoices -> organizations (organization_id));
diesel::joinable!(members -> organizations (organization_id));

diesel::allow_tables_to_appear_in_same_query!(invoice_lines, invoices, members, organizations,);
