use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;

#[derive(Audited)]
#[diesel(table_name = schema::members)]
#[audited(
    crate = threadline_core,
    exclude,
    mask(email, "type", "e-mail", type, 7),
    mask_with = 5,
    no_key = true,
    require_actor(),
    42
)]
struct Member {
    email: String,
}

#[derive(Audited)]
#[diesel(table_name = schema::members)]
#[audited(crate = threadline_core)]
#[audited]
#[audited()]
struct Bare;

fn main() {}
