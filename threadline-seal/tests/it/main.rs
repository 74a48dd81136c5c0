//! Scenarios of the crate on files, and comparisons with independent implementations.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod log;
mod mutations;
mod notes;
mod proofs;
mod second_implementation;
mod tree;
mod vectors;
mod verification;
