use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;

mod core {}
mod std {}
mod threadline {}
mod inventory {}
mod diesel {}
struct Result;
struct Registration;
trait Column {}

#[derive(Audited)]
#[diesel(table_name = schema::members)]
#[audited(mask(email), crate = ::threadline_core)]
struct Member {
    email: String,
}

fn main() {}
