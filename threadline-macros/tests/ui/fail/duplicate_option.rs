use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;

#[derive(Audited)]
#[diesel(table_name = schema::members)]
#[audited(crate = threadline_core, exclude(email), no_key, exclude(r#type), no_key)]
#[audited(no_key)]
struct Member {
    email: String,
}

fn main() {}
