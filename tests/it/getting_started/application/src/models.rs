use diesel::prelude::*;

use crate::schema::members;

#[derive(Queryable, Selectable)]
#[diesel(table_name = members, primary_key(handle))]
pub struct Member {
    pub handle: String,
    pub name: String,
    pub email: String,
}
