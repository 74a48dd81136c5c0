use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;

#[derive(Audited)]
#[diesel(table_name = schema::members)]
#[audited(crate = threadline_core)]
struct Row<'a, 'b: 'a>
where
    'a: 'a,
{
    email: &'a str,
    password_hash: &'b str,
}

fn main() {
    let _ = <Row<'static, 'static> as threadline_core::Audited>::audited_table();
}
