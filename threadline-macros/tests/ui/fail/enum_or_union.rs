use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;

#[derive(Audited)]
#[diesel(table_name = schema::members)]
#[audited(crate = threadline_core)]
enum Member {
    Active,
}

#[derive(Audited)]
#[diesel(table_name = schema::members)]
#[audited(crate = threadline_core)]
union Bits {
    id: i64,
}

fn main() {}
