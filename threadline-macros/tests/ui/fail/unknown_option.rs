use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;

#[derive(Audited)]
#[diesel(table_name = schema::members)]
#[audited(crate = threadline_core, exlude(email), redact(email))]
struct Member {
    #[audited(maks)]
    email: String,
    #[audited(mask_with = "-")]
    r#type: String,
}

fn main() {}
