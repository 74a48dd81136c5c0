use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;

#[derive(Audited)]
#[diesel(table_name = schema::members)]
#[audited(crate = threadline_core)]
struct Member {
    #[audited(mask(email))]
    email: String,
    #[audited(exclude = true)]
    r#type: String,
    #[audited(ignore(keep_null))]
    id: i64,
}

fn main() {}
