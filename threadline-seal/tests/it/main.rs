//! Scenarios of the crate on files, and comparisons with independent implementations.

mod log;
mod mutations;
mod notes;
mod second_implementation;
mod tree;
mod vectors;
mod verification;
