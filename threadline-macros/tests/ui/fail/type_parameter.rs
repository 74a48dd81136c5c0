use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;

#[derive(Audited)]
#[diesel(table_name = schema::members)]
#[audited(crate = threadline_core)]
struct Member<'a, T: Clone, const N: usize> {
    email: &'a [T; N],
}

fn main() {}
