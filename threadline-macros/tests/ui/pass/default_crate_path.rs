extern crate threadline_core as threadline;

use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;

#[derive(Audited)]
#[diesel(table_name = schema::members)]
struct Member;

fn main() {
    let _ = <Member as threadline::Audited>::audited_table();
}
