//! What the derive accepts, what it refuses, and in which words.
//!
//! `TRYBUILD=overwrite cargo test -p threadline-macros --test compile` writes the words anew.

#[test]
fn models_compile_or_are_refused_with_the_right_words() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
