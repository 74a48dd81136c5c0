use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;

#[derive(Audited)]
#[diesel(table_name = schema::members)]
#[audited(exclude(email), mask(email, r#type), crate = threadline_core)]
struct Member {
    #[diesel(column_name = r#type)]
    #[audited(exclude)]
    kind: String,
}

fn main() {}
