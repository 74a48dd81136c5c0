use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;

#[derive(Audited)]
#[diesel(table_name = schema::members)]
#[audited(mask(email), crate = threadline_core)]
struct Member {
    #[audited(mask(keep_null))]
    email: String,
}

fn main() {}
