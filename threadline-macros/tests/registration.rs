//! What a derived model declares, and that the registry finds it.

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
#[audited(mask(id), crate = ::threadline_core)]
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
    #[audited(mask)]
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
fn rules_follow_the_columns_and_not_the_fields() {
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
fn types_come_from_the_table_macro() {
    let table = Member::audited_table().unwrap();
    assert_eq!(table.columns()[0].column_type, ColumnType::builtin("int8"));
    let mood = &table.columns()[4].column_type;
    assert_eq!(mood, &ColumnType::Other("mood".to_owned()));
}

#[test]
fn options_that_are_not_given_have_their_defaults() {
    let table = inner_secret();
    assert_eq!(table.mask_with(), DEFAULT_MASK);
    assert_eq!(table.actor(), ActorPolicy::Optional);
}

#[test]
fn a_composite_key_in_another_schema_keeps_its_names_and_its_order() {
    let table = OrderLine::audited_table().unwrap();
    assert_eq!(table.name(), &TableName::new("billing", "Order Lines"));
    assert_eq!(table.key().columns(), ["order_id", "line.no"]);
}

#[test]
fn a_column_named_id_that_is_no_key_can_be_redacted() {
    let table = OrderLine::audited_table().unwrap();
    assert_eq!(rules(&table)[2], ("id", ColumnRule::Mask));
}

#[test]
fn policies_are_those_that_were_asked_for() {
    let table = OrderLine::audited_table().unwrap();
    assert_eq!(table.actor(), ActorPolicy::Required);
}

#[test]
fn a_model_without_a_key_can_redact_every_column() {
    let table = Reading::audited_table().unwrap();
    assert_eq!(table.key(), &RowKey::None);
    assert_eq!(
        rules(&table),
        [("id", ColumnRule::Exclude), ("value", ColumnRule::Mask)]
    );
}

#[test]
fn the_registry_finds_every_model_private_ones_too() {
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
fn a_registration_says_where_its_model_is() {
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

/// The table of a struct that this module cannot name.
fn inner_secret() -> AuditedTable {
    let secret = registrations().find(|found| found.model().ends_with("::Secret"));
    secret.unwrap().table().unwrap()
}
