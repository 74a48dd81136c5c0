use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;

#[derive(Audited)]
#[diesel(primary_key(id))]
#[audited(crate = threadline_core)]
struct Member {
    email: String,
}

fn main() {}
