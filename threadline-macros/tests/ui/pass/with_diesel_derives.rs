use diesel::prelude::*;
use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;
use schema::members;

type Base = diesel::dsl::Select<members::table, (members::id, members::email)>;

#[derive(HasQuery, Identifiable, Insertable, AsChangeset, Audited)]
#[diesel(table_name = members, primary_key(id), treat_none_as_null = true)]
#[diesel(check_for_backend(diesel::pg::Pg))]
#[diesel(base_query = members::table.select((members::id, members::email)), base_query_type = Base)]
#[audited(exclude(password_hash), mask(r#type), crate = threadline_core)]
struct Member {
    id: i64,
    #[diesel(column_name = "email", deserialize_as = String)]
    #[audited(mask)]
    address: String,
}

fn main() {}
