use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;

#[derive(Audited)]
#[diesel(table_name = schema::members)]
#[audited(exclude(), mask(), crate = threadline_core)]
struct Member {
    email: String,
}

fn main() {}
