use diesel::prelude::*;
use threadline_macros::Audited;

#[path = "../schema.rs"]
mod schema;
use schema::members;

mod more {
    diesel::table! {
        order_lines (id) {
            id -> BigInt,
        }
    }

    diesel::table! {
        h_t_t_p_requests (id) {
            id -> BigInt,
        }
    }
}
use more::{h_t_t_p_requests, order_lines};

// Diesel's derives infer the same names.
#[derive(Identifiable, Insertable, Audited)]
#[audited(exclude(password_hash), crate = threadline_core)]
struct Member {
    id: i64,
    #[audited(mask)]
    email: String,
}

#[derive(Identifiable, Audited)]
#[audited(crate = threadline_core)]
struct OrderLine {
    id: i64,
}

#[derive(Identifiable, Audited)]
#[audited(crate = threadline_core)]
struct HTTPRequest {
    id: i64,
}

fn name<M: threadline_core::Audited>() -> String {
    M::audited_table().unwrap().name().to_string()
}

fn main() {
    assert_eq!(name::<Member>(), "public.members");
    assert_eq!(name::<OrderLine>(), "public.order_lines");
    assert_eq!(name::<HTTPRequest>(), "public.h_t_t_p_requests");
}
