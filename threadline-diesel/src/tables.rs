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

diesel::table! {
    threadline_storage.audit_schedules (name) {
        name -> Text,
        kind -> Text,
        cron -> Text,
        time_zone -> Text,
        request -> Jsonb,
        actor -> Nullable<Text>,
        scope_key -> Nullable<Text>,
        next_due_at -> Timestamptz,
        paused_at -> Nullable<Timestamptz>,
        position -> Nullable<BigInt>,
        created_at -> Timestamptz,
        created_by -> Text,
    }
}

diesel::table! {
    threadline_storage.audit_saved_views (id) {
        id -> Uuid,
        owner -> Text,
        name -> Text,
        is_shared -> Bool,
        filters -> Jsonb,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    threadline_storage.audit_evidence (order_id) {
        order_id -> BigInt,
        recorded_at -> Timestamptz,
        recorded_by -> Text,
        basis -> Text,
        subject -> Text,
        subject_ref -> Jsonb,
        outcome -> Text,
        summary_status -> Text,
        check_name -> Nullable<Text>,
        check_version -> Nullable<Integer>,
        library_version -> Nullable<Text>,
        observed_from -> Nullable<Timestamptz>,
        observed_to -> Nullable<Timestamptz>,
        valid_until -> Nullable<Timestamptz>,
        actor -> Nullable<Text>,
        detail -> Jsonb,
    }
}

diesel::allow_tables_to_appear_in_same_query!(audit_transactions, audit_changes, audit_actions);
