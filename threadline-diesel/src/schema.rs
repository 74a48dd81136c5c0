//! The tables of the trail, for the host's own Diesel queries over it.
#![allow(
    missing_docs,
    reason = "Diesel's table! documents its columns by their names"
)]
#![allow(unreachable_pub, reason = "Diesel's table! makes everything public")]

include!(concat!(env!("OUT_DIR"), "/tables.rs"));
