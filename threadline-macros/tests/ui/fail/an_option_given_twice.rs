use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;

#[derive(Audited)]
#[diesel(table_name = schema::members)]
#[audited(crate = threadline_core, exclude(email), delta, exclude(r#type), delta)]
#[audited(delta)]
struct Member {
    email: String,
}

fn main() {}
