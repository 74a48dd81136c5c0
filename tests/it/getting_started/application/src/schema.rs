diesel::table! {
    invoices (id) {
        id -> Int8,
        customer -> Text,
        total_cents -> Int8,
        paid_on -> Nullable<Date>,
    }
}

diesel::table! {
    members (handle) {
        handle -> Text,
        name -> Text,
        email -> Text,
        password_hash -> Text,
    }
}
