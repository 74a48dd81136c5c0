use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;

#[derive(Audited)]
#[diesel(table_name = schema::members)]
#[audited(exclude(r#type, email, r#type), crate = threadline_core)]
struct Member {
    #[audited(exclude)]
    email: String,
    #[audited(mask, mask)]
    password_hash: String,
}

fn main() {}
