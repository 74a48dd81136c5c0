use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;

// The inferred name is `members`, which is not imported.
#[derive(Audited)]
#[audited(crate = threadline_core)]
struct Member {
    email: String,
}

// The inferred name is `persons`: a plural with `s` only, as in Diesel.
#[derive(Audited)]
#[audited(crate = threadline_core)]
struct Person {
    email: String,
}

fn main() {}
