// Shared by the cases; not a case itself.

diesel::table! {
    members (id) {
        id -> BigInt,
        email -> Text,
        password_hash -> Text,
        r#type -> Text,
    }
}
