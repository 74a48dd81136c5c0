use diesel::dsl::today;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::schema::invoices;

pub async fn pay(conn: &mut AsyncPgConnection, invoice: i64) -> QueryResult<usize> {
    diesel::update(invoices::table.find(invoice))
        .set(invoices::paid_on.eq(today))
        .execute(conn)
        .await
}
