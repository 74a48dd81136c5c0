//! The tables that derived models declare, and their registration.

use diesel::prelude::*;
use threadline_core::Audited as _;
use threadline_core::column_type::ColumnType;
use threadline_core::registry::{Registration, registered_tables, registrations};
use threadline_core::table::{
    ActorPolicy, AuditedTable, Column, ColumnRule, DEFAULT_MASK, RowKey, TableName,
};
use threadline_macros::Audited;

mod schema {
    #[derive(diesel::sql_types::SqlType, diesel::query_builder::QueryId)]
    #[diesel(postgres_type(name = "mood"))]
    pub struct Mood;

    diesel::table! {
        members (id) {
            id -> BigInt,
            #[sql_name = "eMail"]
            email -> Text,
            #[sql_name = "type"]
            r#type -> Text,
            password_hash -> Text,
            mood -> Nullable<crate::schema::Mood>,
        }
    }

    diesel::table! {
        #[sql_name = "Order Lines"]
        billing.order_lines (order_id, line_no) {
            order_id -> Uuid,
            #[sql_name = "line.no"]
            line_no -> Integer,
            id -> Integer,
            note -> Text,
        }
    }

    diesel::table! {
        readings (id) {
            id -> BigInt,
            value -> Nullable<Double>,
        }
    }

    diesel::table! {
        secrets (id) {
            id -> Integer,
            word -> Text,
        }
    }
}

use schema::members;

#[derive(Queryable, Selectable, Identifiable, Insertable, AsChangeset, Audited)]
#[diesel(table_name = members, treat_none_as_null = true)]
#[diesel(check_for_backend(diesel::pg::Pg))]
#[audited(exclude(password_hash), mask(mood), mask_with = "***", crate = threadline_core)]
struct Member {
    id: i64,
    #[diesel(column_name = email)]
    #[audited(mask)]
    address: String,
    #[audited(exclude)]
    r#type: String,
}

#[derive(Identifiable, Associations, Audited)]
#[diesel(table_name = schema::order_lines, primary_key(order_id, line_no))]
#[diesel(belongs_to(Member, foreign_key = id))]
#[audited(mask(id(keep_null)), mask_with = "-", crate = ::threadline_core)]
#[audited(require_actor)]
struct OrderLine<'a> {
    order_id: &'a [u8; 16],
    line_no: i32,
    id: i64,
}

#[derive(Audited)]
#[diesel(table_name = schema::readings)]
#[audited(no_key, exclude(id), crate = threadline_core)]
struct Reading(
    #[diesel(column_name = value)]
    #[audited(mask(keep_null))]
    (),
);

mod inner {
    mod innermost {
        use threadline_macros::Audited;

        #[derive(Audited)]
        #[diesel(table_name = crate::schema::secrets)]
        #[audited(crate = threadline_core)]
        struct Secret;
    }
}

fn rules(table: &AuditedTable) -> Vec<(&str, ColumnRule)> {
    table
        .columns()
        .iter()
        .map(|column: &Column| (column.name.as_str(), column.rule))
        .collect()
}

#[test]
fn rules_apply_to_columns_not_to_fields() {
    let table = Member::audited_table().unwrap();
    assert_eq!(
        rules(&table),
        [
            ("id", ColumnRule::Clear),
            ("eMail", ColumnRule::Mask),
            ("type", ColumnRule::Exclude),
            ("password_hash", ColumnRule::Exclude),
            ("mood", ColumnRule::Mask),
        ]
    );
    assert_eq!(table.mask_with(), "***");
}

#[test]
fn column_types_are_read_from_the_table_macro() {
    let table = Member::audited_table().unwrap();
    assert_eq!(table.columns()[0].column_type, ColumnType::builtin("int8"));
    let mood = &table.columns()[4].column_type;
    assert_eq!(mood, &ColumnType::Other("mood".to_owned()));
}

#[test]
fn missing_options_have_their_defaults() {
    let table = inner_secret();
    assert_eq!(table.mask_with(), DEFAULT_MASK);
    assert_eq!(table.actor(), ActorPolicy::Optional);
}

#[test]
fn composite_keys_keep_sql_names_and_order() {
    let table = OrderLine::audited_table().unwrap();
    assert_eq!(table.name(), &TableName::new("billing", "Order Lines"));
    assert_eq!(table.key().columns(), ["order_id", "line.no"]);
}

#[test]
fn a_column_named_id_outside_the_key_can_be_redacted() {
    let table = OrderLine::audited_table().unwrap();
    assert_eq!(rules(&table)[2], ("id", ColumnRule::MaskKeepNull));
}

#[test]
fn require_actor_sets_the_actor_policy() {
    let table = OrderLine::audited_table().unwrap();
    assert_eq!(table.actor(), ActorPolicy::Required);
}

#[test]
fn a_model_without_a_key_can_redact_all_columns() {
    let table = Reading::audited_table().unwrap();
    assert_eq!(table.key(), &RowKey::None);
    assert_eq!(
        rules(&table),
        [
            ("id", ColumnRule::Exclude),
            ("value", ColumnRule::MaskKeepNull)
        ]
    );
}

#[test]
fn the_registry_lists_private_models_too() {
    let names: Vec<_> = registered_tables()
        .unwrap()
        .iter()
        .map(|table| table.name().to_string())
        .collect();
    assert_eq!(
        names,
        [
            "billing.\"Order Lines\"",
            "public.members",
            "public.readings",
            "public.secrets",
        ]
    );
}

#[test]
fn registrations_have_the_path_of_their_model() {
    let mut models: Vec<_> = registrations().map(Registration::model).collect();
    models.sort();
    assert_eq!(
        models,
        [
            "registration::Member",
            "registration::OrderLine",
            "registration::Reading",
            "registration::inner::innermost::Secret",
        ]
    );
}

/// The table of a struct that is private to another module.
fn inner_secret() -> AuditedTable {
    let secret = registrations().find(|found| found.model().ends_with("::Secret"));
    secret.unwrap().table().unwrap()
}
