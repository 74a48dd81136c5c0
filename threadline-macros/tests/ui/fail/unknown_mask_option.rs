use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;

#[derive(Audited)]
#[diesel(table_name = schema::members)]
#[audited(mask(email(keep_nulls), id()), exclude(r#type(keep_null)), crate = threadline_core)]
struct Member {
    #[audited(mask(keep_null, keep_null))]
    password_hash: String,
}

fn main() {}
