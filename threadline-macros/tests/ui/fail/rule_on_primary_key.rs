use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;

#[derive(Audited)]
#[diesel(table_name = schema::members)]
#[audited(exclude(id), crate = threadline_core)]
struct DefaultKey;

#[derive(Audited)]
#[diesel(table_name = schema::members, primary_key(email, r#type))]
#[audited(mask(id), crate = threadline_core)]
struct CompositeKey {
    email: String,
    #[diesel(column_name = r#type)]
    #[audited(mask)]
    kind: String,
}

fn main() {}
