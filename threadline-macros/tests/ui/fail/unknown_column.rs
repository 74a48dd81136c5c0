use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;

#[derive(Audited)]
#[diesel(table_name = schema::members)]
#[audited(exclude(pasword_hash), crate = threadline_core)]
struct Member {
    #[audited(mask)]
    emial: String,
    #[audited(mask)]
    #[diesel(column_name = kind)]
    r#type: String,
}

fn main() {}
