#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications)]
//! A strict crate.

use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;

#[derive(Audited)]
#[diesel(table_name = schema::members)]
#[audited(mask(email), exclude(r#type), mask_with = "-", crate = threadline_core)]
#[audited(require_actor)]
struct Member;

fn main() {
    #[derive(Audited)]
    #[diesel(table_name = schema::members)]
    #[audited(no_key, crate = threadline_core)]
    struct Local;

    let tables = [
        <Member as threadline_core::Audited>::audited_table(),
        <Local as threadline_core::Audited>::audited_table(),
    ];
    assert!(tables.iter().all(Result::is_ok));
}
