// The trail as Diesel sees it. Read by build.rs, which replaces the schema's name.

diesel::table! {
    threadline_storage.audit_transactions (id) {
        id -> Uuid,
        occurred_at -> Timestamptz,
        action_id -> Nullable<Uuid>,
        backend_pid -> Integer,
        actor -> Nullable<Text>,
        on_behalf_of -> Nullable<Text>,
        request_id -> Nullable<Text>,
        correlation_id -> Nullable<Text>,
        job_id -> Nullable<Text>,
        context -> Nullable<Jsonb>,
        db_user -> Text,
        application_name -> Nullable<Text>,
        client_addr -> Nullable<Inet>,
    }
}

diesel::table! {
    threadline_storage.audit_changes (captured_at, id) {
        id -> BigInt,
        captured_at -> Timestamptz,
        transaction_id -> Uuid,
        action_id -> Nullable<Uuid>,
        actor -> Nullable<Text>,
        op -> Text,
        table_schema -> Text,
        table_name -> Text,
        row_key -> Nullable<Text>,
        previous_key -> Nullable<Text>,
        table_pk -> Nullable<Jsonb>,
        data_after -> Nullable<Jsonb>,
        changed_from -> Nullable<Jsonb>,
        partition_name -> Nullable<Text>,
    }
}

diesel::table! {
    threadline_storage.audit_actions (id) {
        id -> Uuid,
        order_id -> BigInt,
        transaction_id -> Uuid,
        recorded_at -> Timestamptz,
        name -> Text,
        status -> Text,
        actor -> Nullable<Text>,
        on_behalf_of -> Nullable<Text>,
        verb -> Nullable<Text>,
        category -> Nullable<Text>,
        reason -> Nullable<Text>,
        comment -> Nullable<Text>,
        correlation_id -> Nullable<Text>,
        request_id -> Nullable<Text>,
        job_id -> Nullable<Text>,
        meta -> Nullable<Jsonb>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(audit_transactions, audit_changes, audit_actions);
