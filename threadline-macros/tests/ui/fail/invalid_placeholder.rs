use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;

#[derive(Audited)]
#[diesel(table_name = schema::members)]
#[audited(mask(email), mask_with = "", crate = threadline_core)]
struct Empty;

#[derive(Audited)]
#[diesel(table_name = schema::members)]
#[audited(mask(email), mask_with = "a\tb", crate = threadline_core)]
struct Control;

#[derive(Audited)]
#[diesel(table_name = schema::members)]
#[audited(mask(email), mask_with = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", crate = threadline_core)]
struct Long;

fn main() {}
