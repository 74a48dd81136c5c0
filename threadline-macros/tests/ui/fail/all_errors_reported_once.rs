use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;

#[derive(Audited)]
#[diesel(table_name = "members")]
#[audited(crate = threadline_core, exclude(id, email email), mask_with = "", dleta)]
struct Member {
    #[audited(mask)]
    email: String,
}

fn is_audited<T: threadline_core::Audited>() {}

fn main() {
    is_audited::<Member>();
    let _ = <Member as threadline_core::Audited>::audited_table();
}
